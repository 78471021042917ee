package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

type discardOptions struct{ all bool }

func newDiscard(a *app) *cobra.Command {
	o := &discardOptions{}
	cmd := &cobra.Command{
		Use:   "discard [flags] [NAME] PATH... | discard --all [NAME]",
		Short: "Drop what an agent has changed in a project under review",
		Long: `Drop what the agent has changed at the PATHs in a project under review: when the sandbox starts again, it
sees the project's own files there. With --all that is everything, the agent's commits too. The sandbox must
be stopped.`,
		Example:           "  bailey stop claude-shop && bailey discard claude-shop src/generated\n  bailey discard --all claude-shop",
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.discardChanges(cmd, args, o)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "drop everything")
	return cmd
}

func (a *app) discardChanges(cmd *cobra.Command, args []string, o *discardOptions) error {
	sb, paths, err := a.reviewedSandbox(args)
	if err != nil {
		return err
	}
	if o.all == (len(paths) > 0) {
		return usageError(cmd, "say what to discard: PATHs, or --all")
	}
	lock, err := sb.TryLock()
	if errors.Is(err, state.ErrLocked) {
		return sandbox.WithHint(fmt.Errorf("cannot discard while the sandbox %s runs", sb.Name), "bailey stop "+sb.Name)
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if o.all {
		for _, p := range review.Places(sb) {
			if err := discardAll(p); err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "discarded every change to %s\n", p.Path)
		}
		return nil
	}
	return a.discardPaths(cmd.Context(), args)
}

func discardAll(p review.Place) error {
	lock, err := p.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := p.Recover(); err != nil {
		return err
	}
	return p.DiscardAll()
}

func (a *app) discardPaths(ctx context.Context, args []string) error {
	all, err := a.readReviews(ctx, args)
	if err != nil {
		return err
	}
	for _, r := range all {
		lock, err := r.Lock()
		if err != nil {
			return err
		}
		err = r.Discard(r.chosen)
		lock.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "discarded %d changes to %s\n", len(r.chosen), r.Path)
	}
	return nil
}
