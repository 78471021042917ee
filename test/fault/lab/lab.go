//go:build linux

// Package lab is a place to break bailey in: a home and a workspace of their own for a real binary, and the
// question what is left of it all. The tests in test/fault use it, and the command soak there. It judges from
// outside only: by exit codes, files, processes, mounts and control groups.
package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// Lab is one user's world below Dir. Its methods may be called from any goroutine.
type Lab struct {
	Dir       string
	Binary    string
	Workspace string // a repository, whose contents no sandbox of ours changes
	Marker    string // an existing empty file that sandboxes cannot see, for failpoints
	before    string // Hash of the workspace when it was made
}

// New makes a lab in the existing directory dir, in which nothing else may be.
func New(dir, binary string) (*Lab, error) {
	l := &Lab{Dir: dir, Binary: binary, Workspace: filepath.Join(dir, "home/src/shop"), Marker: filepath.Join(dir, "marker")}
	files := map[string]string{
		"home/src/shop/README.md":         "the shop\n",
		"home/src/shop/.git/HEAD":         "ref: refs/heads/main\n",
		"home/src/shop/.git/config":       "[core]\n\tbare = false\n",
		"home/src/shop/.git/hooks/sample": "#!/bin/sh\n",
		"home/src/shop/.git/objects/x":    "",
		"home/src/shop/.git/refs/x":       "",
		"home/src/shop/.env":              "SECRET=1\n",
		"home/src/shop/.vscode/tasks":     "{}\n",
		"tmp/x":                           "",
		"marker":                          "",
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	// Whoever the processes of a sandbox are on the host, they may write the marker.
	if err := os.Chmod(l.Marker, 0o666); err != nil {
		return nil, err
	}
	var err error
	l.before, err = Hash(l.Workspace)
	return l, err
}

// Hash is a digest of everything below dir: names, modes, owners and contents.
func Hash(dir string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(sum, "%q %v %d:%d\n", path, info.Mode(), st.Uid, st.Gid)
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%x\n", sha256.Sum256(content))
		}
		return nil
	})
	return fmt.Sprintf("%x", sum.Sum(nil)), err
}

// Result is how a command ended. Code is 128+n when signal n killed it, and -1 when it took too long.
type Result struct {
	Args           []string
	Stdout, Stderr string
	Code           int
}

func (r Result) String() string {
	return fmt.Sprintf("bailey %q: exit code %d\n%s%s", r.Args, r.Code, r.Stdout, r.Stderr)
}

// patience is what no command needs, even on a machine with much else to do.
const patience = 60 * time.Second

// Command is bailey with the lab's environment and env, in the workspace.
func (l *Lab) Command(env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(l.Binary, args...)
	cmd.Dir = l.Workspace
	cmd.Env = append([]string{
		"HOME=" + l.Dir + "/home", "TMPDIR=" + l.Dir + "/tmp", "USER=ann", "LOGNAME=ann", "SHELL=/bin/sh", "LANG=C.UTF-8", "TERM=xterm",
		"PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + os.Getenv("XDG_RUNTIME_DIR"),
	}, env...)
	return cmd
}

// Run runs bailey to its end, without input.
func (l *Lab) Run(env []string, args ...string) Result {
	cmd := l.Command(env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // for what it has left behind with our pipes
	r := Result{Args: args, Code: -1}
	if err := cmd.Start(); err != nil {
		r.Stderr = err.Error()
		return r
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	if stop() {
		r.Code = ExitCode(cmd.ProcessState)
	}
	r.Stdout, r.Stderr = stdout.String(), stderr.String()
	return r
}

// ExitCode is a process's exit code as a shell has it.
func ExitCode(p *os.ProcessState) int {
	if st, ok := p.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return 128 + int(st.Signal())
	}
	return p.ExitCode()
}

// Sandbox is the directory of the sandbox name.
func (l *Lab) Sandbox(name string) string {
	return filepath.Join(l.Dir, "home/.local/state/bailey/sandboxes", name)
}

// Status is what ls says of every sandbox, by name.
func (l *Lab) Status() (map[string]string, error) {
	out := l.Run(nil, "ls", "-a", "--json")
	var list []struct{ Name, Status string }
	if out.Code != 0 || json.Unmarshal([]byte(out.Stdout), &list) != nil {
		return nil, errors.New(out.String())
	}
	all := map[string]string{}
	for _, e := range list {
		all[e.Name] = e.Status
	}
	return all, nil
}

// Settled is Status once no sandbox is busy any more.
func (l *Lab) Settled() (all map[string]string, err error) {
	settled := machine.Poll(10*time.Second, func() bool {
		all, err = l.Status()
		busy := false
		for _, s := range all {
			busy = busy || s == "busy"
		}
		return err != nil || !busy
	})
	if !settled {
		err = fmt.Errorf("still busy: %v", all)
	}
	return all, err
}
