package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience bounds the engine's start and stop.
const patience = 30 * time.Second

// Docker is a running Docker engine: the installed dockerd, in mount and network namespaces of its own. Whoever
// started it stops it.
type Docker struct {
	dir     string
	process *exec.Cmd
	log     bytes.Buffer // dockerd's own; read only after done
	done    chan struct{}
}

// StartDocker returns an engine that answers and has the image, or an error that says what is missing. Its data
// lie in dir.
func StartDocker(ctx context.Context, dir string, image Image) (_ *Docker, err error) {
	if err := need("dockerd", "docker", "iptables"); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	d := &Docker{dir: dir, done: make(chan struct{})}
	// The private /run hides the host's containerd as well; inherited firewall rules there are none.
	const script = `set -e; ip link set lo up; mount -t tmpfs tmpfs /run; mkdir -p /run/lock
		exec dockerd --data-root "$1/data" --exec-root /run/docker --host "unix://$1/docker.sock" \
			--pidfile /run/docker.pid --cgroup-parent "/$2"`
	d.process = unshare(script, dir, group)
	d.process.Stdout, d.process.Stderr = &d.log, &d.log
	if err := d.process.Start(); err != nil {
		return nil, fmt.Errorf("cannot start dockerd: %w", err)
	}
	go func() {
		_ = d.process.Wait()
		close(d.done)
	}()
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop())
		}
	}()
	if err := d.await(ctx); err != nil {
		return nil, err
	}
	_, err = d.Client(ctx, "import", image.tar, ImageName)
	return d, err
}

// await returns when the engine answers.
func (d *Docker) await(ctx context.Context) error {
	deadline := time.After(patience)
	for {
		err := exec.CommandContext(ctx, "docker", d.Args("version")...).Run()
		if err == nil {
			return nil
		}
		select {
		case <-d.done:
			lines := strings.Split(strings.TrimSpace(d.log.String()), "\n")
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
func (d *Docker) Args(args ...string) []string {
	return append([]string{"--host", "unix://" + filepath.Join(d.dir, "docker.sock")}, args...)
}

// Client runs the docker client to its end and returns what it printed.
func (d *Docker) Client(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", d.Args(args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out)), nil
}

// Stop ends the engine with its containers.
func (d *Docker) Stop() error {
	_ = d.process.Process.Signal(syscall.SIGTERM) // has it ended already, all the better
	select {
	case <-d.done:
	case <-time.After(patience):
		_ = d.process.Process.Kill()
		<-d.done
	}
	removeGroups()
	return nil
}
