package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/usage"
	"github.com/bailey-sandbox/bailey/internal/usage/report"
)

type compareOptions struct {
	test  string
	apply string
	json  bool
}

func newCompare(a *app) *cobra.Command {
	o := &compareOptions{}
	cmd := &cobra.Command{
		Use:   "compare [flags] NAME NAME...",
		Short: "Show what several sandboxes have made of the same project",
		Long: `Show what several sandboxes have made of the same project, file by file and side by side: lines added and removed,
or the letter of one that has the same; and what each has cost. With --test, a command runs in the project inside
each of them, which is started for that if need be. --apply goes on with the changes of the one that you name, on
the terminal, as bailey apply -i does.`,
		Example:           "  bailey compare night-fork-1 night-fork-2\n  bailey compare --test 'go test ./...' one two three\n  bailey compare --apply two one two",
		Args:              takes(2, 26, "NAME"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.apply != "" && !slices.Contains(args, o.apply) {
				return usageError(cmd, "--apply names one of those that are compared, and %s is none", o.apply)
			}
			if err := a.compare(cmd.Context(), args, o); err != nil || o.apply == "" {
				return err
			}
			next := a.again(cmd.Context(), "apply", "-i", o.apply)
			next.Stdin, next.Stdout, next.Stderr = a.In, a.Out, a.Err
			var exit *exec.ExitError
			if err := next.Run(); errors.As(err, &exit) {
				return &exitError{code: exit.ExitCode()} // it has said why
			} else if err != nil {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.test, "test", "", "run `COMMAND` by sh -c inside each")
	cmd.Flags().StringVar(&o.apply, "apply", "", "then choose from the changes of `NAME`, and apply them")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// contender is one of the sandboxes that are compared.
type contender struct {
	Name    string      `json:"name"`
	Files   int         `json:"files"`
	Added   int         `json:"added"`
	Removed int         `json:"removed"`
	Risky   int         `json:"risky"`
	Cost    usage.Money `json:"cost"`
	Tokens  int64       `json:"tokens"`
	Test    *testResult `json:"test,omitempty"`

	items map[string]review.Item
	cells map[string]string
}

type testResult struct {
	Code    int     `json:"exit_code"`
	Seconds float64 `json:"seconds"`
	Last    string  `json:"last_line,omitempty"`
}

func (a *app) compare(ctx context.Context, names []string, o *compareOptions) error {
	var all []contender
	paths := map[string]bool{}
	used, err := a.usedBy(names)
	if err != nil {
		return err
	}
	for _, name := range names {
		reviews, err := a.readReviews(ctx, []string{name})
		if err != nil {
			return err
		}
		c := contender{Name: name, Cost: used[name].Cost, Tokens: used[name].Total(), items: map[string]review.Item{}, cells: map[string]string{}}
		for _, r := range reviews {
			for _, i := range r.Items {
				added, removed := countLines(r.Review, i)
				c.Files, c.Added, c.Removed = c.Files+1, c.Added+added, c.Removed+removed
				if len(i.Risks) > 0 || i.Conflict != "" {
					c.Risky++
				}
				path := i.Path
				if len(reviews) > 1 {
					path = r.Path + "/" + path
				}
				paths[path] = true
				c.items[path], c.cells[path] = i, fmt.Sprintf("+%d -%d", added, removed)
			}
		}
		if o.test != "" {
			if c.Test, err = a.tryIn(ctx, name, o.test); err != nil {
				return err
			}
		}
		all = append(all, c)
	}
	if o.json {
		return a.json(all)
	}
	return a.table(compareRows(all, slices.Sorted(maps.Keys(paths)), o.test != ""))
}

// compareRows has a row for each path and a column for each sandbox.
func compareRows(all []contender, paths []string, tested bool) (head []string, rows [][]string) {
	head = []string{""}
	for n, c := range all {
		head = append(head, fmt.Sprintf("%c: %s", 'A'+n, c.Name))
	}
	for _, path := range paths {
		row := []string{path}
		for n, c := range all {
			cell := c.cells[path]
			for before := range n {
				i, other := c.items[path], all[before].items[path]
				if cell != "" && all[before].cells[path] != "" && i.New.Same(other.New) && i.From == other.From {
					cell = fmt.Sprintf("as %c", 'A'+before)
					break
				}
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	total := func(name string, of func(c contender) string) {
		row := []string{name}
		for _, c := range all {
			row = append(row, of(c))
		}
		rows = append(rows, row)
	}
	total("files", func(c contender) string { return fmt.Sprint(c.Files) })
	total("lines", func(c contender) string { return fmt.Sprintf("+%d -%d", c.Added, c.Removed) })
	total("risky", func(c contender) string { return fmt.Sprint(c.Risky) })
	total("cost", func(c contender) string { return fmt.Sprintf("%s, %s tokens", c.Cost, report.Count(c.Tokens)) })
	if tested {
		total("test", func(c contender) string {
			if c.Test.Code == 0 {
				return fmt.Sprintf("passed, %.1f s", c.Test.Seconds)
			}
			return fmt.Sprintf("failed (%d), %.1f s", c.Test.Code, c.Test.Seconds)
		})
		total("last line", func(c contender) string { return c.Test.Last })
	}
	return head, rows
}

// usedBy is what each of the sandboxes has used.
func (a *app) usedBy(names []string) (map[string]usage.Call, error) {
	l, err := a.ledger()
	if err != nil {
		return nil, err
	}
	sums := map[string]usage.Call{}
	_, err = l.Calls(time.Time{}, time.Time{}, func(c usage.Call) bool {
		if slices.Contains(names, c.Sandbox) {
			sums[c.Sandbox] = usage.Call{Tokens: sums[c.Sandbox].Plus(c.Tokens), Cost: sums[c.Sandbox].Cost + c.Cost}
		}
		return true
	})
	return sums, err
}

// tryIn runs a command inside a sandbox, which is started if need be.
func (a *app) tryIn(ctx context.Context, name, command string) (*testResult, error) {
	sb, err := a.load(name)
	if err != nil {
		return nil, err
	}
	if err := a.start(ctx, sb); err != nil {
		return nil, err
	}
	cmd := a.again(ctx, "exec", name, "sh", "-c", "exec 2>&1; "+command)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &capped{&out, maxHistory}, a.Err
	begun := time.Now()
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return nil, fmt.Errorf("cannot test in %s: %w", name, err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return &testResult{Code: cmd.ProcessState.ExitCode(), Seconds: time.Since(begun).Seconds(), Last: lines[len(lines)-1]}, nil
}
