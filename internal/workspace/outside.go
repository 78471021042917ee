package workspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/gitconfig"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// outside adds the repository of a linked worktree or submodule whose own .git file leads out of the
// workspace, as little of it writable as commits need. A .git file is the agent's word, so it is followed
// only where the repository itself, which the agent cannot write, names this workspace.
func (p *planner) outside() {
	if p.pointer == "" {
		return
	}
	err := p.worktree()
	if err != nil {
		if subErr := p.submodule(); subErr == nil {
			return
		} else if strings.Contains(p.pointer, "/modules/") {
			err = subErr
		}
		p.notice(".git", fmt.Sprintf("leads to %s, which is not shown because %v; git will not work", p.pointer, err))
	}
}

// worktree mounts the repository of a linked worktree: all of it read-only; its objects, refs and reflogs
// and this worktree's own state writable. That is enough to add, commit, branch and merge. Hooks and
// configuration stay immutable, also where they do not exist yet, and so does packed-refs: deleting a packed
// branch and gc do not work inside. Other worktrees' branches can be moved, as in any clone.
func (p *planner) worktree() error {
	admin := p.pointer
	common := filepath.Dir(filepath.Dir(admin))
	if filepath.Base(filepath.Dir(admin)) != "worktrees" {
		return errors.New("it is no linked worktree's directory")
	}
	back, err := followLine(admin, "gitdir")
	if err != nil || back != filepath.Join(p.ws, ".git") {
		return errors.New("it is another directory's")
	}
	if named, err := followLine(admin, "commondir"); err != nil || named != common {
		return errors.New("it names another repository")
	}
	if err := checkRepository(common, p.ws); err != nil {
		return err
	}
	if p.mode == Review {
		p.show(common, p.opts.Layer+"-git")
		return nil
	}
	p.bind(common, true)
	if p.mode == ReadOnly {
		return nil
	}
	p.bind(admin, false)
	p.protect(filepath.Join(admin, "gitdir"), filepath.Join(admin, "commondir"), filepath.Join(admin, "config.worktree"))
	p.guard(filepath.Join(admin, "config.worktree"))
	p.index(admin, p.ws)
	for _, name := range []string{"objects", "refs", "logs", "reftable"} {
		p.bind(filepath.Join(common, name), false)
	}
	p.protect(filepath.Join(common, "objects/info")) // alternates
	return nil
}

// submodule mounts the git directory of a submodule, which has nobody else's.
func (p *planner) submodule() error {
	if !strings.Contains(p.pointer, "/modules/") {
		return errors.New("it is no submodule's directory")
	}
	tree, err := beneath.Open(p.pointer)
	if err != nil {
		return errors.New("it cannot be read")
	}
	defer tree.Close()
	data, err := tree.ReadFile("config", maxGitFile)
	if err != nil {
		return errors.New("it has no configuration")
	}
	named := ""
	for _, s := range gitconfig.Parse(data) {
		if s.Section == "core" && s.Key == "worktree" {
			named = s.Value
		}
	}
	if !filepath.IsAbs(named) {
		named = filepath.Join(p.pointer, named)
	}
	if real, err := filepath.EvalSymlinks(named); err != nil || real != p.ws {
		return errors.New("it is another directory's")
	}
	if err := checkRepository(p.pointer, p.ws); err != nil {
		return err
	}
	p.show(p.pointer, p.opts.Layer+"-git")
	if p.mode == Direct {
		p.index(p.pointer, p.ws)
		for _, name := range gitPrivate() {
			p.protect(filepath.Join(p.pointer, name))
			p.guard(filepath.Join(p.pointer, name))
		}
	}
	return nil
}

// checkRepository refuses a directory that is no repository, or more than one.
func checkRepository(dir, ws string) error {
	if within(ws, dir) {
		return errors.New("the workspace lies in it")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || !isGitDir(entries) {
		return errors.New("it is no repository")
	}
	return nil
}

// followLine reads the one-line file dir/name and returns the path in it, absolute and without links.
func followLine(dir, name string) (string, error) {
	tree, err := beneath.Open(dir)
	if err != nil {
		return "", err
	}
	defer tree.Close()
	data, err := tree.ReadFile(name, maxGitFile)
	if err != nil {
		return "", err
	}
	path, err := parsePathLine(data)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return filepath.EvalSymlinks(path)
}

// bind shows path, which is no link, at itself if it exists.
func (p *planner) bind(path string, readOnly bool) {
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		p.plan.Mounts = append(p.plan.Mounts, sandbox.Mount{Kind: sandbox.MountBind, Source: path, Target: path, ReadOnly: readOnly})
	}
}

// protect makes those of the paths immutable that exist.
func (p *planner) protect(paths ...string) {
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && (info.IsDir() || info.Mode().IsRegular()) {
			p.plan.Mounts = append(p.plan.Mounts, sandbox.Mount{Kind: sandbox.MountProtected, Target: path})
		}
	}
}
