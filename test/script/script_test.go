// Package script runs the command line as a user does, on the scripts in testdata. Each reads as a page of
// the manual. Sandboxes are the fake backend's, which run on the host: what is tested here is what the
// commands say and do, not that anything is contained.
package script

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bailey-sandbox/bailey/internal/backend/fake"
	"github.com/bailey-sandbox/bailey/internal/cli"
	"github.com/bailey-sandbox/bailey/internal/dockerplugin"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bailey": func() { os.Exit(bailey()) }, dockerplugin.Name: func() { os.Exit(bailey()) }})
}

// bailey is cmd/bailey with the fake backend.
func bailey() int {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return cli.Main(ctx, os.Args[1:], cli.Config{
		Self:     self,
		Arg0:     os.Args[0],
		Backends: func(log *slog.Logger) []sandbox.Backend { return []sandbox.Backend{fake.New(log)} },
		Environ:  os.Environ(),
		Streams:  cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			if name != "docker" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			_, err := exec.LookPath("docker")
			return err == nil, nil
		},
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("USER", "ann")
			env.Setenv("LOGNAME", "ann")
			env.Setenv("SHELL", "/bin/sh")
			env.Setenv("GOTRACEBACK", "all")
			// Whatever a script leaves running must not outlive it.
			env.Defer(func() { stopAll(t, env) })
			return os.MkdirAll(home, 0o700)
		},
	})
}

func stopAll(t *testing.T, env *testscript.Env) {
	sandboxes, _ := filepath.Glob(filepath.Join(env.Getenv("HOME"), ".local/state/bailey/sandboxes/*"))
	for _, dir := range sandboxes {
		cmd := exec.Command(os.Args[0], "stop", filepath.Base(dir))
		cmd.Args[0] = "bailey"
		cmd.Env = env.Vars
		if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "damaged") {
			t.Errorf("cannot stop %s: %v\n%s", filepath.Base(dir), err, out)
		}
	}
}
