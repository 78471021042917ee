package review

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/patch"
)

const (
	// maxRenamed bounds how many files that are new, and that are gone, are compared with each other.
	maxRenamed = 100
	// maxRenamedSize is the largest of them, in bytes.
	maxRenamedSize = 256 << 10
	// alikeEnough is how much of the larger of two files has to be common, in hundredths, as git has it.
	alikeEnough = 50
)

// joinEdited makes one change of a file that is gone and one that is new and much like it. It is for the reader's sake
// only: where there are very many, they stay apart.
func (r *Review) joinEdited(list *changes.List, items map[string]Item) {
	var gone, come []int
	for n, c := range list.Changes {
		switch {
		case items[c.Path].Conflict != "" || c.From != "":
		case c.Old.Kind == changes.File && !c.New.Is() && c.Old.Size <= maxRenamedSize:
			gone = append(gone, n)
		case c.New.Kind == changes.File && !c.Old.Is() && c.New.Size <= maxRenamedSize:
			come = append(come, n)
		}
	}
	if len(gone) == 0 || len(come) == 0 || len(gone) > maxRenamed || len(come) > maxRenamed {
		return
	}
	var before, after []map[string]int
	for _, n := range gone {
		old, _ := r.Contents(items[list.Changes[n].Path])
		before = append(before, lines(old))
	}
	for _, n := range come {
		_, now := r.Contents(items[list.Changes[n].Path])
		after = append(after, lines(now))
	}
	type pair struct{ from, to, common int }
	var pairs []pair
	for g, old := range before {
		for c, now := range after {
			if common := common(old, now); common >= alikeEnough {
				pairs = append(pairs, pair{gone[g], come[c], common})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.common, a.common) })
	joined, taken := map[int]int{}, map[int]bool{}
	for _, p := range pairs {
		if _, gone := joined[p.from]; !gone && !taken[p.to] {
			joined[p.from], taken[p.to] = p.to, true
		}
	}
	list.Join(joined)
}

// lines counts the bytes of each of a text's lines, nil for what is none.
func lines(text []byte) map[string]int {
	if !patch.IsText(text) {
		return nil
	}
	all := map[string]int{}
	for line := range bytes.Lines(text) {
		all[string(line)] += len(line)
	}
	return all
}

// common is how much of the larger of two texts is in both, in hundredths.
func common(a, b map[string]int) int {
	var both, ofA, ofB int
	for line, n := range a {
		ofA += n
		both += min(n, b[line])
	}
	for _, n := range b {
		ofB += n
	}
	if larger := max(ofA, ofB); larger > 0 {
		return 100 * both / larger
	}
	return 0
}
