package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

// maxHandedOver is the largest patch that is taken, in bytes.
const maxHandedOver = 64 << 20

type takeOptions struct{ workspace string }

func newTake(a *app) *cobra.Command {
	o := &takeOptions{}
	cmd := &cobra.Command{
		Use:   "take [flags] NAME:PATCH",
		Short: "Take a patch that an agent made of what it may only read",
		Long: `Take a patch out of a running sandbox, and apply it to its project with git, but in a sandbox of its own,
NAME-patch, which has no network and changes nothing outside. What came of it you review as you do any
agent's work: bailey diff, then bailey apply or bailey discard.`,
		Example: `  bailey run claude .:ro
  bailey take claude-shop:/tmp/fix.patch
  bailey diff claude-shop-patch
  bailey apply claude-shop-patch`,
		Args: takes(1, 1, "NAME:PATCH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, patch, ok := cutSandbox(args[0])
			if !ok || patch == "" {
				return usageError(cmd, "write NAME:PATCH, such as claude-shop:/tmp/fix.patch")
			}
			return a.takePatch(cmd.Context(), o, name, patch)
		},
	}
	cmd.Flags().StringVarP(&o.workspace, "workspace", "w", "", "the `DIRECTORY` that the patch is of, where a sandbox has several")
	return cmd
}

func (a *app) takePatch(ctx context.Context, o *takeOptions, name, path string) error {
	sb, err := a.load(name)
	if err != nil {
		return err
	}
	ws, err := o.of(sb)
	if err != nil {
		return err
	}
	patch, err := a.ask(ctx, nil, "exec", name, "cat", "--", path)
	switch {
	case err != nil:
		return fmt.Errorf("cannot take %s: %w", path, err)
	case len(patch) >= maxHandedOver:
		return fmt.Errorf("the patch has more than %d MiB", maxHandedOver>>20)
	case len(bytes.TrimSpace(patch)) == 0:
		return errors.New("the patch is empty")
	}
	into := name + "-patch"
	if _, err := a.load(into); err == nil {
		return sandbox.WithHint(fmt.Errorf("%s has a patch that was taken before", into), "bailey diff "+into+", then bailey rm "+into)
	}
	// git reads what an agent wrote, so it is inside that it does.
	out, err := a.ask(ctx, patch, "run", "--quiet", "--review", "--name", into, "--network", "none", "--credentials", "none", "shell", ws, "--", "-c", "exec git apply --whitespace=nowarn - 2>&1")
	if err != nil {
		_, _ = a.ask(context.WithoutCancel(ctx), nil, "rm", "-f", into)
		return sandbox.WithHint(fmt.Errorf("git does not take the patch: %s", lastLine(string(out), err)), "have the agent make it with git diff, against the files as they are now")
	}
	if _, err := a.ask(ctx, nil, "stop", into); err != nil {
		return fmt.Errorf("cannot stop %s: %w", into, err)
	}
	a.note("taken: bailey diff %s, then bailey apply %[1]s", into)
	fmt.Fprintln(a.Out, into)
	return nil
}

// of is the workspace that a patch is of: the one that is meant, or the only one, or the only one that can only be read.
func (o *takeOptions) of(sb *state.Sandbox) (string, error) {
	var all, only []string
	for _, ws := range sb.Workspaces {
		all = append(all, ws.Path)
		if ws.ReadOnly {
			only = append(only, ws.Path)
		}
	}
	switch {
	case o.workspace != "":
		dir, err := realPath(o.workspace)
		for _, path := range all {
			if err == nil && path == dir {
				return path, nil
			}
		}
		return "", fmt.Errorf("%s is no workspace of %s", o.workspace, sb.Name)
	case len(all) == 1:
		return all[0], nil
	case len(only) == 1:
		return only[0], nil
	}
	return "", sandbox.WithHint(fmt.Errorf("%s has several workspaces", sb.Name), "bailey take -w "+all[0]+" …")
}

// ask runs bailey, and returns what it prints. Its error has what it complained of.
func (a *app) ask(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	cmd := a.again(ctx, args...)
	var out, told bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &capped{&out, maxHandedOver}, &told
	if err := cmd.Run(); err != nil {
		return out.Bytes(), errors.New(lastLine(told.String(), err))
	}
	return out.Bytes(), nil
}

// lastLine is the last of text, made fit to be shown, or err's where there is none.
func lastLine(text string, err error) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return vt.OneLine(strings.TrimPrefix(last, program+": "))
	}
	return err.Error()
}
