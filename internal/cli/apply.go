package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/apply"
	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/snapshot"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

type applyOptions struct {
	risky, theirs, commit, json, interactive bool
	message, patch                           string
}

func newApply(a *app) *cobra.Command {
	o := &applyOptions{}
	cmd := &cobra.Command{
		Use:   "apply [flags] [NAME] [PATH...]",
		Short: "Take over what an agent has changed in a project under review",
		Long: `Take over into the project what bailey diff has shown, exactly as it was shown: all of it or, when anything
is different by now, nothing. Without PATHs, that is every change but the risky ones, which are applied only
when they are named or with --risky. Changes that you have made yourself meanwhile are never overwritten: what
does not touch is joined, and what does is a conflict, which only --theirs decides for the agent.

Of a clone, it is committed to the clone's branch in your repository, and your working tree stays as it is.

An apply that is killed is finished by the next command. With --commit, what was applied is committed with
your name; nothing of git's hooks and filters runs. With --patch, nothing is applied, but written as a patch.

With --interactive you look and choose at once, by keys as git add -p has them.

The exit code is 1 when something was left out.`,
		Example: `  bailey diff && bailey apply
  bailey apply -i
  bailey apply claude-shop src README.md
  bailey apply --commit -m "parse dates with zones"
  bailey apply --patch changes.patch`,
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.commit && o.message == "" {
				return usageError(cmd, "--commit needs a message: --commit -m MESSAGE")
			}
			o.commit = o.message != ""
			if o.patch != "" && (o.commit || o.json || o.interactive) {
				return usageError(cmd, "--patch applies nothing: no --commit, --interactive or --json goes with it")
			}
			return a.apply(cmd.Context(), args, o)
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.interactive, "interactive", "i", false, "choose on the terminal, file by file and hunk by hunk")
	fs.BoolVar(&o.risky, "risky", false, "apply risky changes too")
	fs.BoolVar(&o.theirs, "theirs", false, "where you have changed the same, take what the agent has")
	fs.BoolVar(&o.commit, "commit", false, "commit what is applied")
	fs.StringVarP(&o.message, "message", "m", "", "the commit's `MESSAGE`; commits by itself")
	fs.StringVar(&o.patch, "patch", "", "write a patch to `FILE` instead; - is standard output")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// applied is what apply --json tells of one project.
type applied struct {
	Project string        `json:"project"`
	Applied []review.Item `json:"applied"`
	Left    []review.Item `json:"left"`
	Commit  string        `json:"commit,omitempty"`
	Branch  string        `json:"branch,omitempty"` // of a clone
}

func (a *app) apply(ctx context.Context, args []string, o *applyOptions) error {
	all, err := a.readReviews(ctx, args)
	if err != nil {
		return err
	}
	if o.patch != "" {
		return a.writePatch(all, o.patch)
	}
	results, left := []applied{}, false
	for _, r := range all {
		done, err := a.applyOne(ctx, r, o)
		if err != nil {
			return err
		}
		results, left = append(results, done), left || len(done.Left) > 0
	}
	if o.json {
		if err := a.json(results); err != nil {
			return err
		}
	} else {
		for _, done := range results {
			a.sayApplied(done)
		}
	}
	if left {
		return &exitError{code: 1}
	}
	return nil
}

// applyOne applies what may be of one project.
func (a *app) applyOne(ctx context.Context, r reviewed, o *applyOptions) (applied, error) {
	done := applied{Project: r.Path, Branch: r.Branch, Applied: []review.Item{}, Left: []review.Item{}}
	choices, err := a.choose(ctx, r, o)
	if err != nil {
		return done, err
	}
	taken := map[string]bool{}
	for _, c := range choices {
		taken[c.Item.Path] = c.Hunks == nil
		done.Applied = append(done.Applied, c.Item)
	}
	for _, i := range r.chosen {
		if !taken[i.Path] {
			done.Left = append(done.Left, i)
		}
	}
	if len(choices) == 0 {
		return done, nil
	}
	lock, err := r.Lock()
	if err != nil {
		return done, err
	}
	defer lock.Close()
	if err := a.still(ctx, r.sb, func(b sandbox.Backend) error { return snapshot.Auto(ctx, b, r.sb, "an apply") }); err != nil {
		return done, err
	}
	if !o.commit && r.Branch == "" {
		return done, a.take(ctx, r, choices)
	}
	if err := a.mayLand(ctx, r.Place); err != nil {
		return done, err
	}
	if err := r.Owe(cmp.Or(o.message, "changes by "+r.sb.Agent+" in "+r.sb.Name), choices); err != nil {
		return done, err
	}
	if err := a.take(ctx, r, choices); err != nil {
		if !errors.Is(err, apply.ErrInterrupted) {
			err = errors.Join(err, r.Paid())
		}
		return done, err
	}
	done.Commit, err = a.land(ctx, r.Place)
	return done, err
}

// choose says what of a project is applied: what the user picks now, or what may be of what they have seen.
func (a *app) choose(ctx context.Context, r reviewed, o *applyOptions) (choices []review.Choice, err error) {
	if o.interactive {
		return a.pick(ctx, r)
	}
	var items []review.Item
	for _, i := range r.chosen {
		if may(i, r.paths, o) {
			items = append(items, i)
			choices = append(choices, review.Choice{Item: i})
		}
	}
	unseen, never, err := r.Unseen(items)
	if err == nil && len(unseen) > 0 {
		err = sandbox.WithHint(notShown(unseen, never), "look at it first: bailey diff "+r.sb.Name)
	}
	return choices, err
}

// may says whether an item is applied: what cannot be never, a conflict only when that is decided, and what is risky
// only when it was asked for.
func may(i review.Item, named bool, o *applyOptions) bool {
	switch {
	case i.New.Kind == changes.Special || i.New.Kind == changes.Unreadable || i.Old.Kind == changes.Special || i.Old.Kind == changes.Unreadable:
		return false
	case i.Conflict != "":
		return o.theirs
	}
	return len(i.Risks) == 0 || named || o.risky
}

func notShown(unseen []review.Item, never bool) error {
	var names []string
	for _, i := range unseen[:min(3, len(unseen))] {
		names = append(names, fmt.Sprintf("%q", i.Path))
	}
	text := strings.Join(names, ", ")
	if n := len(unseen) - len(names); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	if never {
		return fmt.Errorf("nothing was applied: you have not seen %s", text)
	}
	return fmt.Errorf("nothing was applied: %s has changed since you saw it, or you have not seen it", text)
}

// take applies choices, none of which is anything but what was shown. The caller has the review's lock.
func (a *app) take(ctx context.Context, r reviewed, choices []review.Choice) error {
	owner, err := ownerOf(r.Project)
	if err != nil {
		return err
	}
	err = r.Apply(ctx, owner, choices)
	var conflict *apply.ConflictError
	switch {
	case errors.As(err, &conflict) && !errors.Is(err, apply.ErrInterrupted):
		return sandbox.WithHint(fmt.Errorf("nothing was applied: %w", err), "look again: bailey diff "+r.sb.Name)
	case errors.Is(err, apply.ErrInterrupted):
		return sandbox.WithHint(err, "bailey diff "+r.sb.Name+" finishes it")
	case err != nil:
		return fmt.Errorf("nothing was applied: %w", err)
	}
	return nil
}

// ownerOf is whom new files in a directory belong to.
func ownerOf(dir string) (review.Owner, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return review.Owner{}, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return review.Owner{UID: int(st.Uid), GID: int(st.Gid)}, nil
	}
	return review.Owner{}, nil
}

