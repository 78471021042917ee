// Command start measures how long it takes to start a sandbox and to run a command in one, against the tools
// that people compare with: a plain fork, bubblewrap, docker. Everything runs on this machine in
// interleaved rounds; a peer that is not here is listed with the reason.
//
//	go run ./bench/start [-n ROUNDS] [-json] [-bailey PROGRAM]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/dockerd"
)

// Names of the contestants, which targets refer to.
const (
	fork          = "fork and exec of true"
	bwrap         = "bwrap, no network"
	runNone       = "bailey run, no network"
	runNet        = "bailey run"
	execName      = "bailey exec"
	dockerRun     = "docker run, bridge"
	dockerRunNone = "docker run, no network"
	dockerExec    = "docker exec"
)

func targets() []compare.Target {
	return []compare.Target{
		{Command: runNet, Peer: bwrap, Factor: 1, Plus: 40 * time.Millisecond},
		{Command: runNone, Peer: bwrap, Factor: 1, Plus: 40 * time.Millisecond},
		{Command: runNet, Peer: dockerRun, Factor: 1. / 6},
		{Command: runNone, Peer: dockerRunNone, Factor: 1. / 6},
		{Command: execName, Peer: dockerExec, Factor: 1. / 3},
	}
}

func main() {
	rounds := flag.Int("n", 20, "`ROUNDS` that are measured, after one to warm up")
	asJSON := flag.Bool("json", false, "print JSON")
	program := flag.String("bailey", "", "the `PROGRAM` to measure; built from this module when empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := bench(ctx, *program, *rounds)
	if err == nil && *asJSON {
		err = report.JSON(os.Stdout)
	} else if err == nil {
		err = report.Table(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, program string, rounds int) (_ compare.Report, err error) {
	dir, err := os.MkdirTemp("", "bench-start-")
	if err != nil {
		return compare.Report{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	y, err := newYard(ctx, dir, program)
	if err != nil {
		return compare.Report{}, err
	}
	defer func() { err = errors.Join(err, y.close(context.WithoutCancel(ctx))) }()
	commands := append([]compare.Command{{Name: fork, Argv: []string{"true"}}, bubblewrap()}, y.commands()...)
	engine, missing := dockerd.Start(ctx)
	if missing == nil {
		defer func() { err = errors.Join(err, engine.Stop()) }()
	}
	docker, err := dockerCommands(ctx, engine, missing)
	if err != nil {
		return compare.Report{}, err
	}
	report := compare.Report{Machine: compare.Machine(), Versions: versions(ctx, y, engine)}
	if report.Results, err = compare.Run(ctx, append(commands, docker...), rounds); err != nil {
		return report, err
	}
	report.Machine = append(report.Machine, "load afterwards "+compare.Load())
	report.Verdicts = compare.Judge(report.Results, targets())
	return report, nil
}

func bubblewrap() compare.Command {
	c := compare.Command{Name: bwrap, Argv: strings.Fields("bwrap --ro-bind / / --dev /dev --proc /proc --unshare-all true")}
	if out, err := exec.Command(c.Argv[0], c.Argv[1:]...).CombinedOutput(); err != nil {
		c.Missing = strings.TrimSpace(fmt.Sprintf("%s %s", err, out))
	}
	return c
}

// yard is the bailey that is measured: its program, a home of its own, and a sandbox for exec.
type yard struct {
	program, work string
	env           []string
}

const running = "bench"

func newYard(ctx context.Context, dir, program string) (*yard, error) {
	y := &yard{program: program, work: filepath.Join(dir, "work"), env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home")}}
	for _, d := range []string{y.work, filepath.Join(dir, "home")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	if y.program == "" {
		y.program = filepath.Join(dir, "bailey")
		build := exec.CommandContext(ctx, "go", "build", "-tags", "netgo,osusergo", "-o", y.program, "github.com/bailey-sandbox/bailey/cmd/bailey")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cannot build bailey: %w: %s", err, out)
		}
	}
	return y, y.run(ctx, "run", "--detach", "--name", running, "shell", ".", "--", "-c", "sleep 86400")
}

func (y *yard) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, y.program, args...)
	cmd.Dir, cmd.Env = y.work, y.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bailey %s: %w: %s", args[0], err, out)
	}
	return nil
}

func (y *yard) close(ctx context.Context) error { return y.run(ctx, "rm", "--force", running) }

func (y *yard) commands() []compare.Command {
	command := func(name string, args ...string) compare.Command {
		return compare.Command{Name: name, Argv: append([]string{y.program}, args...), Env: y.env, Dir: y.work}
	}
	return []compare.Command{
		command(runNone, "run", "--rm", "--network", "none", "shell", ".", "--", "-c", "true"),
		command(runNet, "run", "--rm", "shell", ".", "--", "-c", "true"),
		command(execName, "exec", running, "true"),
	}
}

// dockerCommands are docker's contestants; without an engine they are missing.
func dockerCommands(ctx context.Context, engine *dockerd.Engine, missing error) ([]compare.Command, error) {
	if missing != nil {
		var commands []compare.Command
		for _, name := range []string{dockerRunNone, dockerRun, dockerExec} {
			commands = append(commands, compare.Command{Name: name, Missing: missing.Error()})
		}
		return commands, nil
	}
	container, err := engine.Client(ctx, "run", "--detach", "--network", "none", dockerd.Image, "/true", "wait")
	if err != nil {
		return nil, err
	}
	command := func(name string, args ...string) compare.Command {
		return compare.Command{Name: name, Argv: append([]string{"docker"}, engine.Args(args...)...)}
	}
	return []compare.Command{
		command(dockerRunNone, "run", "--rm", "--network", "none", dockerd.Image, "/true"),
		command(dockerRun, "run", "--rm", dockerd.Image, "/true"),
		command(dockerExec, "exec", container, "/true"),
	}, nil
}

func versions(ctx context.Context, y *yard, engine *dockerd.Engine) []string {
	list := []string{first(ctx, y.program, "version"), first(ctx, "bwrap", "--version")}
	if engine != nil {
		if v, err := engine.Client(ctx, "version", "--format", "docker client {{.Client.Version}}, engine {{.Server.Version}}"); err == nil {
			list = append(list, v)
		}
	}
	return list
}

// first is the first line of what a command prints, or that it is not here.
func first(ctx context.Context, argv ...string) string {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return argv[0] + " not here"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
