package review

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/bailey-sandbox/bailey/internal/apply"
	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/patch"
)

const (
	applyDir   = "apply"        // package apply's own
	doneFile   = "apply.bases"  // what will be recorded when it is done
	undoneFile = "apply.undone" // and when it is taken back, after which no time of a file says anything
)

// Choice is an item that is to be taken over.
type Choice struct {
	Item  Item
	Hunks []patch.Hunk // of its Contents, those to take; nil for the whole, with its mode
}

// Owner is whom new files belong to, when root applies.
type Owner struct{ UID, GID int }

// Apply takes over choices, which are Items of r: all or none. It fails with an *apply.ConflictError when something is
// not as r says. Nobody else applies or discards meanwhile (Lock), and what was interrupted before is finished
// (Recover).
func (r *Review) Apply(ctx context.Context, owner Owner, choices []Choice) error {
	known := bases{}
	ops, err := r.ops(choices, known)
	if err != nil || len(ops) == 0 {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.Dir, applyDir), 0o700); err != nil {
		return err
	}
	for file, bases := range map[string]bases{doneFile: known, undoneFile: r.undone(choices)} {
		data, err := encodeBases(bases)
		if err == nil {
			err = os.WriteFile(filepath.Join(r.Dir, file), data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	err = apply.Run(ctx, filepath.Join(r.Dir, applyDir), apply.Target{Dir: r.Project, UID: owner.UID, GID: owner.GID}, ops)
	if errors.Is(err, apply.ErrInterrupted) {
		return err
	}
	return errors.Join(err, r.settle(err == nil))
}

// Recover finishes an Apply that was interrupted, or takes it back: did says that there was one, and err then
// what became of it.
func (p Place) Recover() (did bool, err error) {
	did, err = apply.Recover(filepath.Join(p.Dir, applyDir))
	if errors.Is(err, apply.ErrInterrupted) {
		return did, err
	}
	if !did {
		return false, errors.Join(err, p.forget())
	}
	return did, errors.Join(err, p.settle(err == nil))
}

// settle records what project and layer have in common, now that an apply is done or taken back.
func (p Place) settle(applied bool) error {
	file := undoneFile
	if applied {
		file = doneFile
	}
	data, err := os.ReadFile(filepath.Join(p.Dir, file))
	if err == nil {
		err = p.addBases(data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot record what was applied: %w", err)
	}
	return p.forget()
}

// forget drops what would have been recorded.
func (p Place) forget() error {
	for _, file := range []string{doneFile, undoneFile} {
		if err := os.Remove(filepath.Join(p.Dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ops are the choices in package apply's terms, with the directories that they need. known gets what is to be
// recorded afterwards.
func (r *Review) ops(choices []Choice, known bases) (ops []apply.Op, err error) {
	made := map[string]bool{}
	for _, c := range choices {
		if c.Item.New.Kind == changes.Dir {
			made[c.Item.Path] = true
		}
	}
	project, err := beneath.OpenOne(r.Project)
	if err != nil {
		return nil, err
	}
	defer project.Close()
	for _, c := range choices {
		i := c.Item
		now, content, err := r.chosen(c)
		if err != nil {
			return nil, err
		}
		open := func() (io.ReadCloser, error) { return r.openAgents(i) }
		if content != nil {
			open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		}
		if i.From != "" {
			ops = append(ops, apply.Op{Path: i.From, Old: i.Old}, apply.Op{Path: i.Path, New: now, Open: open})
		} else {
			ops = append(ops, apply.Op{Path: i.Path, Old: i.Old, New: now, Open: open})
		}
		if now.Kind != changes.Dir && i.Old.Kind != changes.Dir {
			if content == nil {
				_, content = r.Contents(i)
			}
			r.keepBases(known, c, now, content)
		}
		for _, name := range []string{i.Path, i.From} {
			ops = append(ops, r.dirsOf(project, name, made)...)
		}
	}
	return ops, nil
}

// dirsOf are the directories above a path that come or go with it, and were not made before.
func (r *Review) dirsOf(project *beneath.Tree, name string, made map[string]bool) (ops []apply.Op) {
	if name == "" {
		return nil
	}
	for dir := path.Dir(name); dir != "." && !made[dir]; dir = path.Dir(dir) {
		made[dir] = true
		c, ok := r.dirs[dir]
		if _, err := project.Lstat(dir); !ok && errors.Is(err, fs.ErrNotExist) { // the user has removed it
			c, ok = changes.Change{New: changes.Entry{Kind: changes.Dir, Mode: 0o755}}, true
		}
		if ok {
			ops = append(ops, apply.Op{Path: dir, Old: c.Old, New: c.New})
		}
	}
	return ops
}

// chosen is what the file of a choice will be, and its content where that is not the agent's own.
func (r *Review) chosen(c Choice) (changes.Entry, []byte, error) {
	if c.Hunks == nil {
		return c.Item.New, c.Item.merged, nil
	}
	before, after := r.Contents(c.Item)
	if before == nil || after == nil || c.Item.Old.Kind != changes.File || c.Item.New.Kind != changes.File {
		return changes.Entry{}, nil, fmt.Errorf("%q has no hunks to choose from, or has changed since it was compared", c.Item.Path)
	}
	text, ok := patch.Pick(string(before), c.Hunks)
	if !ok {
		return changes.Entry{}, nil, fmt.Errorf("%q is not what its hunks were chosen of", c.Item.Path)
	}
	picked := []byte(text)
	return changes.Entry{Kind: changes.File, Mode: c.Item.Old.Mode, Size: int64(len(picked)), Digest: digest(picked)}, picked, nil
}

// openAgents opens the agent's file for reading.
func (r *Review) openAgents(i Item) (io.ReadCloser, error) {
	tree, err := beneath.OpenOne(r.upper())
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	f, err := tree.Open(i.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &apply.ConflictError{Path: i.Path, Why: "is gone from the sandbox since it was shown"}
	}
	return f, err
}

// Patch is the items as a patch that git and patch(1) apply, in the order of their paths. skipped are those that
// no patch can say: directories alone, what is too large, and what has changed since it was compared.
func (r *Review) Patch(items []Item) (text []byte, skipped []Item) {
	for _, i := range items {
		one, ok := r.PatchOf(i)
		if !ok {
			skipped = append(skipped, i)
		}
		text = append(text, one...)
	}
	return text, skipped
}

// PatchOf is the patch of one item; ok is false when there is none.
func (r *Review) PatchOf(i Item) (text []byte, ok bool) {
	before, after := r.Contents(i)
	old, okOld := side(cmp.Or(i.From, i.Path), i.Old, before)
	now, okNew := side(i.Path, i.New, after)
	if !okOld || !okNew || old == nil && now == nil {
		return nil, false
	}
	return patch.File(old, now), true
}

// side is an entry in git's terms, which know no directories.
func side(p string, e changes.Entry, content []byte) (*patch.Side, bool) {
	s := &patch.Side{Path: p, Content: content}
	switch e.Kind {
	case "":
		return nil, true
	case changes.File:
		s.Mode = 0o100644
		if e.Mode&0o100 != 0 {
			s.Mode = 0o100755
		}
		return s, content != nil
	case changes.Link:
		s.Mode = 0o120000
		return s, true
	case changes.Dir:
		return nil, true
	}
	return nil, false
}
