package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

type runOptions struct {
	createFlags
	target
	agentOptions
	remove bool
}

func newRun(a *app) *cobra.Command {
	o := &runOptions{}
	var timeout, keys string
	cmd := &cobra.Command{
		Use:   "run [flags] AGENT [PATH[:ro]...] [-- ARGS...]",
		Short: "Run an agent in the workspace's sandbox",
		Long: `Create the sandbox of an agent and a workspace, or re-enter it when it exists, start the agent, and
attach to it. The first PATH is where the agent works ("." by default), at the same path inside; the
others are shown too, ":ro" read-only. ARGS are passed to the agent. With the name of a sandbox
instead of AGENT, that one is entered.

The network is closed but for what the agent itself needs and what --allow names; with --network ask,
what no rule speaks of waits until you answer (ctrl-p a, or bailey approvals). The sandbox goes on
when you detach (ctrl-p ctrl-q) or when the agent ends; --rm removes it then.`,
		Example: `  bailey run claude .
  bailey run claude . -- -p "explain this project"
  bailey run --allow "*.npmjs.org" --memory 4g claude ~/src/shop ~/src/lib:ro
  bailey run -d --name night --timeout 2h claude . -- -p "fix the flaky tests"
  bailey run night`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || cmd.ArgsLenAtDash() == 0 {
				return sandbox.WithHint(errors.New("AGENT or the NAME of a sandbox is missing"), "bailey run claude .")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.target = splitTarget(cmd, args)
			var err error
			if o.timeout, err = parseTimeout(timeout); err != nil {
				return err
			}
			if o.detachKeys, err = parseDetachKeys(keys); err != nil {
				return err
			}
			o.agentOptions.args = o.target.args
			return a.run(cmd, o)
		},
	}
	o.register(cmd, &a.quiet)
	fs := cmd.Flags()
	fs.BoolVarP(&o.background, "detach", "d", false, "start the agent in the background and print the sandbox's name")
	fs.BoolVar(&o.remove, "rm", false, "make a new sandbox and remove it when the agent has ended")
	fs.StringVar(&timeout, "timeout", "", "end the agent after `TIME`, such as 30m (exit code 124)")
	fs.StringVar(&keys, "detach-keys", defaultDetachKeys, "`KEYS` that detach from the agent")
	return cmd
}

func (a *app) run(cmd *cobra.Command, o *runOptions) error {
	ctx := cmd.Context()
	if err := o.check(cmd); err != nil {
		return err
	}
	if o.json && !o.background {
		return usageError(cmd, "--json needs --detach: otherwise the output is the agent's")
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	sb, created, err := a.findOrCreate(cmd, store, o)
	if err != nil {
		return err
	}
	if err := a.setBudget(sb, o.budget); err != nil {
		return err
	}
	c, started, err := a.up(ctx, store, sb)
	if err == nil {
		err = failpoint.Hit("run.up")
	}
	if err != nil {
		if created { // a sandbox that never ran is only in the way of the next try
			err = errors.Join(err, a.remove(context.WithoutCancel(ctx), sb))
		}
		return err
	}
	if started {
		if v, err := c.Inspect(ctx); err == nil {
			for _, n := range v.Notices {
				a.note("%s", n)
			}
			o.noticed = len(v.Notices)
		}
	}
	if err := a.enterAgent(ctx, c, sb, o.agentOptions); err != nil {
		return err
	}
	if !o.background {
		return nil
	}
	if o.json {
		status, v := a.status(ctx, state.Entry{Name: sb.Name, Sandbox: sb})
		return a.json(describe(sb, status, v))
	}
	fmt.Fprintln(a.Out, sb.Name)
	return nil
}

// findOrCreate returns the sandbox that the command line means, and whether it was made just now.
func (a *app) findOrCreate(cmd *cobra.Command, store *state.Store, o *runOptions) (*state.Sandbox, bool, error) {
	if _, err := a.findAgent(o.first); err != nil && sandbox.CheckName(o.first) == nil {
		sb, loadErr := store.Load(o.first)
		switch {
		case loadErr == nil:
			return sb, false, a.checkNamed(cmd, sb, o)
		case !errors.Is(loadErr, state.ErrNotFound):
			return nil, false, loadErr
		}
	}
	want, err := a.wanted(cmd, &o.createFlags, o.target)
	if err != nil {
		return nil, false, err
	}
	want.Temporary = o.remove
	for {
		var sb *state.Sandbox
		if !o.remove {
			if sb, err = reenter(store, want); err != nil {
				return nil, false, err
			}
		}
		if sb != nil {
			return sb, false, sameFlags(cmd, sb.Record, want, o.paths)
		}
		sb, err = a.createNew(cmd.Context(), store, want)
		if errors.Is(err, state.ErrExists) && !o.remove {
			continue // another run was faster: enter what it made
		}
		return sb, err == nil, err
	}
}

// checkNamed refuses what cannot be said of a sandbox that is called by its name.
func (a *app) checkNamed(cmd *cobra.Command, sb *state.Sandbox, o *runOptions) error {
	switch {
	case len(o.paths) > 0:
		return usageError(cmd, "%s is a sandbox, whose workspaces are fixed: no PATH can follow", sb.Name)
	case o.remove:
		return usageError(cmd, "--rm makes a new sandbox: write an AGENT instead of %s", sb.Name)
	case o.name != "":
		return usageError(cmd, "--name cannot rename the sandbox %s", sb.Name)
	}
	want, err := a.record(&o.createFlags)
	if err != nil {
		return err
	}
	return sameFlags(cmd, sb.Record, want, nil)
}
