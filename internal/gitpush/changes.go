package gitpush

import (
	"bytes"
	"strings"
)

// Rewrites says whether c takes commits from its ref, or that cannot be ruled out: it is seen only where the way from
// the new commit back to the old one is in the pack. A ref that is new, or was deleted by the same push, loses none.
func (p *Push) Rewrites(c Command) bool {
	switch {
	case c.Creates():
		return false
	case c.Deletes() || p.pack == nil:
		return true
	}
	seen := map[string]bool{}
	for next := []string{c.New}; len(next) > 0; {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		if id == c.Old {
			return false
		}
		if commit, here := p.pack.commits[id]; here && !seen[id] {
			seen[id] = true
			next = append(next, parents(commit)...)
		}
	}
	return true
}

// Unclear says whether the pack builds on objects that only the server has, so that little can be told of it. A
// client that is told "no-thin" sends none such.
func (p *Push) Unclear() bool { return p.pack == nil || p.pack.opaque }

// Workflows says whether something that the forge runs by itself may change: a directory called workflows, which is
// new or changed where its tree or the one above it is in the pack. One that is elsewhere than in .github, .gitea or
// .forgejo counts too: the next push could move it there, without its tree.
func (p *Push) Workflows() bool {
	if p.Unclear() {
		return true
	}
	for _, tree := range p.pack.trees {
		if hasWorkflows(tree, p.idSize) {
			return true
		}
	}
	return false
}

// parents are a commit's.
func parents(commit []byte) []string {
	var ids []string
	for line := range strings.SplitSeq(string(commit), "\n") {
		if id, ok := strings.CutPrefix(line, "parent "); ok {
			ids = append(ids, id)
		} else if !strings.HasPrefix(line, "tree ") {
			break
		}
	}
	return ids
}

// hasWorkflows says whether a tree has such a directory, whatever its capitals. What cannot be read may have one.
func hasWorkflows(tree []byte, idSize int) bool {
	for len(tree) > 0 {
		head, rest, ok := bytes.Cut(tree, []byte{0})
		mode, name, named := bytes.Cut(head, []byte{' '})
		if !ok || !named || len(rest) < idSize {
			return true
		}
		if bytes.EqualFold(name, []byte("workflows")) && bytes.Equal(bytes.TrimLeft(mode, "0"), []byte("40000")) {
			return true
		}
		tree = rest[idSize:]
	}
	return false
}
