package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/gitcommit"
	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

func newPush(a *app) *cobra.Command {
	var remote string
	cmd := &cobra.Command{
		Use:   "push [flags] [NAME]",
		Short: "Push what was approved of a sandbox's work",
		Long: `Push the branch that bailey apply has committed to: a clone's own or, with a project under review, the one that
is checked out. Your git does it on this machine, with your credentials and hooks; the sandbox takes no part, and
nothing that was not applied goes out.`,
		Example:           "  bailey apply one && bailey push one",
		Args:              takes(0, 1, ""),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			sb, p, err := a.published(args)
			if err != nil {
				return err
			}
			_, err = a.push(cmd.Context(), sb, p, remote)
			return err
		},
	}
	cmd.Flags().StringVar(&remote, "remote", "origin", "the `REMOTE` to push to")
	return cmd
}

func newPr(a *app) *cobra.Command {
	var remote string
	cmd := &cobra.Command{
		Use:   "pr [flags] [NAME] [-- ARGS...]",
		Short: "Push what was approved, and open a pull request",
		Long: `Push as bailey push does, and open a pull request with your gh: title and text are those of the commits, unless
ARGS, which are gh's, say otherwise.`,
		Example:           "  bailey pr one\n  bailey pr one -- --draft --title \"Parse dates with zones\" --body \"\"",
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			var more []string
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				args, more = args[:dash], args[dash:]
			}
			if len(args) > 1 {
				return usageError(cmd, "one NAME at most: what is gh's stands behind --")
			}
			sb, p, err := a.published(args)
			if err != nil {
				return err
			}
			if _, err := exec.LookPath("gh"); err != nil {
				return sandbox.WithHint(errors.New("cannot open a pull request: gh is not installed"), "bailey push "+sb.Name+", and open it in the browser")
			}
			branch, err := a.push(cmd.Context(), sb, p, remote)
			if err != nil {
				return err
			}
			if len(more) == 0 {
				more = []string{"--fill"}
			}
			return a.foreground(cmd.Context(), p.Path, "gh", append([]string{"pr", "create", "--head", branch}, more...)...)
		},
	}
	cmd.Flags().StringVar(&remote, "remote", "origin", "the `REMOTE` to push to")
	return cmd
}

// published is the sandbox and the project whose approved work is meant.
func (a *app) published(args []string) (*state.Sandbox, review.Place, error) {
	sb, _, err := a.reviewedSandbox(args)
	if err != nil {
		return nil, review.Place{}, err
	}
	places := review.Places(sb)
	return sb, places[0], a.finishApply(context.Background(), places[0])
}

// push pushes the branch that approved work is on, and returns its name.
func (a *app) push(ctx context.Context, sb *state.Sandbox, p review.Place, remote string) (string, error) {
	repository, err := gitcommit.Open(ctx, p.Path, a.cfg.Environ)
	if err != nil {
		return "", err
	}
	branch, err := repository.Branch(ctx, p.Branch)
	if err != nil {
		return "", sandbox.WithHint(err, "commit what was approved first: bailey diff "+sb.Name+", bailey apply "+sb.Name+" -m MESSAGE")
	}
	ref := "refs/heads/" + branch
	return branch, a.foreground(ctx, p.Path, "git", "push", "--set-upstream", remote, ref+":"+ref)
}

// foreground runs one of the user's own programs as if they had.
func (a *app) foreground(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, a.cfg.Environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, a.Out, a.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		return &exitError{code: exit.ExitCode()} // it has said why
	} else if err != nil {
		return fmt.Errorf("cannot run %s: %w", name, err)
	}
	return nil
}
