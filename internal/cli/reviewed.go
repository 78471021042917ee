package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/apply"
	"github.com/bailey-sandbox/bailey/internal/leaks"
	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/risk"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// reviewed is one project under review, and the changes in it that a command line means.
type reviewed struct {
	*review.Review
	sb     *state.Sandbox
	chosen []review.Item
	paths  bool // they were named
}

// reviewedSandbox is the sandbox that [NAME] [PATH...] means, and the PATHs: by its name, or as the one that reviews the
// directory that we are in.
func (a *app) reviewedSandbox(args []string) (*state.Sandbox, []string, error) {
	store, err := a.store()
	if err != nil {
		return nil, nil, err
	}
	if len(args) > 0 && sandbox.CheckName(args[0]) == nil {
		sb, err := store.Load(args[0])
		switch {
		case err == nil && len(review.Places(sb)) == 0:
			return nil, nil, sandbox.WithHint(fmt.Errorf("the sandbox %s has nothing to review: what it changes is in its workspace at once", sb.Name),
				"make one with --review: bailey run --review --name NAME "+cmp.Or(sb.Agent, "AGENT"))
		case err == nil:
			return sb, args[1:], nil
		case !errors.Is(err, state.ErrNotFound):
			return nil, nil, err
		}
	}
	here, err := os.Getwd()
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	if err != nil {
		return nil, nil, err
	}
	entries, err := store.List()
	if err != nil {
		return nil, nil, err
	}
	var found []*state.Sandbox
	for _, e := range entries {
		if e.Err == nil && slices.ContainsFunc(review.Places(e.Sandbox), func(p review.Place) bool { return below(here, p.Path) }) {
			found = append(found, e.Sandbox)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], args, nil
	case len(found) == 0 && len(args) > 0 && sandbox.CheckName(args[0]) == nil:
		return nil, nil, sandbox.WithHint(fmt.Errorf("no sandbox is called %s, and none reviews %s: %w", args[0], here, state.ErrNotFound), "bailey ls -a")
	case len(found) == 0:
		return nil, nil, sandbox.WithHint(fmt.Errorf("no sandbox reviews %s", here), "bailey run --review claude .")
	}
	var names []string
	for _, sb := range found {
		names = append(names, sb.Name)
	}
	return nil, nil, sandbox.WithHint(fmt.Errorf("several sandboxes review %s: %s", here, strings.Join(names, ", ")), "name one of them")
}

// below reports whether path is dir or lies in it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// readReviews reads the projects that [NAME] [PATH...] means, those that have a PATH when there are any.
func (a *app) readReviews(ctx context.Context, args []string) ([]reviewed, error) {
	sb, paths, err := a.reviewedSandbox(args)
	if err != nil {
		return nil, err
	}
	places := review.Places(sb)
	named, err := assign(paths, places)
	if err != nil {
		return nil, err
	}
	rules, err := leaks.Load()
	if err != nil {
		return nil, err
	}
	var all []reviewed
	for _, p := range places {
		if len(paths) > 0 && len(named[p.Path]) == 0 {
			continue
		}
		if err := a.finishApply(ctx, p); err != nil {
			return nil, err
		}
		r, err := review.Read(ctx, p, risk.Assessor{Leaks: rules})
		if err != nil {
			return nil, fmt.Errorf("cannot read what has changed in %s: %w", p.Path, err)
		}
		chosen, err := r.Select(named[p.Path])
		if err != nil {
			return nil, sandbox.WithHint(err, "bailey diff --stat "+sb.Name)
		}
		all = append(all, reviewed{r, sb, chosen, len(paths) > 0})
	}
	return all, nil
}

// assign gives each project the paths that lie in it, relative to it. A path is relative to where we are, or to
// the only project when we are not in one.
func assign(paths []string, places []review.Place) (map[string][]string, error) {
	here, err := os.Getwd()
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(places, func(p review.Place) bool { return below(here, p.Path) }) {
		here = places[0].Path
	}
	named := map[string][]string{}
	for _, path := range paths {
		full := path
		if !filepath.IsAbs(path) {
			full = filepath.Join(here, path)
		}
		i := slices.IndexFunc(places, func(p review.Place) bool { return below(filepath.Clean(full), p.Path) })
		if i < 0 {
			return nil, sandbox.WithHint(fmt.Errorf("%s is in no project under review", path), "paths are relative to where you are: cd "+places[0].Path)
		}
		rel, err := filepath.Rel(places[i].Path, full)
		if err != nil {
			return nil, err
		}
		named[places[i].Path] = append(named[places[i].Path], filepath.ToSlash(rel))
	}
	return named, nil
}

// finishApply deals with an apply that was killed.
func (a *app) finishApply(ctx context.Context, p review.Place) error {
	lock, err := p.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	did, err := p.Recover()
	var conflict *apply.ConflictError
	switch {
	case errors.As(err, &conflict):
		a.note("an apply that was interrupted has been taken back: %v", err)
		return p.Paid()
	case err != nil:
		return sandbox.WithHint(fmt.Errorf("an apply to %s was interrupted and cannot be finished: %w", p.Path, err), "once that is put right, the same command goes on")
	case did:
		a.note("an apply to %s that was interrupted has been finished", p.Path)
	}
	switch commit, err := a.land(ctx, p); {
	case err != nil:
		a.note("what was applied to %s is not committed: %v", p.Path, err)
		return p.Paid()
	case commit != "":
		a.note("what was applied to %s is committed now: %s", p.Path, commit)
	}
	return nil
}

// reasons joins what is to be said of an item.
func reasons(i review.Item) string {
	var all []string
	if i.Conflict != "" {
		all = append(all, "conflict: "+i.Conflict)
	}
	for _, r := range i.Risks {
		all = append(all, r.Why)
	}
	if i.Joined {
		all = append(all, "joined with your own edits")
	}
	return strings.Join(all, "; ")
}

// letter is an item in one letter, as git has it.
func letter(i review.Item) string {
	switch {
	case i.From != "":
		return "R"
	case !i.Old.Is():
		return "A"
	case !i.New.Is():
		return "D"
	case i.Old.Kind != i.New.Kind:
		return "T"
	}
	return "M"
}

// shownPath is an item's path for people.
func shownPath(i review.Item) string {
	if i.From != "" {
		return i.From + " → " + i.Path
	}
	return i.Path
}
