// Package changes says how one directory tree differs from another, and of an overlay how the upper layer
// changes the tree below it. It reads what an agent wrote: it follows no link, waits for no FIFO, executes
// nothing, and what it cannot read it reports instead of leaving it out. What a change means, and whether it
// should be taken over, is decided elsewhere (packages review and apply).
package changes

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Kind is what an entry is. The zero value is nothing.
type Kind string

// The kinds. An entry that is none of the first three can be told and not be taken over.
const (
	File       Kind = "file"
	Dir        Kind = "directory"
	Link       Kind = "link"
	Special    Kind = "special"    // FIFO, socket, device
	Unreadable Kind = "unreadable" // see Why
)

// Entry is one side of a change.
type Entry struct {
	Kind   Kind   `json:"kind"`
	Mode   uint32 `json:"mode,omitempty"` // permission bits, with set-id and sticky; 0 of links
	Size   int64  `json:"size,omitempty"` // bytes, of files
	Digest string `json:"sha256,omitempty"`
	Target string `json:"target,omitempty"` // text of a link
	Why    string `json:"why,omitempty"`

	Changed time.Time `json:"-"` // ctime
	Born    time.Time `json:"-"` // zero where the file system does not know
}

// Is says whether anything is there.
func (e Entry) Is() bool { return e.Kind != "" }

// Same says whether two entries are alike in everything that a change could be about.
func (e Entry) Same(o Entry) bool {
	return e.Kind == o.Kind && e.Mode == o.Mode && e.Size == o.Size && e.Digest == o.Digest && e.Target == o.Target && e.Kind != Unreadable
}

// Change is one path that differs. One of Old and New may be nothing.
type Change struct {
	Path string `json:"path"`           // relative to the tree, clean, with slashes; any bytes but NUL
	From string `json:"from,omitempty"` // the path that Old has, if it is another: the file was renamed
	Old  Entry  `json:"old,omitzero"`
	New  Entry  `json:"new,omitzero"`
}

// List is how two trees differ.
type List struct {
	Changes []Change // by path, a directory before what is in it
	// Repositories are the git directories (or files that lead to one) that differ. What is in them is no
	// change: nobody can tell from outside whether it may be taken over.
	Repositories []string
}

// maxEntries bounds a comparison.
const maxEntries = 2_000_000

// Overlay compares the directory lower with what it is under an overlay whose upper layer is the directory
// upper. It takes time in proportion to what upper has. An overlay may be mounted meanwhile, and both
// may change: each entry is what it was when it was read.
func Overlay(ctx context.Context, lower, upper string) (List, error) {
	return compare(ctx, lower, upper, true)
}

// Trees compares two whole directories.
func Trees(ctx context.Context, before, after string) (List, error) {
	return compare(ctx, before, after, false)
}

func compare(ctx context.Context, before, after string, overlay bool) (List, error) {
	old, err := openSide(before, false)
	if err != nil {
		return List{}, err
	}
	defer old.tree.Close()
	new, err := openSide(after, overlay)
	if err != nil {
		return List{}, err
	}
	defer new.tree.Close()
	c := &comparison{ctx: ctx, old: old, new: new}
	if err := c.inside(".", true, true, overlay); err != nil {
		return List{}, err
	}
	return c.list, nil
}

// comparison is one under way.
type comparison struct {
	ctx      context.Context
	old, new *side
	list     List
	seen     int
}

// inside compares what is in the directory rel, which is there on the sides that are set. In a merged
// directory of an overlay only what the upper layer has can differ.
func (c *comparison) inside(rel string, old, new, merged bool) error {
	var names []string
	var err error
	if new {
		if names, err = c.new.list(rel); err != nil {
			return err
		}
	}
	if old && !merged {
		more, err := c.old.list(rel)
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := c.entry(path.Join(rel, name), old, new, merged); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) entry(rel string, old, new, merged bool) error {
	if c.seen++; c.seen > maxEntries {
		return fmt.Errorf("more than %d entries differ", maxEntries)
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	ch := Change{Path: rel}
	var opaque bool
	if new {
		ch.New, opaque = c.new.entry(c.ctx, rel)
	}
	if old {
		ch.Old, _ = c.old.entry(c.ctx, rel)
	}
	if strings.EqualFold(path.Base(rel), ".git") {
		// Also where file systems do not tell cases apart, and also removed.
		if !ch.Old.Same(ch.New) || ch.New.Kind == Dir {
			c.list.Repositories = append(c.list.Repositories, rel)
		}
		return nil
	}
	if !ch.Old.Same(ch.New) && (ch.Old.Is() || ch.New.Is()) {
		c.list.Changes = append(c.list.Changes, ch)
	}
	oldDir, newDir := ch.Old.Kind == Dir, ch.New.Kind == Dir
	if !oldDir && !newDir {
		return nil
	}
	return c.inside(rel, oldDir, newDir, merged && oldDir && newDir && !opaque)
}

// JoinRenames makes one change of each file that is new and one of the same content that is gone.
func (l *List) JoinRenames() {
	gone := map[string][]int{}
	for i, c := range l.Changes {
		if c.Old.Kind == File && !c.New.Is() && c.Old.Size > 0 {
			gone[c.Old.Digest] = append(gone[c.Old.Digest], i)
		}
	}
	pairs := map[int]int{}
	for i, c := range l.Changes {
		if c.New.Kind != File || c.Old.Is() || len(gone[c.New.Digest]) == 0 {
			continue
		}
		// The one whose name is most like it, as when whole directories move.
		from := slices.MaxFunc(gone[c.New.Digest], func(a, b int) int {
			return cmp.Compare(alike(l.Changes[a].Path, c.Path), alike(l.Changes[b].Path, c.Path))
		})
		gone[c.New.Digest] = slices.DeleteFunc(gone[c.New.Digest], func(n int) bool { return n == from })
		pairs[from] = i
	}
	l.Join(pairs)
}

// Join makes renames of pairs: the change at the number of each key, of a file that is gone, goes into the one at its
// value, of a file that is new.
func (l *List) Join(pairs map[int]int) {
	for from, to := range pairs {
		l.Changes[to].From, l.Changes[to].Old = l.Changes[from].Path, l.Changes[from].Old
	}
	kept := l.Changes[:0]
	for i, c := range l.Changes {
		if _, joined := pairs[i]; !joined {
			kept = append(kept, c)
		}
	}
	l.Changes = kept
}

// alike counts the bytes that two paths have in common at their ends.
func alike(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
