// Package cli is bailey's command line: one file for each verb, each with a constructor, its options and
// a function that takes a context and uses the given streams. It parses, asks the supervisor's socket, and
// prints. Nothing here decides what a sandbox may do, and nothing but package cmd may import it.
package cli

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/dockerplugin"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/supervise"
)

// Config is what the command line gets from the process that it runs in.
type Config struct {
	// Self is the path of the running binary, which is executed again, under the name bailey, as the supervisor and for other work.
	Self string
	// Arg0 is the name that the process was called by: as docker's plugin, bailey is spelled otherwise.
	Arg0 string
	// Backends lists what this binary can run, the preferred one first. A function because only some
	// verbs need it, in another process.
	Backends func(log *slog.Logger) []sandbox.Backend
	Environ  []string
	Streams  Streams
}

// again is this program with other arguments, as the user would run it.
func (a *app) again(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, a.cfg.Self, args...)
	cmd.Args[0] = program
	cmd.Env = a.cfg.Environ
	return cmd
}

// Main runs one command line, without the program's name, and returns the exit code. When ctx ends, what
// is under way is given up and cleaned up.
func Main(ctx context.Context, args []string, cfg Config) int {
	// The supervisor is on the path of every cold start: it does without the command tree.
	if len(args) > 0 && args[0] == supervise.Verb {
		return supervise.Main(cfg.Self, args[1:], cfg.Backends)
	}
	a := &app{cfg: cfg, Streams: cfg.Streams, program: program}
	if dockerplugin.Started(cfg.Arg0, args) {
		args = a.asPlugin(ctx, args)
	}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, context.Canceled) {
		err = &exitError{code: 130} // Ctrl-C, as a shell reports it
	}
	a.printError(err)
	return exitCode(err)
}

// program is what our texts call us.
const program = "bailey"

// app is what every verb shares.
type app struct {
	cfg Config
	Streams
	program string            // what the user calls us
	verbs   []string          // every verb and its aliases
	quiet   bool              // no progress
	lent    map[string]string // variables that hold secrets, of this command line
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "Run coding agents at full autonomy inside a sandbox",
		Long: `bailey runs a coding agent at full autonomy inside a sandbox on your own machine: it sees the
workspace that you name, a toolchain, and the network hosts that you allow. Nothing else.`,
		Example:       "  bailey run claude .\n  bailey ls -a\n  bailey exec -it claude-shop bash",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetUsageTemplate(root.UsageTemplate() + exitCodesHelp)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, "%s", err) })
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(
		newRun(a), newCreate(a), newStart(a), newStop(a), newRestart(a), newPause(a), newUnpause(a), newRm(a), newPrune(a),
		newLs(a), newInspect(a), newLogs(a), newAttach(a), newExec(a), newCp(a), newDiff(a), newApply(a), newDiscard(a), newSnapshot(a), newRestore(a), newFork(a), newCompare(a), newPush(a), newPr(a), newTake(a), newUsage(a), newBudget(a), newWait(a), newStats(a),
		newAllow(a), newDeny(a), newApprovals(a), newPolicy(a), newSecret(a), newLogin(a), newScan(a), newDoctor(a), newVersion(a), newDockerPlugin(a),
	)
	root.AddCommand(newForeign()...)
	for _, cmd := range root.Commands() {
		a.verbs = append(append(a.verbs, cmd.Name()), cmd.Aliases...)
	}
	if a.program != program {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: a.program}
		root.CompletionOptions.DisableDefaultCmd = true // docker's own completion asks us
		a.spellHelp(root)
		root.AddCommand(&cobra.Command{Use: dockerplugin.MetadataVerb, Hidden: true, Args: takes(0, 0, ""),
			RunE: func(*cobra.Command, []string) error { return a.pluginMetadata() }})
	}
	return root
}

// getenv is os.Getenv on the configured environment.
func (a *app) getenv(key string) string {
	v, _ := lookup(a.cfg.Environ, key)
	return v
}

// lookup finds key in environ; as in execve's callers, the last one counts.
func lookup(environ []string, key string) (string, bool) {
	for _, kv := range slices.Backward(environ) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == key {
			return v, true
		}
	}
	return "", false
}

// store opens the state directory.
func (a *app) store() (*state.Store, error) {
	dirs, err := state.Locate(a.getenv, uid())
	if err != nil {
		return nil, err
	}
	return state.Open(dirs)
}

// unknownCommand refuses what follows a command that has only commands of its own.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(cmd, "unknown command %q", args[0])
	}
	return nil
}
