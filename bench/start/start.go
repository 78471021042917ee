// Package start measures how long it takes to start a sandbox and to run a command in one, against the tools
// that people compare with: a plain fork, bubblewrap, srt, container runtimes and engines.
package start

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/engines"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

// Names of the contestants, which targets refer to.
const (
	fork          = "fork and exec of true"
	bwrap         = "bwrap, no network"
	srt           = "srt, no network allowed"
	runNone       = "bailey run, no network"
	runNet        = "bailey run"
	execName      = "bailey exec"
	dockerRun     = "docker run, bridge"
	dockerRunNone = "docker run, no network"
	dockerExec    = "docker exec"
	podmanRun     = "podman run, bridge"
	podmanRunNone = "podman run, no network"
	podmanExec    = "podman exec"
)

func targets() []compare.Target {
	return []compare.Target{
		{Command: runNet, Peer: bwrap, Factor: 1, Plus: 40},
		{Command: runNone, Peer: bwrap, Factor: 1, Plus: 40},
		{Command: runNet, Peer: srt, Factor: 1. / 6},
		{Command: runNet, Peer: dockerRun, Factor: 1. / 6},
		{Command: runNone, Peer: dockerRunNone, Factor: 1. / 6},
		{Command: runNet, Peer: podmanRun, Factor: 1. / 6},
		{Command: execName, Peer: dockerExec, Factor: 1. / 3},
	}
}

// Run measures program.
func Run(ctx context.Context, dir, program string, rounds int) (report compare.Report, err error) {
	y, err := yard.Open(ctx, dir, program)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, y.Remove(ctx, yard.Name)) }()
	image, err := engines.MakeImage(ctx, dir)
	if err != nil {
		return report, err
	}
	docker, noDocker := engines.StartDocker(ctx, filepath.Join(dir, "docker"), image)
	if noDocker == nil {
		defer func() { err = errors.Join(err, docker.Stop()) }()
	}
	room, noRoom := engines.OpenRoom(filepath.Join(dir, "room"), image)
	if noRoom == nil {
		defer func() { err = errors.Join(err, room.Close()) }()
	}
	commands := append([]compare.Command{{Name: fork, Argv: []string{"true"}}, bubblewrap(), sandboxRuntime(y)}, bailey(y)...)
	commands = append(commands, dockerCommands(ctx, docker, noDocker)...)
	commands = append(commands, roomCommands(ctx, room, noRoom)...)
	for i, c := range commands {
		commands[i] = c.Try(ctx)
	}
	if err := ctx.Err(); err != nil {
		return report, err
	}
	report.Versions = versions(ctx, y, docker)
	if report.Results, err = compare.Run(ctx, commands, rounds); err != nil {
		return report, err
	}
	report.Verdicts = compare.Judge(report.Results, targets())
	return report, nil
}

func bailey(y *yard.Yard) []compare.Command {
	return []compare.Command{
		y.Command(runNone, "run", "--rm", "--network", "none", "shell", ".", "--", "-c", "true"),
		y.Command(runNet, "run", "--rm", "shell", ".", "--", "-c", "true"),
		y.Command(execName, "exec", yard.Name, "true"),
	}
}

func versions(ctx context.Context, y *yard.Yard, docker *engines.Docker) []string {
	list := []string{yard.First(ctx, y.Program, "version"), yard.First(ctx, "bwrap", "--version"), "srt " + yard.First(ctx, "srt", "--version"),
		yard.First(ctx, "podman", "--version"), yard.First(ctx, "crun", "--version"), yard.First(ctx, "runc", "--version")}
	if docker != nil {
		if v, err := docker.Client(ctx, "version", "--format", "docker client {{.Client.Version}}, engine {{.Server.Version}}"); err == nil {
			list = append(list, v)
		}
	}
	return list
}
