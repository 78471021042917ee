// Command start measures how long it takes to start a sandbox and to run a command in one, against the tools
// that people compare with: a plain fork, bubblewrap, docker. Everything runs on this machine in
// interleaved rounds; a peer that is not here is listed with the reason.
//
//	go run ./bench/start [-n ROUNDS] [-json] [-bailey PROGRAM]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/dockerd"
	"github.com/bailey-sandbox/bailey/bench/yard"
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

func main() { os.Exit(compare.Main("start", 20, bench)) }

func bench(ctx context.Context, program string, rounds int) (_ compare.Report, err error) {
	dir, err := os.MkdirTemp("", "bench-start-")
	if err != nil {
		return compare.Report{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	y, err := yard.New(ctx, dir, program)
	if err != nil {
		return compare.Report{}, err
	}
	defer func() { err = errors.Join(err, y.Close(context.WithoutCancel(ctx))) }()
	commands := append([]compare.Command{{Name: fork, Argv: []string{"true"}}, bubblewrap()}, baileyCommands(y)...)
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

func baileyCommands(y *yard.Yard) []compare.Command {
	return []compare.Command{
		y.Command(runNone, "run", "--rm", "--network", "none", "shell", ".", "--", "-c", "true"),
		y.Command(runNet, "run", "--rm", "shell", ".", "--", "-c", "true"),
		y.Command(execName, "exec", yard.Name, "true"),
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

func versions(ctx context.Context, y *yard.Yard, engine *dockerd.Engine) []string {
	list := []string{yard.First(ctx, y.Program, "version"), yard.First(ctx, "bwrap", "--version")}
	if engine != nil {
		if v, err := engine.Client(ctx, "version", "--format", "docker client {{.Client.Version}}, engine {{.Server.Version}}"); err == nil {
			list = append(list, v)
		}
	}
	return list
}
