// Package review says what an agent has changed in a project that it works on through an overlay, keeps what a
// human has seen of it, and takes over what the human approves: exactly the bytes that were shown. What the user has
// changed in the project meanwhile is never overwritten: edits that do not touch are joined, others are conflicts.
//
// Everything in the layer is the agent's word and is only read. Nothing here prints or asks.
package review

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/patch"
	"github.com/bailey-sandbox/bailey/internal/risk"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// Place is one project under review.
type Place struct {
	Path    string    // the workspace, as the user knows it
	Project string    // the directory that changes are made to, absolute and without links: Path, or a clone of it
	Branch  string    // of a clone, where in the user's repository what is approved goes
	Base    string    // of a clone, the commit that it is of
	Layer   string    // the directory of the overlay's layer: "upper" in it is what the agent wrote
	Dir     string    // what this package keeps, on the host only; made when missing
	Since   time.Time // before which the layer did not exist
}

// maxContent bounds what is looked through, shown and joined of one file, in bytes. Larger ones are applied as a
// whole.
const maxContent = 8 << 20

// Review is what there is to decide at one moment.
type Review struct {
	Place
	Items        []Item   // the riskiest first, then by path
	Repositories []string // git directories that the agent made or changed, which stay in the sandbox

	// dirs come or go with the items below them, and are none themselves.
	dirs map[string]changes.Change
}

// Item is one change. Its Old is what the project has now, and its New what it would have.
type Item struct {
	changes.Change
	Risks    []risk.Risk `json:"risks,omitempty"`
	Conflict string      `json:"conflict,omitempty"` // why it cannot be taken over as it is
	Joined   bool        `json:"joined,omitempty"`   // New has the user's edits of this file too

	agent    changes.Entry // what the layer has
	merged   []byte        // the content of New, if Joined
	recorded bool          // what project and layer have in common is written down
}

// Read compares project and layer. Both may change meanwhile: what was read is what the Items say.
func Read(ctx context.Context, p Place, assess risk.Assessor) (*Review, error) {
	r := &Review{Place: p, dirs: map[string]changes.Change{}}
	list, err := changes.Overlay(ctx, p.Project, p.upper())
	if errors.Is(err, fs.ErrNotExist) { // it has not been started yet
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.Repositories = list.Repositories
	known, err := p.readBases()
	if err != nil {
		return nil, err
	}
	var kept changes.List
	joined := map[string]Item{}
	for _, c := range list.Changes {
		item, changed := r.judge(c, known)
		if changed {
			kept.Changes = append(kept.Changes, item.Change)
			joined[c.Path] = item
		}
	}
	r.takeDirs(&kept)
	kept.JoinRenames()
	r.joinEdited(&kept, joined)
	for _, c := range kept.Changes {
		item := joined[c.Path]
		item.Change = c
		before, after := r.Contents(item)
		c.New.Mode = item.agent.Mode // with the bits that are not taken over
		item.Risks = assess.Assess(risk.Change{Change: c, Before: before, After: after})
		r.Items = append(r.Items, item)
	}
	slices.SortStableFunc(r.Items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(min(len(b.Risks), 1), min(len(a.Risks), 1)), strings.Compare(a.Path, b.Path))
	})
	return r, nil
}

// takeDirs moves the directories of list that come or go with something in them to r.dirs.
func (r *Review) takeDirs(list *changes.List) {
	full := map[string]bool{}
	for _, c := range list.Changes {
		for dir := path.Dir(c.Path); dir != "." && !full[dir]; dir = path.Dir(dir) {
			full[dir] = true
		}
	}
	list.Changes = slices.DeleteFunc(list.Changes, func(c changes.Change) bool {
		comes, goes := c.New.Kind == changes.Dir && !c.Old.Is(), c.Old.Kind == changes.Dir && !c.New.Is()
		with := full[c.Path] && (comes || goes)
		if with {
			r.dirs[c.Path] = c
		}
		return with
	})
}

func (p Place) upper() string { return filepath.Join(p.Layer, "upper") }

// Pending counts the changes of a sandbox that wait to be decided, as far as they can be read: the error says where
// they cannot.
func Pending(ctx context.Context, sb *state.Sandbox) (count int, err error) {
	for _, p := range Places(sb) {
		n, one := p.pending(ctx)
		count, err = count+n, errors.Join(err, one)
	}
	return count, err
}

