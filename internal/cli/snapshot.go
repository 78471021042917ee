package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/snapshot"
	"github.com/bailey-sandbox/bailey/internal/state"
)

func newSnapshot(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "snapshot [flags] NAME [LABEL]",
		Short: "Keep what a sandbox has written as it is now",
		Long: `Keep what a sandbox has written as it is now: its changes to projects under review, its part of the system,
and its home with the agent's state. What runs inside stops for the moment that takes. Where the file system can
share blocks (btrfs, xfs) that is an instant and costs no space; elsewhere everything is copied.

Before each apply, and when a sandbox under review stops, bailey keeps its changes to projects by itself, if
they are small: the last five.`,
		Example:           "  bailey snapshot night before-refactoring\n  bailey snapshot ls night\n  bailey restore night before-refactoring",
		Args:              takes(1, 2, "NAME"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			label := time.Now().Format("20060102-150405")
			if len(args) > 1 {
				label = args[1]
			}
			return a.snapshot(cmd.Context(), args[0], label, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(newSnapshotLs(a), newSnapshotRm(a))
	return cmd
}

// backendOf is the backend that keeps what a sandbox has.
func (a *app) backendOf(ctx context.Context, sb *state.Sandbox) (sandbox.Backend, error) {
	for _, b := range a.cfg.Backends(a.log()) {
		if sb.Backend != "" && sb.Backend != "auto" && sb.Backend != b.Name() {
			continue
		}
		if _, err := b.Probe(ctx); err == nil {
			return b, nil
		}
	}
	return nil, sandbox.WithHint(fmt.Errorf("the backend of %s cannot be used here", sb.Name), "bailey doctor")
}

// still calls do while nothing changes in the sandbox: it does not run, or what runs in it is held.
func (a *app) still(ctx context.Context, sb *state.Sandbox, do func(sandbox.Backend) error) error {
	b, err := a.backendOf(ctx, sb)
	if err != nil {
		return err
	}
	c, err := api.Dial(ctx, sb.Dir)
	if errors.Is(err, api.ErrNotRunning) {
		lock, err := sb.TryLock()
		if err != nil {
			return err
		}
		defer lock.Unlock()
		return do(b)
	}
	if err != nil {
		return err
	}
	release, err := c.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	return do(b)
}

func (a *app) snapshot(ctx context.Context, name, label string, asJSON bool) error {
	sb, err := a.load(name)
	if err != nil {
		return err
	}
	var s snapshot.Snapshot
	err = a.still(ctx, sb, func(b sandbox.Backend) error {
		s, err = snapshot.Take(ctx, b, sb, label)
		return err
	})
	switch {
	case err != nil:
		return err
	case asJSON:
		return a.json(s)
	}
	fmt.Fprintln(a.Out, s.Label)
	return nil
}

func newSnapshotLs(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "ls [--json] NAME",
		Short:             "List a sandbox's snapshots, the oldest first",
		Example:           "  bailey snapshot ls night",
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.names,
		RunE: func(_ *cobra.Command, args []string) error {
			sb, err := a.load(args[0])
			if err != nil {
				return err
			}
			all, err := snapshot.List(sb)
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(append([]snapshot.Snapshot{}, all...))
			}
			var rows [][]string
			for _, s := range all {
				rows = append(rows, []string{s.Label, age(time.Now(), s.Time), fmt.Sprintf("%.1f MB", float64(s.Size)/1e6), s.Why})
			}
			return a.table([]string{"SNAPSHOT", "TAKEN", "SIZE", "BEFORE OR AT"}, rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newSnapshotRm(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME LABEL...",
		Short:             "Remove snapshots",
		Example:           "  bailey snapshot rm night before-refactoring",
		Args:              takes(2, -1, "NAME or LABEL"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			sb, err := a.load(args[0])
			if err != nil {
				return err
			}
			b, err := a.backendOf(cmd.Context(), sb)
			if err != nil {
				return err
			}
			for _, label := range args[1:] {
				if err := snapshot.Remove(cmd.Context(), b, sb, label); err != nil {
					return err
				}
				fmt.Fprintln(a.Out, label)
			}
			return nil
		},
	}
}

func newRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "restore NAME [LABEL]",
		Short: "Give a sandbox what one of its snapshots has",
		Long: `Give a sandbox, which must be stopped, what one of its snapshots has, the latest by default. What it has written
since is gone; projects are not touched. Snapshots that bailey took by itself have the changes to projects only.`,
		Example:           "  bailey stop night && bailey restore night before-refactoring",
		Args:              takes(1, 2, "NAME"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.restore(cmd.Context(), args[0], append(args, "")[1])
		},
	}
}

func (a *app) restore(ctx context.Context, name, label string) error {
	sb, err := a.load(name)
	if err != nil {
		return err
	}
	s, err := snapshot.Find(sb, label)
	if err != nil {
		return err
	}
	b, err := a.backendOf(ctx, sb)
	if err != nil {
		return err
	}
	lock, err := sb.TryLock()
	if errors.Is(err, state.ErrLocked) {
		return sandbox.WithHint(fmt.Errorf("cannot restore %s while it runs", sb.Name), "bailey stop "+sb.Name)
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := snapshot.Restore(ctx, b, sb, s); err != nil {
		return err
	}
	fmt.Fprintln(a.Out, s.Label)
	return nil
}

type forkOptions struct{ from, name string }

func newFork(a *app) *cobra.Command {
	o := &forkOptions{}
	cmd := &cobra.Command{
		Use:   "fork [flags] NAME [COUNT]",
		Short: "Make further sandboxes of what one has now",
		Long: `Make COUNT (1 by default) further sandboxes of what NAME has now, or had at a snapshot, and print their names.
Each goes on by itself, with the same projects, under review or in clones, the same rules and the same agent state.
bailey compare shows what came of them.`,
		Example:           "  bailey fork night 3\n  bailey fork --from before-refactoring --name try night",
		Args:              takes(1, 2, "NAME"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			count, err := strconv.Atoi(append(args, "1")[1])
			if err != nil || count < 1 || count > 100 {
				return usageError(cmd, "invalid COUNT %q: write a number from 1 to 100", args[1])
			}
			return a.fork(cmd.Context(), args[0], count, o)
		},
	}
	cmd.Flags().StringVar(&o.from, "from", "", "the snapshot `LABEL` instead of what it has now")
	cmd.Flags().StringVar(&o.name, "name", "", "what the new sandboxes are called, before their number (default NAME-fork)")
	return cmd
}

func (a *app) fork(ctx context.Context, name string, count int, o *forkOptions) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	sb, err := store.Load(name)
	if err != nil {
		return err
	}
	var from *snapshot.Snapshot
	if o.from != "" {
		s, err := snapshot.Find(sb, o.from)
		if err != nil {
			return err
		}
		from = &s
	}
	base := o.name
	if base == "" {
		base = sb.Name + "-fork"
	}
	return a.still(ctx, sb, func(b sandbox.Backend) error {
		for n := 1; count > 0; n++ {
			made, err := snapshot.Fork(ctx, b, store, sb, from, fmt.Sprintf("%s-%d", base, n))
			if errors.Is(err, state.ErrExists) && n < 1000 {
				continue
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Out, made.Name)
			count--
		}
		return nil
	})
}
