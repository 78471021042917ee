package workspace

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Bounds of a walk, which happens at every start.
const (
	maxDirs = 20_000
	maxTime = 200 * time.Millisecond
)

// budget says how much a walk may still do.
type budget struct {
	dirs int
	end  time.Time
	over bool
}

func newBudget() budget { return budget{dirs: maxDirs, end: time.Now().Add(maxTime)} }

func (b *budget) spend() bool {
	b.dirs--
	b.over = b.over || b.dirs < 0 || time.Now().After(b.end)
	return !b.over
}

// walk visits the directories of the workspace, the upper ones first, so that a bound that is reached costs
// the deepest. Links are never followed.
func (p *planner) walk() {
	last := "."
	for queue := []string{"."}; len(queue) > 0 && p.left.spend(); queue = queue[1:] {
		last = queue[0]
		entries, err := p.tree.ReadDir(last)
		if err != nil {
			continue // unreadable for the sandbox's user as well, or gone
		}
		queue = append(queue, p.visit(last, entries)...)
	}
	if p.left.over {
		p.notice(last, fmt.Sprintf("is as far as the search for secrets and nested repositories got, which ends after "+
			"%d directories or %v: in directories as deep and deeper nothing may be hidden or protected", maxDirs, maxTime))
	}
}

// visit plans for what is in the directory dir and returns the directories to go on with.
func (p *planner) visit(dir string, entries []fs.DirEntry) (deeper []string) {
	if isGitDir(entries) { // a bare repository: git takes it for one wherever it is, and it may be more than that
		p.gitDir(dir)
	}
	if dir == "." {
		p.guardTree(dir)
	}
	for _, e := range entries {
		rel := path.Join(dir, e.Name())
		file := e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0
		switch {
		case e.Name() == ".git":
			p.dotGit(dir, e)
			continue
		case e.Type()&fs.ModeSocket != 0:
			p.add(sandbox.MountHidden, rel) // some host process answers there
		case file && looksSecret(dir, e.Name()), matches(p.opts.Hide, rel):
			p.add(sandbox.MountHidden, rel)
		case p.listed[path.Base(dir)+"/"+e.Name()]:
			p.add(sandbox.MountProtected, rel)
			p.add(sandbox.MountPinned, dir) // else another directory of that name could take its place
		case p.listed[e.Name()], matches(p.opts.Protect, rel):
			p.add(sandbox.MountProtected, rel)
		}
		if e.Type()&fs.ModeSymlink != 0 {
			p.listedBehind(rel)
		}
		if e.IsDir() && e.Name() != "node_modules" {
			deeper = append(deeper, rel)
		}
	}
	return deeper
}

// listedBehind protects names like .claude/settings.json where .claude is a link, at rel.
func (p *planner) listedBehind(rel string) {
	for _, name := range HostExecuted() {
		if path.Dir(name) != path.Base(rel) {
			continue
		}
		p.guardName(rel) // else another link could take its place
		p.add(sandbox.MountProtected, path.Join(rel, path.Base(name)))
		if real, err := filepath.EvalSymlinks(filepath.Join(p.ws, rel)); err == nil && within(real, p.ws) {
			p.guard(filepath.Join(real, path.Base(name)))
		}
	}
}

// guardTree has the names of HostExecuted guarded in the root of a working tree.
func (p *planner) guardTree(dir string) {
	p.guardName(path.Join(dir, ".git"))
	if !p.plan.known[filepath.Join(p.ws, dir)] {
		p.guardName(path.Join(dir, "HEAD")) // with objects and refs beside it, git takes the directory itself for a repository
	}
	for _, name := range HostExecuted() {
		p.guardName(path.Join(dir, name))
	}
}

// literalProtected are the user's patterns that name one path.
func (p *planner) literalProtected() (names []string) {
	for _, pattern := range p.opts.Protect {
		if name := path.Clean(pattern); !hasMeta(name) {
			names = append(names, name)
		}
	}
	return names
}

func hasMeta(pattern string) bool {
	for _, c := range pattern {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			return true
		}
	}
	return false
}
