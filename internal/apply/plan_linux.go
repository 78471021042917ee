package apply

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/changes"
)

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
