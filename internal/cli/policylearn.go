package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/learn"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

func newPolicyLearn(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "learn [flags] [NAME]",
		Short: "Propose the smallest rules for what a sandbox has used",
		Long: `Propose the smallest rules for what a sandbox has used, from the record of its decisions: a network:
section for config.yaml, in place of the one there. Without NAME it is the sandbox of the current workspace.
What the default or a wide rule allowed becomes hosts, ports, methods and paths; narrow rules and profiles
that were used stay as they are. What was refused because no rule allows it comes last, and says so: leave
away what should stay refused. Nothing is proposed that a rule denies, that leads inside this network, or
that the agent's own rules allow anyway, and no rule is given.`,
		Example:           "  bailey run --network allow claude .\n  bailey policy learn > proposal.yaml\n  bailey policy replay --policy proposal.yaml",
		Args:              takes(0, 1, ""),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			sb, err := a.meant(strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.policyLearn(cmd.Context(), sb, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) policyLearn(ctx context.Context, sb *state.Sandbox, asJSON bool) error {
	p, err := a.policyOf(ctx, sb)
	if err != nil {
		return err
	}
	r, err := openRecord(sb)
	if err != nil {
		return err
	}
	defer r.close()
	proposal, err := learn.Propose(p, audit.Events(r.readers()...))
	if err != nil {
		return err
	}
	for _, left := range []struct {
		n    uint64
		what string
	}{
		{proposal.BuiltIn, "decisions left out, because the agent's own rules allow them anyway"},
		{proposal.Inside, "decisions left out, because they led to addresses inside, which are for you to name"},
		{proposal.Denied, "decisions left out, because a rule or a human denies them"},
		{proposal.Other, "refusals left out, because no rule was missing there"},
		{proposal.Beyond, "decisions or rules left out, because a configuration may not have so many"},
		{proposal.Skipped, "lines of the record left out, because they are damaged or not known to this bailey"},
	} {
		if left.n > 0 {
			a.note("%s: %d", left.what, left.n)
		}
	}
	if asJSON {
		return a.json(struct {
			Sandbox string `json:"sandbox"`
			learn.Proposal
		}{sb.Name, proposal})
	}
	text := fmt.Sprintf("# Proposed from the record of the sandbox %s, in place of network: in config.yaml.\n", sb.Name) + proposal.YAML()
	for line := range strings.Lines(text) {
		if _, err := fmt.Fprintln(a.Out, vt.OneLine(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}