func (p Place) pending(ctx context.Context) (int, error) {
	list, err := changes.Overlay(ctx, p.Project, p.upper())
	if errors.Is(err, fs.ErrNotExist) { // it has not been started yet
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	known, err := p.readBases()
	if err != nil {
		return 0, err
	}
	r, count := &Review{Place: p}, 0
	for _, c := range list.Changes {
		if _, changed := r.judge(c, known); changed {
			count++
		}
	}
	return count, nil
}

// judge says what a difference between project and layer means, now that either may have changed since the two
// parted. changed is false for what is the user's doing alone.
func (r *Review) judge(c changes.Change, known bases) (item Item, changed bool) {
	item = Item{Change: c, agent: c.New}
	item.New.Mode = taken(c)
	if item.New.Same(c.Old) {
		return item, false
	}
	if c.Old.Kind == changes.Dir || c.New.Kind == changes.Dir && !c.Old.Is() {
		return item, true // a directory has nothing but its mode
	}
	base, ok := r.base(c, known)
	if !ok {
		item.Conflict = "has been changed in the project since the agent began; what it began with is not known"
		return item, true
	}
	_, item.recorded = known[c.Path]
	switch {
	case item.recorded && c.New.Same(base.Entry):
		return item, false
	case c.Old.Same(base.Entry):
		return item, true
	}
	item.Conflict = "has been changed in the project and in the sandbox"
	if base.Content == nil || c.Old.Kind != changes.File || c.New.Kind != changes.File || base.Kind != changes.File {
		return item, true
	}
	ours, theirs := read(r.Project, c.Path, c.Old), read(r.upper(), c.Path, c.New)
	if ours == nil || theirs == nil || !patch.IsText(base.Content) || !patch.IsText(ours) || !patch.IsText(theirs) {
		return item, true
	}
	merged, clean := patch.Merge(string(base.Content), string(ours), string(theirs))
	if !clean {
		return item, true
	}
	item.Conflict, item.Joined, item.merged = "", true, []byte(merged)
	item.New = changes.Entry{Kind: changes.File, Mode: item.New.Mode, Size: int64(len(merged)), Digest: digest(item.merged)}
	if c.New.Mode == base.Mode {
		item.New.Mode = c.Old.Mode
	}
	return item, !item.New.Same(c.Old)
}

// base is what project and layer had in common; ok is false where that is not known any more.
func (r *Review) base(c changes.Change, known bases) (base record, ok bool) {
	base, ok = known[c.Path]
	switch {
	case ok:
		return base, base.Kind != changes.Unreadable
	case r.Branch != "", // nobody but an apply changes a clone, and that records bases
		!c.Old.Is(), c.Old.Changed.Before(r.Since), !c.New.Born.IsZero() && c.Old.Changed.Before(c.New.Born):
		return record{Entry: c.Old}, true // the project has still what the agent began with
	}
	return record{}, false
}

// taken is the mode that is taken over: none of the bits that give a file's user or group to who runs it, and of a
// directory those that it has.
func taken(c changes.Change) uint32 {
	if c.New.Kind == changes.Dir && c.Old.Kind == changes.Dir {
		return c.New.Mode&0o777 | c.Old.Mode&0o7000
	}
	return c.New.Mode & 0o777
}

// Contents are what the item's file was and will be, the text of a link; nil for what has none, is larger than
// this package reads, or is not any more what the item says.
func (r *Review) Contents(i Item) (before, after []byte) {
	before = read(r.Project, cmp.Or(i.From, i.Path), i.Old)
	if i.Joined {
		return before, i.merged
	}
	return before, read(r.upper(), i.Path, i.New)
}

// read returns the content of an entry if it is still that.
func read(dir, rel string, e changes.Entry) []byte {
	switch {
	case e.Kind == changes.Link:
		return []byte(e.Target)
	case e.Kind != changes.File || e.Size > maxContent:
		return nil
	}
	tree, err := beneath.OpenOne(dir)
	if err != nil {
		return nil
	}
	defer tree.Close()
	data, err := tree.ReadFile(rel, maxContent)
	if err != nil || digest(data) != e.Digest {
		return nil
	}
	return data
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// key names an item by everything that a human approves with it.
func (i Item) key() string {
	data, err := json.Marshal([]any{[]byte(i.Path), []byte(i.From), i.Old, i.New, i.Conflict, i.Risks})
	if err != nil {
		return "" // matches nothing
	}
	return digest(data)
}

// Select returns the items at the paths or below them, all of them when there are none. The error names a path
// that nothing has changed at.
func (r *Review) Select(paths []string) ([]Item, error) {
	if len(paths) == 0 {
		return r.Items, nil
	}
	used := map[string]bool{}
	var chosen []Item
	for _, i := range r.Items {
		hit := false
		for _, p := range paths {
			if i.in(p) {
				hit, used[p] = true, true
			}
		}
		if hit {
			chosen = append(chosen, i)
		}
	}
	for _, p := range paths {
		if !used[p] {
			return nil, fmt.Errorf("nothing has changed at %q: %w", p, fs.ErrNotExist)
		}
	}
	return chosen, nil
}

// in says whether the item is at the path dir or below it, or was before it was renamed.
func (i Item) in(dir string) bool { return within(i.Path, dir) || i.From != "" && within(i.From, dir) }

func within(p, dir string) bool {
	dir = path.Clean(dir)
	return dir == "." || p == dir || strings.HasPrefix(p, dir+"/")
}
