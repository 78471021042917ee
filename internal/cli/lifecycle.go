package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

// onEach is a verb that does the same to every sandbox that is named, to those with a damaged record as well where
// corruptToo says so.
func (a *app) onEach(c cobra.Command, do func(ctx context.Context, sb *state.Sandbox) error, corruptToo bool) *cobra.Command {
	c.Args, c.ValidArgsFunction = takes(1, -1, "NAME"), a.names
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return a.each(args, func(sb *state.Sandbox) error { return do(cmd.Context(), sb) }, corruptToo)
	}
	return &c
}

func newStart(a *app) *cobra.Command {
	return a.onEach(cobra.Command{
		Use:     "start NAME...",
		Short:   "Start sandboxes without their agents",
		Long:    "Start sandboxes, so that exec works. Their agents are started by bailey run NAME.",
		Example: "  bailey start claude-shop",
	}, a.start, false)
}

func (a *app) start(ctx context.Context, sb *state.Sandbox) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	_, _, err = a.up(ctx, store, sb)
	return err
}

func newStop(a *app) *cobra.Command {
	return a.onEach(cobra.Command{
		Use:     "stop NAME...",
		Short:   "Stop sandboxes",
		Long:    "End everything that runs in sandboxes. Their files stay for the next start.",
		Example: "  bailey stop claude-shop\n  bailey stop $(bailey ls -q)",
	}, a.down, true)
}

func newPause(a *app) *cobra.Command {
	return a.onEach(cobra.Command{
		Use:   "pause NAME...",
		Short: "Close sandboxes' network and stop what runs in them",
		Long: `Close sandboxes' network, cut what is open, and stop what runs in them, until bailey unpause. A sandbox that
used a canary, a secret that lies there for thieves, is in this state by itself: see why in bailey ls
and bailey policy log. Paused sandboxes do not start.`,
		Example: "  bailey pause claude-shop",
	}, func(ctx context.Context, sb *state.Sandbox) error {
		return errors.Join(sb.Freeze("somebody has paused it"), tell(ctx, sb))
	}, true)
}

func newUnpause(a *app) *cobra.Command {
	return a.onEach(cobra.Command{
		Use:     "unpause NAME...",
		Short:   "Let paused and frozen sandboxes go on",
		Long:    "Let sandboxes go on that were paused, or that have frozen themselves. What was cut stays cut.",
		Example: "  bailey unpause claude-shop",
	}, func(ctx context.Context, sb *state.Sandbox) error {
		return errors.Join(sb.Freeze(""), tell(ctx, sb))
	}, true)
}

func newRestart(a *app) *cobra.Command {
	return a.onEach(cobra.Command{
		Use:     "restart NAME...",
		Short:   "Stop sandboxes and start them again",
		Long:    "Stop sandboxes and start them again, without their agents.",
		Example: "  bailey restart claude-shop",
	}, func(ctx context.Context, sb *state.Sandbox) error {
		return errors.Join(a.down(ctx, sb), a.start(ctx, sb))
	}, false)
}

func newRm(a *app) *cobra.Command {
	var force bool
	cmd := a.onEach(cobra.Command{
		Use:     "rm [-f] NAME...",
		Short:   "Remove sandboxes",
		Long:    "Remove sandboxes and everything in them. Workspaces are not touched. With --force also what runs, and what has\nchanges that were never applied.",
		Example: "  bailey rm claude-shop\n  bailey rm -f $(bailey ls -aq)",
	}, func(ctx context.Context, sb *state.Sandbox) error { return a.rm(ctx, sb, force) }, true)
	cmd.Flags().BoolVarP(&force, "force", "f", false, "stop a running sandbox first, and drop changes that were never applied")
	return cmd
}

func (a *app) rm(ctx context.Context, sb *state.Sandbox, force bool) error {
	held, _, err := sb.Locked()
	if err != nil {
		return err
	}
	if held && !force {
		return sandbox.WithHint(fmt.Errorf("cannot remove %s: it is running", sb.Name), "bailey rm -f "+sb.Name)
	}
	if !force {
		if why := undecided(ctx, sb); why != "" {
			return sandbox.WithHint(fmt.Errorf("cannot remove %s: %s", sb.Name, why), "bailey diff "+sb.Name+", or bailey rm -f "+sb.Name)
		}
	}
	if held {
		if err := a.down(ctx, sb); err != nil {
			return err
		}
	}
	return a.remove(ctx, sb)
}

func newPrune(a *app) *cobra.Command {
	var force, dry bool
	cmd := &cobra.Command{
		Use:   "prune [-f] [--dry-run]",
		Short: "Remove every sandbox that does not run",
		Long: `Remove every sandbox that does not run, and what interrupted removals have left. Workspaces are not touched, and
sandboxes with changes that were never applied are kept.`,
		Example: "  bailey prune -f",
		Args:    takes(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.prune(cmd.Context(), force, dry) },
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only print what would be removed")
	return cmd
}

func (a *app) prune(ctx context.Context, force, dry bool) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	entries, err := store.List()
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if held, _, err := e.Sandbox.Locked(); err != nil || held {
			continue
		}
		if why := undecided(ctx, e.Sandbox); why != "" {
			a.note("%s is kept: %s", e.Name, why)
			continue
		}
		names = append(names, e.Name)
	}
	if dry {
		for _, name := range names {
			fmt.Fprintln(a.Out, vt.OneLine(name))
		}
		return nil
	}
	if len(names) > 0 && !force {
		if err := a.confirm(fmt.Sprintf("Remove %d sandboxes and everything in them?", len(names)), "nothing was removed", "bailey prune -f"); err != nil {
			return err
		}
	}
	err = a.each(names, func(sb *state.Sandbox) error { return a.rm(ctx, sb, false) }, true)
	return errors.Join(err, store.Sweep())
}

// undecided says what a sandbox has that waits to be applied, "" for nothing. What cannot be read may be anything.
func undecided(ctx context.Context, sb *state.Sandbox) string {
	switch n, err := review.Pending(ctx, sb); {
	case err != nil:
		return fmt.Sprintf("what it has changed cannot be read: %v", err)
	case n > 0:
		return fmt.Sprintf("%d of its changes were never applied", n)
	}
	return ""
}

// confirm asks the person at the terminal. Where there is none, the answer is no; command does without one.
func (a *app) confirm(question, otherwise, command string) error {
	if !a.isTTY() {
		return sandbox.WithHint(errors.New("there is no terminal to ask for confirmation"), command)
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(a.In, &answer)
	if answer != "y" && answer != "Y" && answer != "yes" {
		return errors.New(otherwise)
	}
	return nil
}
