package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

type execOptions struct {
	interactive bool
	tty         bool
	detach      bool
	env         []string
	envFiles    []string
	user        string
	workdir     string
	keys        string
}

func newExec(a *app) *cobra.Command {
	o := &execOptions{}
	cmd := &cobra.Command{
		Use:   "exec [flags] NAME COMMAND [ARGS...]",
		Short: "Run a command in a running sandbox",
		Long: `Run a command beside the agent, in the same sandbox. It ends when this client ends, unless it was
started with --detach. Flags stand before NAME; everything after it belongs to the command.`,
		Example: `  bailey exec -it claude-shop bash
  bailey exec claude-shop git status
  tar c . | bailey exec -i claude-shop tar x -C /tmp
  bailey exec -u root claude-shop apt-get install -y jq`,
		Args:              takes(2, -1, "NAME or COMMAND"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkRefused(cmd, refusedAtExec()); err != nil {
				return err
			}
			return a.exec(cmd.Context(), o, args[0], args[1:])
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.BoolVarP(&o.interactive, "interactive", "i", false, "send our input to the command")
	fs.BoolVarP(&o.tty, "tty", "t", false, "give the command a terminal")
	fs.BoolVarP(&o.detach, "detach", "d", false, "leave the command running in the background")
	fs.StringArrayVarP(&o.env, "env", "e", nil, "set `KEY=VALUE`; KEY alone takes the value from here")
	fs.StringArrayVar(&o.envFiles, "env-file", nil, "read variables from `FILE`, one KEY=VALUE a line")
	fs.StringVarP(&o.user, "user", "u", "", "run as `USER[:GROUP]`, names or numbers inside")
	fs.StringVarP(&o.workdir, "workdir", "w", "", "run in the directory `PATH` inside")
	fs.StringVar(&o.keys, "detach-keys", "", "`KEYS` that leave a command with a terminal, which ends it")
	registerRefused(cmd, refusedAtExec())
	return cmd
}

func (a *app) exec(ctx context.Context, o *execOptions, name string, argv []string) error {
	if o.detach && o.interactive {
		return errors.New("--detach and --interactive exclude each other")
	}
	if o.tty && !o.detach && !a.isTTY() {
		return sandbox.WithHint(errors.New("--tty needs a terminal on both stdin and stdout"), "leave out -t")
	}
	keys, err := parseDetachKeys(o.keys)
	if err != nil {
		return err
	}
	env, err := a.environment(o.env, o.envFiles)
	if err != nil {
		return err
	}
	c, _, err := a.running(ctx, name)
	if err != nil {
		return err
	}
	g, err := guest(ctx, c)
	if err != nil {
		return err
	}
	defer g.Close()
	if err := failpoint.Hit("exec.connected"); err != nil {
		return err
	}
	command := guestproto.Command{Argv: argv, Env: env, Dir: o.workdir, User: o.user, TTY: o.tty, Stdin: o.interactive, Detach: o.detach}
	if o.tty {
		command.Term = a.getenv("TERM")
		command.Rows, command.Cols = a.size()
	}
	if o.detach {
		command.Session = "exec-" + strings.ToLower(rand.Text()[:8])
	}
	p, err := g.Run(ctx, command)
	if err != nil {
		return err
	}
	if o.detach {
		return p.Close()
	}
	if err := failpoint.Hit("exec.running"); err != nil {
		return err
	}
	x := interaction{Streams: a.Streams, process: p, tty: o.tty, stdin: o.interactive, detach: keys}
	e, err := x.run()
	a.noteClipboard(e)
	switch {
	case err != nil:
		return err
	case e.signal != 0:
		return &exitError{code: 128 + int(e.signal)}
	}
	return exited(e.exit)
}
