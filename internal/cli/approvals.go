package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

func newApprovals(a *app) *cobra.Command {
	cmd := newApprovalsLs(a)
	cmd.Use, cmd.Short = "approvals [flags] [NAME...]", "Answer what sandboxes ask about the network"
	cmd.Long = `List what waits for your answer. In sandboxes made with --network ask, or where config.yaml has
"default: ask", what no rule speaks of waits for two minutes: a request with its body unread, a
connection of another protocol before it is made. Then, and where there are too many questions, it is
refused. What a rule denies is not asked about, and neither are addresses inside: they need a rule.

A terminal that is attached says so on its last line; ctrl-p a shows the question there, and takes
y (once), s (for the session), a (always), n (no) or esc (later).`
	cmd.Example = `  bailey approvals
  bailey approvals allow night/3
  bailey approvals allow --for always night/3 night/4
  bailey approvals deny --for session night/5
  bailey approvals watch`
	ls := newApprovalsLs(a)
	cmd.AddCommand(ls, newApprovalsAnswer(a, policy.Allow), newApprovalsAnswer(a, policy.Deny), newApprovalsWatch(a))
	return cmd
}

func newApprovalsLs(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "ls [flags] [NAME...]",
		Short:             "List what waits for an answer",
		Long:              "List what waits for an answer, in every sandbox that runs or in those named.",
		Example:           "  bailey approvals ls\n  bailey approvals ls --json night",
		Args:              takes(0, -1, ""),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.approvalsLs(cmd.Context(), args, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// asked is a question as ls --json tells it.
type asked struct {
	Sandbox string `json:"sandbox"`
	api.Question
}

// name is how the command line calls it.
func (q asked) name() string { return fmt.Sprintf("%s/%d", q.Sandbox, q.ID) }

func (a *app) approvalsLs(ctx context.Context, names []string, asJSON bool) error {
	running, err := a.supervisors(ctx, names)
	if err != nil {
		return err
	}
	list := []asked{}
	for _, s := range running {
		one, cancel := context.WithTimeout(ctx, glance)
		v, err := s.client.Approvals(one)
		cancel()
		switch {
		case err != nil && len(names) == 0:
			a.note("the supervisor of %s does not answer", s.Name)
		case err != nil:
			return err
		}
		for _, q := range v.Questions {
			list = append(list, asked{s.Name, q})
		}
	}
	if asJSON {
		return a.json(list)
	}
	var rows [][]string
	for _, q := range list {
		rows = append(rows, []string{q.name(), place(q.Question), wish(q.Question), strconv.Itoa(q.Waiting), q.Rule, age(time.Now(), q.Asked)})
	}
	return a.table([]string{"QUESTION", "HOST", "WANTS", "WAITING", "RULE", "ASKED"}, rows)
}

// supervised is a sandbox that runs.
type supervised struct {
	*state.Sandbox
	client *api.Client
}

// supervisors are those of the sandboxes called names, which must run, or of all that do.
func (a *app) supervisors(ctx context.Context, names []string) ([]supervised, error) {
	var running []supervised
	for _, name := range names {
		c, sb, err := a.running(ctx, name)
		if err != nil {
			return nil, err
		}
		running = append(running, supervised{sb, c})
	}
	if len(names) > 0 {
		return running, nil
	}
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	entries, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Err != nil {
			continue
		}
		if c, err := api.Dial(ctx, e.Sandbox.Dir); err == nil {
			running = append(running, supervised{e.Sandbox, c})
		}
	}
	return running, nil
}

func newApprovalsAnswer(a *app, v policy.Verdict) *cobra.Command {
	answer := api.Answer{Verdict: v.String()}
	cmd := &cobra.Command{
		Use:     v.String() + " [flags] NAME/ID...",
		Example: fmt.Sprintf("  bailey approvals %s night/3\n  bailey approvals %s --for session night/3 night/4", v, v),
		Args:    takes(1, -1, "NAME/ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := answer.Check(); err != nil {
				return usageError(cmd, "%s", err)
			}
			return a.eachName(args, func(name string) error { return a.answer(cmd, name, answer) })
		},
	}
	cmd.Short = map[policy.Verdict]string{policy.Allow: "Let what waits pass", policy.Deny: "Refuse what waits"}[v]
	cmd.Long = fmt.Sprintf(`%s. Once is for all that waits for the question now; session also for what comes until the
sandbox stops; always is a rule of the sandbox, as bailey %s --sandbox NAME gives it and takes it
back. The rule is about every request to that host and port, not only the one that asked.`, cmd.Short, v)
	cmd.Flags().StringVar(&answer.Scope, "for", api.Once, "how long it counts: `once|session|always`")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{api.Once, api.Session, api.Always}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) answer(cmd *cobra.Command, name string, answer api.Answer) error {
	box, number, _ := strings.Cut(name, "/")
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return sandbox.WithHint(fmt.Errorf("%q is no question: write NAME/ID", vt.OneLine(name)), "bailey approvals")
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), patience)
	defer cancel()
	c, sb, err := a.running(ctx, box)
	if err != nil {
		return err
	}
	err = c.Answer(ctx, id, answer)
	switch {
	case errors.Is(err, api.ErrNoQuestion):
		return sandbox.WithHint(fmt.Errorf("cannot answer %s: %w", name, err), "bailey approvals")
	case errors.Is(err, context.DeadlineExceeded):
		return silent(sb)
	}
	return err
}
