package start

import (
	"context"
	"os/exec"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/engines"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

func bubblewrap() compare.Command {
	return compare.Command{Name: bwrap, Argv: strings.Fields("bwrap --ro-bind / / --dev /dev --proc /proc --unshare-all true")}
}

// sandboxRuntime is the npm package @anthropic-ai/sandbox-runtime, which reads its settings from a home: here it
// is the yard's, and has none.
func sandboxRuntime(y *yard.Yard) compare.Command {
	c := y.Command(srt)
	c.Argv = []string{"srt", "true"}
	if path, err := exec.LookPath("srt"); err != nil {
		c.Missing = "srt is not on the PATH"
	} else {
		c.Argv[0] = path
	}
	return c
}

// absent are contestants that cannot be had.
func absent(reason error, names ...string) []compare.Command {
	var commands []compare.Command
	for _, name := range names {
		commands = append(commands, compare.Command{Name: name, Missing: reason.Error()})
	}
	return commands
}

func dockerCommands(ctx context.Context, docker *engines.Docker, missing error) []compare.Command {
	container := ""
	if missing == nil {
		container, missing = docker.Client(ctx, "run", "--detach", "--network", "none", engines.ImageName, "/true", "wait")
	}
	if missing != nil {
		return absent(missing, dockerRunNone, dockerRun, dockerExec)
	}
	command := func(name string, args ...string) compare.Command {
		return compare.Command{Name: name, Argv: append([]string{"docker"}, docker.Args(args...)...)}
	}
	return []compare.Command{
		command(dockerRunNone, "run", "--rm", "--network", "none", engines.ImageName, "/true"),
		command(dockerRun, "run", "--rm", engines.ImageName, "/true"),
		command(dockerExec, "exec", container, "/true"),
	}
}

// roomCommands are those of podman, crun and runc.
func roomCommands(ctx context.Context, room *engines.Room, missing error) []compare.Command {
	if missing != nil {
		return absent(missing, podmanRunNone, podmanRun, podmanExec, "crun run", "runc run")
	}
	var commands []compare.Command
	for _, runtime := range []string{"crun", "runc"} {
		if argv, err := room.Bundle(ctx, runtime); err != nil {
			commands = append(commands, absent(err, runtime+" run")...)
		} else {
			commands = append(commands, compare.Command{Name: runtime + " run", Argv: argv})
		}
	}
	container, missing := room.PodmanContainer(ctx)
	if missing != nil {
		return append(commands, absent(missing, podmanRunNone, podmanRun, podmanExec)...)
	}
	return append(commands,
		compare.Command{Name: podmanRunNone, Argv: room.PodmanRun("--rm", "--network", "none", engines.ImageName, "/true")},
		compare.Command{Name: podmanRun, Argv: room.PodmanRun("--rm", engines.ImageName, "/true")},
		compare.Command{Name: podmanExec, Argv: room.Podman("exec", container, "/true")})
}