func (a *app) sayApplied(done applied) {
	switch {
	case len(done.Applied)+len(done.Left) == 0:
		a.note("nothing has changed")
	case done.Branch != "" && done.Commit != "":
		fmt.Fprintf(a.Out, "committed %d changes to the branch %s of %s, commit %s\n", len(done.Applied), done.Branch, done.Project, done.Commit)
	case done.Commit != "":
		fmt.Fprintf(a.Out, "applied %d changes to %s, commit %s\n", len(done.Applied), done.Project, done.Commit)
	default:
		fmt.Fprintf(a.Out, "applied %d changes to %s\n", len(done.Applied), done.Project)
	}
	for _, i := range done.Left {
		fmt.Fprintf(a.Err, "left out: %s  %s\n", vt.OneLine(shownPath(i)), vt.OneLine(reasons(i)))
	}
}

// writePatch exports what is chosen, wherever it could be applied.
func (a *app) writePatch(all []reviewed, file string) error {
	out := io.Writer(a.Out)
	if file != "-" {
		f, err := os.Create(file)
		if err != nil {
			return fmt.Errorf("cannot write the patch: %w", err)
		}
		defer f.Close()
		out = f
	}
	for _, r := range all {
		a.sayReview(r)
		text, skipped := r.Patch(r.chosen)
		if _, err := out.Write(text); err != nil {
			return fmt.Errorf("cannot write the patch: %w", err)
		}
		for _, i := range skipped {
			a.note("%s is not in the patch: %s", shownPath(i), unsaid(i))
		}
	}
	return nil
}
