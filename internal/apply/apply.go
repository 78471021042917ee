// Package apply takes approved changes over into a directory of the user's: all of them or none. Contents are
// first laid down beside it and synchronised, then a journal is written, and only then are they exchanged with
// what is there, each in one step of the kernel's that can be taken back. Whatever happens, a later Recover
// finishes or undoes. It follows no link, writes nowhere else, and overwrites nothing that is not exactly what
// the change was made against. Which changes those are is decided elsewhere (package review).
package apply

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/changes"
)

// Op is one path that is to change.
type Op struct {
	Path string
	Old  changes.Entry // what must be there now
	New  changes.Entry // what is there afterwards
	// Open returns the content of New, of files. It is read once, and refused if it is not what New.Digest says.
	Open func() (io.ReadCloser, error)
}

// Target is the directory that changes.
type Target struct {
	Dir      string // absolute, without links
	UID, GID int    // of what is made in it, when root applies
}

// ConflictError says which path is not as it was when the changes were shown. Nothing was applied.
type ConflictError struct {
	Path string
	Why  string
}

func (e *ConflictError) Error() string { return fmt.Sprintf("%q %s", e.Path, e.Why) }

// ErrInterrupted says that an apply has stopped halfway: Recover finishes it.
var ErrInterrupted = errors.New("an apply was interrupted")

// verb is what a step does. Each is undone by its opposite.
type verb string

const (
	take  verb = "take"  // the path moves into its slot
	rmdir verb = "rmdir" // the empty directory goes
	mkdir verb = "mkdir" // a directory appears
	put   verb = "put"   // the slot moves to the path, where nothing is
	swap  verb = "swap"  // slot and path change places
	chmod verb = "chmod" // the directory gets another mode
)

// step is a line of the journal.
type step struct {
	Verb verb          `json:"verb"`
	Path []byte        `json:"path"` // names on disk need not be text
	Slot string        `json:"slot,omitempty"`
	Old  changes.Entry `json:"old,omitzero"`
	New  changes.Entry `json:"new,omitzero"`
}

// plan orders ops: first what goes, the innermost first, then what comes, the outermost first.
func plan(ops []Op) ([]step, error) {
	var takes, rmdirs, mkdirs, puts, chmods []step
	for i, op := range ops {
		if err := check(op); err != nil {
			return nil, err
		}
		s := step{Path: []byte(op.Path), Slot: fmt.Sprint(i), Old: op.Old, New: op.New}
		as := func(v verb) step { s.Verb = v; return s }
		oldDir, newDir := op.Old.Kind == changes.Dir, op.New.Kind == changes.Dir
		switch {
		case oldDir && newDir:
			chmods = append(chmods, as(chmod))
		case oldDir:
			rmdirs = append(rmdirs, as(rmdir))
		case op.Old.Is() && (newDir || !op.New.Is()):
			takes = append(takes, as(take))
		}
		switch {
		case newDir && !oldDir:
			mkdirs = append(mkdirs, as(mkdir))
		case newDir || !op.New.Is():
		case op.Old.Is() && !oldDir:
			puts = append(puts, as(swap))
		default:
			puts = append(puts, as(put))
		}
	}
	byPath := func(a, b step) int { return strings.Compare(string(a.Path), string(b.Path)) }
	slices.SortFunc(rmdirs, func(a, b step) int { return byPath(b, a) }) // what is in a directory sorts behind it
	slices.SortFunc(mkdirs, byPath)
	return slices.Concat(takes, rmdirs, mkdirs, puts, chmods), nil
}

// check refuses what no review may have let through.
func check(op Op) error {
	for element := range strings.SplitSeq(op.Path, "/") {
		if element == "" || element == "." || element == ".." || strings.EqualFold(element, ".git") || strings.ContainsRune(element, 0) {
			return fmt.Errorf("cannot apply %q: it is no path in a project's files", op.Path)
		}
	}
	for _, e := range []changes.Entry{op.Old, op.New} {
		switch e.Kind {
		case "", changes.File, changes.Dir, changes.Link:
		default:
			return fmt.Errorf("cannot apply %q: it is neither a file nor a directory nor a link", op.Path)
		}
	}
	return nil
}
