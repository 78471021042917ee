// Package yard gives a benchmark its surroundings: programs built from this module, and a bailey with a home
// and a workspace of its own. It measures nothing.
package yard

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/compare"
)

// Name is the sandbox that Open starts.
const Name = "bench"

// Yard is a bailey with a home of its own.
type Yard struct {
	Program string
	Work    string // the workspace, empty at first
	env     []string
}

// New makes a yard below dir, which is the caller's to remove.
func New(dir, program string) (*Yard, error) {
	y := &Yard{Program: program, Work: filepath.Join(dir, "work"), env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home")}}
	for _, d := range []string{y.Work, filepath.Join(dir, "home")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	return y, nil
}

// Open makes a yard in which the sandbox called Name runs, with these flags of bailey run. The caller
// removes it.
func Open(ctx context.Context, dir, program string, flags ...string) (*Yard, error) {
	y, err := New(dir, program)
	if err != nil {
		return nil, err
	}
	return y, y.Start(ctx, flags...)
}

// Setenv adds "KEY=VALUE" to the environment of every bailey of the yard that is started from now on.
func (y *Yard) Setenv(kv string) { y.env = append(y.env, kv) }

// Start starts the sandbox called Name, with these flags of bailey run. The caller removes it.
func (y *Yard) Start(ctx context.Context, flags ...string) error {
	return y.StartNamed(ctx, Name, flags...)
}

// StartNamed is Start for another name.
func (y *Yard) StartNamed(ctx context.Context, name string, flags ...string) error {
	return y.Run(ctx, append(append([]string{"run", "--detach", "--name", name}, flags...), "shell", ".", "--", "-c", "sleep 86400")...)
}

// Run runs bailey in the workspace.
func (y *Yard) Run(ctx context.Context, args ...string) error { return y.Feed(ctx, "", args...) }

// Feed is Run with an input.
func (y *Yard) Feed(ctx context.Context, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, y.Program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = y.Work, y.env, strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bailey %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// Remove ends sandboxes and removes them, also when ctx has ended.
func (y *Yard) Remove(ctx context.Context, names ...string) error {
	return y.Run(context.WithoutCancel(ctx), append([]string{"rm", "--force"}, names...)...)
}

// Command is a contestant that runs bailey with args.
func (y *Yard) Command(name string, args ...string) compare.Command {
	return compare.Command{Name: name, Argv: append([]string{y.Program}, args...), Env: y.env, Dir: y.Work}
}

// Build makes a static program of a package of this module.
func Build(ctx context.Context, program, pkg string) error {
	build := exec.CommandContext(ctx, "go", "build", "-tags", "netgo,osusergo", "-ldflags", "-s -w", "-o", program, "github.com/bailey-sandbox/bailey/"+pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s: %w: %s", pkg, err, bytes.TrimSpace(out))
	}
	return nil
}

// First is the first line of what a command prints, or that it is not here.
func First(ctx context.Context, argv ...string) string {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return argv[0] + " not here"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
