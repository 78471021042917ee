// Package yard gives a benchmark its bailey: a program, a home of its own, a workspace, and one sandbox that
// runs. It measures nothing.
package yard

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/compare"
)

// Name is the sandbox that runs.
const Name = "bench"

// Yard is a bailey with a home of its own. Close ends its sandbox.
type Yard struct {
	Program string
	Work    string // the workspace, empty at first
	env     []string
}

// New makes a yard below dir, which is the caller's to remove. program is built from this module when it is
// empty; flags are of bailey run.
func New(ctx context.Context, dir, program string, flags ...string) (*Yard, error) {
	y := &Yard{Program: program, Work: filepath.Join(dir, "work"), env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home")}}
	for _, d := range []string{y.Work, filepath.Join(dir, "home")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	if y.Program == "" {
		y.Program = filepath.Join(dir, "bailey")
		build := exec.CommandContext(ctx, "go", "build", "-tags", "netgo,osusergo", "-o", y.Program, "github.com/bailey-sandbox/bailey/cmd/bailey")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cannot build bailey: %w: %s", err, out)
		}
	}
	args := append([]string{"run", "--detach", "--name", Name}, flags...)
	return y, y.run(ctx, append(args, "shell", ".", "--", "-c", "sleep 86400")...)
}

func (y *Yard) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, y.Program, args...)
	cmd.Dir, cmd.Env = y.Work, y.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bailey %s: %w: %s", args[0], err, out)
	}
	return nil
}

// Close removes the sandbox.
func (y *Yard) Close(ctx context.Context) error { return y.run(ctx, "rm", "--force", Name) }

// Command is a contestant that runs bailey with args.
func (y *Yard) Command(name string, args ...string) compare.Command {
	return compare.Command{Name: name, Argv: append([]string{y.Program}, args...), Env: y.env, Dir: y.Work}
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
