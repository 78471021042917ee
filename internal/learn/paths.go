package learn

import (
	"maps"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// few is up to how many paths, or hosts under a wildcard, are written down one by one.
	few = 5
	// maxPaths bounds how many different paths of one kind are held.
	maxPaths = 1000
	// longestGlob keeps a glob well below what a rule may have.
	longestGlob = 1000
)

// glob is the segments of one.
type glob []string

func (g glob) String() string { return "/" + strings.Join(g, "/") }

// pathSet is globs for the paths that were asked for in one way. The zero set is empty.
type pathSet struct {
	globs map[string]glob // by their texts
	any   bool            // there was a path that no glob matches
	count uint64          // how often something was asked for
}

// add takes a path as it is recorded.
func (s *pathSet) add(path string) {
	g, ok := globOf(path)
	if !ok {
		s.any, s.globs = true, nil
		return
	}
	s.put(g)
}

func (s *pathSet) put(g glob) {
	if s.any {
		return
	}
	if s.globs == nil {
		s.globs = map[string]glob{}
	}
	s.globs[g.String()] = g
	if len(s.globs) > maxPaths {
		all := s.list()
		s.globs = nil
		for _, g := range shorten(all) {
			s.put(g)
		}
	}
}

// merge adds what is in other.
func (s *pathSet) merge(other *pathSet) {
	s.count += other.count
	if other.any {
		s.any, s.globs = true, nil
	}
	for _, g := range other.globs {
		s.put(g)
	}
}

func (s *pathSet) list() []glob {
	var all []glob
	for _, text := range slices.Sorted(maps.Keys(s.globs)) {
		all = append(all, s.globs[text])
	}
	return all
}

// texts are the globs for a rule, none when it must be for every path.
func (s *pathSet) texts() []string {
	var texts []string
	for _, g := range shorten(s.list()) {
		texts = append(texts, g.String())
	}
	slices.Sort(texts)
	return texts
}

// globOf is the narrowest glob for a recorded path. Of one that was cut off it is what the last segment lies below.
func globOf(path string) (glob, bool) {
	whole, was := strings.CutSuffix(path, audit.Cut)
	if was {
		whole = whole[:strings.LastIndexByte(whole, '/')+1]
	}
	segments, ok := policy.Glob(whole)
	if !ok {
		return nil, false
	}
	for i, segment := range segments {
		if segment == audit.Redacted {
			segments[i] = "*"
		}
	}
	if was {
		segments[len(segments)-1] = "**"
	}
	for len(segments) > 1 && len(glob(segments).String()) > longestGlob {
		segments = append(segments[:len(segments)-2], "**")
	}
	return segments, true
}

// shorten returns globs that match at least what all match: all of them while they are few; else with stars for ids;
// else what they begin with, the branches of the first fork apart while those are few.
func shorten(all []glob) []glob {
	if len(all) <= few {
		return all
	}
	if all = starred(all); len(all) <= few {
		return all
	}
	fork := common(all)
	branches := map[string][]glob{}
	for _, g := range all {
		name := "" // of the one that ends there
		if len(g) > fork {
			name = "/" + g[fork]
		}
		branches[name] = append(branches[name], g)
	}
	if len(branches) > few {
		return below(all)
	}
	var out []glob
	for _, name := range slices.Sorted(maps.Keys(branches)) {
		out = append(out, below(branches[name])...)
	}
	return out
}

// below is one glob for everything below what all begin with, and another where one of them is no more than that.
func below(all []glob) []glob {
	if len(all) == 1 {
		return all
	}
	n := common(all)
	out := []glob{append(slices.Clone(all[0][:n]), "**")}
	for _, g := range all {
		if len(g) == n {
			out = append(out, g)
		}
	}
	return out
}

// common is how many segments all have in common at their beginning.
func common(all []glob) int {
	n := len(all[0])
	for _, g := range all[1:] {
		n = min(n, len(g))
		for i := range n {
			if g[i] != all[0][i] {
				n = i
				break
			}
		}
	}
	return n
}

// starred has a star for each segment that is an id, and each glob once.
func starred(all []glob) []glob {
	seen := map[string]bool{}
	var out []glob
	for _, g := range all {
		g = slices.Clone(g)
		for i, segment := range g {
			if isID(segment) {
				g[i] = "*"
			}
		}
		if !seen[g.String()] {
			seen[g.String()] = true
			out = append(out, g)
		}
	}
	return out
}

// isID says whether a segment is a number, or hexadecimal digits as hashes and UUIDs have them.
func isID(segment string) bool {
	const shortestHash = 7
	digits := strings.Trim(segment, "0123456789") == ""
	hex := strings.Trim(segment, "0123456789abcdefABCDEF-") == ""
	return segment != "" && (digits || hex && len(segment) >= shortestHash && strings.ContainsAny(segment, "0123456789"))
}
