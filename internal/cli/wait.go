package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func newWait(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "wait NAME",
		Short:             "Wait until a sandbox's agent has ended",
		Long:              "Wait until the agent in a sandbox has ended, and print its exit code. An agent that has ended before is not waited for.",
		Example:           "  bailey run -d --name night claude . -- -p \"fix the flaky tests\"\n  bailey wait night",
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.names,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.wait(cmd.Context(), args[0]) },
	}
}

func (a *app) wait(ctx context.Context, name string) error {
	c, _, err := a.running(ctx, name)
	if err != nil {
		return err
	}
	for {
		v, err := c.Inspect(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("lost the sandbox %s: %w", name, err)
		case v.Agent == nil:
			return sandbox.WithHint(fmt.Errorf("the agent in %s was not started", name), "bailey run -d "+name)
		case !v.Agent.Running:
			fmt.Fprintln(a.Out, v.Agent.Exit.Code)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logPoll):
		}
	}
}
