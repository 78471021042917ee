package workspace

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/gitconfig"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// isGitDir reports whether git takes a directory with these entries for a repository.
func isGitDir(entries []fs.DirEntry) bool {
	var head, objects, refs, commondir bool
	for _, e := range entries {
		switch e.Name() {
		case "HEAD":
			head = true
		case "objects":
			objects = true
		case "refs":
			refs = true
		case "commondir":
			commondir = true
		}
	}
	return head && (objects && refs || commondir)
}

// dotGit plans for the entry .git of the directory dir.
func (p *planner) dotGit(dir string, e fs.DirEntry) {
	rel := path.Join(dir, ".git")
	p.guardTree(dir)
	if e.IsDir() {
		p.addFirm(sandbox.MountPinned, rel) // else it could be moved away, and a copy be made with another config
		p.gitDir(rel)
		p.index(filepath.Join(p.ws, rel), filepath.Join(p.ws, dir))
		return
	}
	target := filepath.Join(p.ws, rel) // of a link
	if e.Type().IsRegular() {
		p.addFirm(sandbox.MountProtected, rel)
		data, err := p.tree.ReadFile(rel, maxGitFile)
		if err == nil {
			target, err = parseGitFile(data)
		}
		if err != nil {
			p.notice(rel, "cannot be read as a pointer to a repository")
			return
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(p.ws, dir, target)
		}
	}
	real, err := filepath.EvalSymlinks(target)
	switch {
	case err != nil:
		p.notice(rel, "leads nowhere")
	case within(real, p.ws):
		inside, err := filepath.Rel(p.ws, real)
		if err == nil && inside != "." {
			p.addFirm(sandbox.MountPinned, inside)
			p.gitDir(inside)
			p.index(real, filepath.Join(p.ws, dir))
		}
	case dir == "." && e.Type().IsRegular():
		p.pointer = real
	default:
		p.notice(rel, "leads out of the workspace, so git will not work there")
	}
}

// gitDir protects what makes git execute or read something else in the git directory rel, also in those of
// its submodules and linked worktrees.
func (p *planner) gitDir(rel string) {
	abs := filepath.Join(p.ws, rel)
	if p.plan.known[abs] || !p.left.spend() {
		return
	}
	p.plan.known[abs] = true
	for _, name := range gitPrivate() {
		p.addFirm(sandbox.MountProtected, path.Join(rel, name))
		p.guardName(path.Join(rel, name))
	}
	entries, _ := p.tree.ReadDir(rel)
	for _, e := range entries {
		if e.Type()&fs.ModeSocket != 0 {
			p.add(sandbox.MountHidden, path.Join(rel, e.Name())) // git's own daemons answer there
		}
	}
	for _, name := range []string{"config", "config.worktree"} {
		if data, err := p.tree.ReadFile(path.Join(rel, name), maxGitFile); err == nil {
			p.configured(rel, gitconfig.Parse(data))
			p.plan.configs[filepath.Join(abs, name)] = data
		}
	}
	worktrees, _ := p.tree.ReadDir(path.Join(rel, "worktrees"))
	for _, w := range worktrees {
		p.plan.known[filepath.Join(abs, "worktrees", w.Name())] = true
		for _, name := range []string{"config.worktree", "commondir", "gitdir"} {
			p.addFirm(sandbox.MountProtected, path.Join(rel, "worktrees", w.Name(), name))
			p.guardName(path.Join(rel, "worktrees", w.Name(), name))
		}
	}
	p.modules(path.Join(rel, "modules"))
}

// index notes that the git directory gitDir has the index of the working tree top. Both are absolute.
func (p *planner) index(gitDir, top string) {
	if p.mode != Direct {
		return
	}
	common, err := followLine(gitDir, "commondir")
	if err != nil {
		common = gitDir
	}
	hash := 20
	if tree, err := beneath.Open(common); err == nil {
		defer tree.Close()
		data, _ := tree.ReadFile("config", maxGitFile)
		for _, s := range gitconfig.Parse(data) {
			if s.Section == "extensions" && s.Key == "objectformat" && strings.EqualFold(s.Value, "sha256") {
				hash = 32
			}
		}
	}
	p.plan.indexes = append(p.plan.indexes, indexFile{filepath.Join(gitDir, "index"), top, hash})
}

// modules finds the git directories of submodules; their names may have slashes.
func (p *planner) modules(rel string) {
	entries, err := p.tree.ReadDir(rel)
	if err != nil || !p.left.spend() {
		return
	}
	if isGitDir(entries) {
		p.gitDir(rel)
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			p.modules(path.Join(rel, e.Name()))
		}
	}
}

// configured protects the files in the workspace that a repository's configuration makes part of itself.
func (p *planner) configured(gitDir string, settings []gitconfig.Setting) {
	for _, s := range settings {
		base := path.Dir(gitDir) // hooksPath counts from the top of the working tree
		switch {
		case s.Section == "core" && s.Key == "hookspath":
		case (s.Section == "include" || s.Section == "includeif") && s.Key == "path":
			base = gitDir
		default:
			continue
		}
		target := s.Value
		if !filepath.IsAbs(target) {
			target = filepath.Join(p.ws, base, target)
		}
		if rel, err := filepath.Rel(p.ws, target); err == nil && filepath.IsLocal(rel) && rel != "." {
			p.addFirm(sandbox.MountProtected, rel)
			p.guardName(rel)
		}
	}
}
