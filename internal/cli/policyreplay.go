package cli

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/learn"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

type policyReplayOptions struct {
	policy string
	json   bool
}

func newPolicyReplay(a *app) *cobra.Command {
	o := &policyReplayOptions{}
	cmd := &cobra.Command{
		Use:   "replay [flags] --policy FILE [NAME]",
		Short: "Say what would have been decided otherwise under other rules",
		Long: `Judge every recorded decision of a sandbox again, with the network: section of FILE in place of that in
config.yaml, and list those that would be others. Without NAME it is the sandbox of the current workspace.
FILE is read as strictly as config.yaml, or when it is called bailey.yaml as a project's. Its default:
counts as if the sandbox were made anew. All other rules are those in force: the agent's, bailey allow's,
the flags', the workspace's. Nothing is asked on the network and nothing changes; what cannot be judged
again is said. Exit code 0 says that all was judged, whatever would change.`,
		Example:           "  bailey policy replay --policy proposal.yaml claude-shop\n  bailey policy replay --policy ~/.config/bailey/config.yaml --json",
		Args:              takes(0, 1, ""),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.policy == "" {
				return usageError(cmd, "--policy FILE is missing")
			}
			sb, err := a.meant(strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.policyReplay(sb, o)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.policy, "policy", "", "the `FILE` whose network: section is tried")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

func (a *app) policyReplay(sb *state.Sandbox, o *policyReplayOptions) error {
	p, err := a.policyWith(sb, o.policy)
	if err != nil {
		return err
	}
	r, err := openRecord(sb)
	if err != nil {
		return err
	}
	defer r.close()
	replayed, err := learn.Replay(p, audit.Events(r.readers()...))
	if err != nil {
		return err
	}
	if o.json {
		return a.json(struct {
			Sandbox string `json:"sandbox"`
			learn.Replayed
		}{sb.Name, replayed})
	}
	return a.showReplayed(replayed)
}

// policyWith is what sb could reach if the user's network: section were that of file.
func (a *app) policyWith(sb *state.Sandbox, file string) (*policy.Policy, error) {
	network, err := config.LoadNetwork(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sandbox.ErrPolicy, err)
	}
	sources, err := a.sourcesOf(sb)
	if err != nil {
		return nil, err
	}
	sources.User = network
	if network.Default != "" && sb.Network != "none" {
		sources.Record.Network = network.Default
	}
	return a.merged(sources)
}

func (a *app) showReplayed(r learn.Replayed) error {
	for _, u := range r.Unjudged {
		a.note("not judged again, because it was %s: %d", u.Why, u.Count)
	}
	if r.Skipped > 0 {
		a.note("lines of the record left out, because they are damaged or not known to this bailey: %d", r.Skipped)
	}
	if len(r.Changes) == 0 {
		_, err := fmt.Fprintf(a.Out, "nothing would change; decisions judged again: %d\n", r.Judged)
		return err
	}
	var rows [][]string
	changed := r.More
	for _, c := range r.Changes {
		changed += c.Count
		request := strings.TrimSpace(c.Method + " " + c.Path)
		rows = append(rows, []string{c.Then, c.Now, c.Target, shortened(request), strconv.FormatUint(c.Count, 10), c.Rule, c.Reason})
	}
	if r.More > 0 {
		a.note("not listed, because they are too many: %d", r.More)
	}
	a.note("of %d decisions that were judged again, these would change: %d", r.Judged, changed)
	return a.table([]string{"THEN", "NOW", "HOST", "REQUEST", "COUNT", "RULE", "REASON"}, rows)
}

// shortened keeps a table in shape; JSON has the whole text.
func shortened(text string) string {
	const most = 60
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}
