// Package dockerd lends a Docker engine to a benchmark: the installed dockerd, started in mount and network
// namespaces of its own with its data in a temporary directory, so that it changes nothing of the host's
// and nothing of it stays. It pulls nothing. Needs root.
package dockerd

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Image is the name of the image that every engine has. It holds only /true, which waits when it is given
// an argument (see scratch).
const Image = "bench/true"

// group is the cgroup that the engine's containers live in.
const group = "bailey-bench"

// patience bounds the engine's start and stop.
const patience = 30 * time.Second

// Engine is a running engine. Whoever started it stops it.
type Engine struct {
	dir     string
	process *exec.Cmd
	log     bytes.Buffer // dockerd's own; read only after done
	done    chan struct{}
}

// Start returns an engine that answers and has Image, or an error that says what is missing.
func Start(ctx context.Context) (_ *Engine, err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("dockerd needs root")
	}
	for _, name := range []string{"dockerd", "docker", "iptables", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("%s is not installed", name)
		}
	}
	dir, err := os.MkdirTemp("", "bench-dockerd-")
	if err != nil {
		return nil, err
	}
	e := &Engine{dir: dir, done: make(chan struct{})}
	// The private /run hides the host's containerd as well; inherited firewall rules there are none.
	const script = `set -e; ip link set lo up; mount -t tmpfs tmpfs /run; mkdir -p /run/lock
		exec dockerd --data-root "$1/data" --exec-root /run/docker --host "unix://$1/docker.sock" \
			--pidfile /run/docker.pid --cgroup-parent "/$2"`
	e.process = exec.Command("unshare", "--mount", "--net", "--propagation", "private", "bash", "-c", script, "bash", dir, group)
	e.process.Stdout, e.process.Stderr = &e.log, &e.log
	if err := e.process.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start dockerd: %w", err), os.RemoveAll(dir))
	}
	go func() {
		_ = e.process.Wait()
		close(e.done)
	}()
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Stop())
		}
	}()
	if err := e.await(ctx); err != nil {
		return nil, err
	}
	return e, e.makeImage(ctx)
}

// await returns when the engine answers.
func (e *Engine) await(ctx context.Context) error {
	deadline := time.After(patience)
	for {
		err := exec.CommandContext(ctx, "docker", e.Args("version")...).Run()
		if err == nil {
			return nil
		}
		select {
		case <-e.done:
			lines := strings.Split(strings.TrimSpace(e.log.String()), "\n")
			return fmt.Errorf("dockerd ended: %s", lines[len(lines)-1])
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return errors.New("dockerd does not answer")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Args are the docker client's arguments that mean this engine, and the given ones.
func (e *Engine) Args(args ...string) []string {
	return append([]string{"--host", "unix://" + filepath.Join(e.dir, "docker.sock")}, args...)
}

// Client runs the docker client to its end and returns what it printed.
func (e *Engine) Client(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", e.Args(args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out)), nil
}

func (e *Engine) makeImage(ctx context.Context) error {
	program := filepath.Join(e.dir, "true")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", program, "github.com/bailey-sandbox/bailey/bench/dockerd/scratch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the image's program: %w: %s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	load := exec.CommandContext(ctx, "docker", e.Args("import", "-", Image)...)
	if load.Stdin, err = archive("true", content); err != nil {
		return err
	}
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot import the image: %w: %s", err, out)
	}
	return nil
}

func archive(name string, content []byte) (io.Reader, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	return &b, w.Close()
}

// Stop ends the engine with its containers and removes what it kept.
func (e *Engine) Stop() error {
	_ = e.process.Process.Signal(syscall.SIGTERM) // has it ended already, all the better
	select {
	case <-e.done:
	case <-time.After(patience):
		_ = e.process.Process.Kill()
		<-e.done
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + group)
	for _, g := range append(groups, "/sys/fs/cgroup/"+group) {
		_ = os.Remove(g) // a directory that the kernel keeps busy does no harm
	}
	return os.RemoveAll(e.dir)
}
