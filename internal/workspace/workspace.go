// Package workspace decides which host directories an agent may see and what in them is out of its reach:
// what the host executes later although nobody asked it to (git hooks and configuration, editor tasks,
// agents' settings) is read-only, and what looks like a secret reads as empty. It plans mounts and guards
// names; it mounts nothing, and it never executes anything, git least of all: a repository that an agent
// could write runs code through its configuration.
//
// What cannot be protected is what runs because the user builds or tests the project: its Makefile, its
// package.json, its tests. That is for reviewing, not for mounts.
package workspace

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Mode says what becomes of what an agent writes to a workspace.
type Mode string

const (
	Direct   Mode = ""       // it is there at once; what the host executes is protected
	Review   Mode = "review" // it goes to a layer of the sandbox's own, and nothing of the workspace changes
	ReadOnly Mode = "read-only"
)

// Options are the user's additions to what is hidden and protected: path.Match patterns, relative to the
// workspace when they contain a slash, else for a name at any depth.
type Options struct {
	Hide, Protect []string
	Layer         string // of Review: the layer's name in the machine's directory, and the beginning of others'
}

// Notice is something that the user should know about a workspace, none of which stops a start.
type Notice struct {
	Path string // absolute; as found on disk, so to be escaped before it is shown
	Text string
}

// Plan is how one workspace appears in a sandbox.
type Plan struct {
	Mounts  []sandbox.Mount // in order
	Notices []Notice

	ws      string
	made    time.Time
	watch   map[string]map[string]file // directory → names that nobody may add there, as planning found them
	known   map[string]bool            // the git directories that were planned for: the user's own
	indexes []indexFile
	configs map[string][]byte // git's configurations, as planning found them
	partial bool              // not all of the workspace was looked at, so that there may be git directories of the user's besides
}

// indexFile is the index of a working tree in the workspace.
type indexFile struct {
	path string
	top  string // of the working tree
	hash int    // how long the object names in it are, in bytes
}

// file is what a name led to, the zero value nothing.
type file struct {
	dev, ino uint64
	link     bool
}

// planner collects a Plan. Its relative paths are clean, and "." is the workspace.
type planner struct {
	plan    Plan
	ws      string
	mode    Mode
	tree    *beneath.Tree
	opts    Options
	left    budget
	listed  map[string]bool              // HostExecuted
	kinds   map[string]sandbox.MountKind // by relative path
	pointer string                       // where the workspace's own .git file leads, outside of it
}

// MakePlan lists the mounts that show the directory ws, as Resolve returned it, inside at its own path: the
// bind itself, then what is pinned, protected and hidden in it, outer paths before inner ones, then what a
// linked worktree or submodule needs from its repository. Every target is a real path without links.
func MakePlan(ws string, mode Mode, opts Options) (Plan, error) {
	if err := opts.check(); err != nil {
		return Plan{}, err
	}
	tree, err := beneath.Open(ws)
	if err != nil {
		return Plan{}, fmt.Errorf("cannot open the workspace %s: %w", ws, err)
	}
	defer tree.Close()
	p := &planner{
		plan: Plan{ws: ws, made: time.Now(), watch: map[string]map[string]file{}, known: map[string]bool{}, configs: map[string][]byte{}},
		ws:   ws, mode: mode, tree: tree, opts: opts,
		left: newBudget(), kinds: map[string]sandbox.MountKind{},
		listed: map[string]bool{},
	}
	for _, name := range HostExecuted() {
		p.listed[name] = true
	}
	p.walk()
	for _, name := range p.literalProtected() {
		p.guardName(name)
	}
	p.show(ws, opts.Layer)
	var rels []string
	for rel := range p.kinds {
		rels = append(rels, rel)
	}
	slices.Sort(rels) // a directory sorts before what lies in it
	for _, rel := range rels {
		kind := p.kinds[rel]
		if p.covered(rel, kind) {
			continue
		}
		p.plan.Mounts = append(p.plan.Mounts, sandbox.Mount{Kind: kind, Target: filepath.Join(ws, rel)})
	}
	p.outside()
	p.plan.partial = p.left.over
	return p.plan, nil
}

// show adds the mount of a host directory at itself, as the mode has it.
func (p *planner) show(dir, layer string) {
	m := sandbox.Mount{Kind: sandbox.MountBind, Source: dir, Target: dir, ReadOnly: p.mode == ReadOnly}
	if p.mode == Review {
		m.Kind, m.Layer = sandbox.MountOverlay, layer
	}
	p.plan.Mounts = append(p.plan.Mounts, m)
}

// At is the plan with the workspace shown at another path inside. It must be under review or read-only: what has to
// be guarded is on the host.
func (p Plan) At(path string) Plan {
	moved := p
	moved.Mounts = nil
	for _, m := range p.Mounts {
		if within(m.Target, p.ws) {
			m.Target = filepath.Join(path, strings.TrimPrefix(m.Target, p.ws))
		}
		moved.Mounts = append(moved.Mounts, m)
	}
	moved.Notices = nil
	for _, n := range p.Notices {
		n.Path = filepath.Join(path, strings.TrimPrefix(n.Path, p.ws))
		moved.Notices = append(moved.Notices, n)
	}
	return moved
}

// add marks rel, following it when it is a link: what counts is the file that the host would read.
func (p *planner) add(kind sandbox.MountKind, rel string) {
	path := filepath.Join(p.ws, rel)
	real, err := filepath.EvalSymlinks(path)
	if err != nil && kind == sandbox.MountProtected {
		p.guardDangling(path)
	}
	if err != nil || !within(real, p.ws) || real == p.ws {
		return // missing, dangling, or a link out of what the sandbox sees: nothing to mount on
	}
	info, err := os.Lstat(real)
	if err != nil {
		return
	}
	if real != path {
		if rel, err = filepath.Rel(p.ws, real); err != nil {
			return
		}
	}
	if info.Mode().IsRegular() && links(info) > 1 && p.kinds[rel] == 0 {
		p.notice(rel, "has another hard link, through which it can be read or changed")
	}
	if real != path {
		p.pinAbove(rel) // else the link would lead to whatever takes the place of a directory on its way
	}
	// Where several apply, the strongest counts.
	strength := []sandbox.MountKind{sandbox.MountPinned, sandbox.MountProtected, sandbox.MountHidden}
	if slices.Index(strength, kind) > slices.Index(strength, p.kinds[rel]) {
		p.kinds[rel] = kind
	}
}

// addFirm is add for what the host reaches by its place: nothing above it may be moved away either, for a
// copy with other contents would stand there instead.
func (p *planner) addFirm(kind sandbox.MountKind, rel string) {
	p.add(kind, rel)
	if _, err := os.Lstat(filepath.Join(p.ws, rel)); err == nil {
		p.pinAbove(rel) // above what does not exist yet the guard watches
	}
}

// pinAbove pins the directories above rel, as far as they exist. Moving something between a pinned directory
// and its neighbours copies it, so this is for few places.
func (p *planner) pinAbove(rel string) {
	for dir := filepath.Dir(rel); dir != "."; dir = filepath.Dir(dir) {
		if info, err := os.Lstat(filepath.Join(p.ws, dir)); err == nil && info.IsDir() {
			p.add(sandbox.MountPinned, dir)
		}
	}
}

// guardDangling has the name guarded that a link leads to which leads nowhere yet.
func (p *planner) guardDangling(link string) {
	text, err := os.Readlink(link)
	if err != nil {
		return
	}
	if !filepath.IsAbs(text) {
		text = filepath.Join(filepath.Dir(link), text)
	}
	if target := filepath.Clean(text); within(target, p.ws) && target != p.ws {
		p.guard(target)
	}
}

// covered reports whether rel needs no mount because of one above it: nothing lies in what is hidden, and
// what is immutable is so as a whole.
func (p *planner) covered(rel string, kind sandbox.MountKind) bool {
	if p.mode != Direct && kind != sandbox.MountHidden {
		return true
	}
	for dir := filepath.Dir(rel); dir != "."; dir = filepath.Dir(dir) {
		above := p.kinds[dir]
		if above == sandbox.MountHidden || above == sandbox.MountProtected && kind != sandbox.MountHidden {
			return true
		}
	}
	return false
}

// guard notes that nobody may add the path, which is absolute, during the run.
func (p *planner) guard(path string) {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if p.mode != Direct {
		return
	}
	if p.plan.watch[dir] == nil {
		p.plan.watch[dir] = map[string]file{}
	}
	// A directory on the way may be made, or replaced, later.
	for up := filepath.Dir(dir); within(up, p.ws) && p.plan.watch[up] == nil; up = filepath.Dir(up) {
		p.plan.watch[up] = map[string]file{}
	}
	info, err := os.Lstat(path)
	if err != nil {
		p.plan.watch[dir][name] = file{}
		return
	}
	p.plan.watch[dir][name] = identify(info)
}

// guardName is guard for a path relative to the workspace.
func (p *planner) guardName(rel string) { p.guard(filepath.Join(p.ws, rel)) }

func (p *planner) notice(rel, text string) {
	p.plan.Notices = append(p.plan.Notices, Notice{filepath.Join(p.ws, rel), text})
}

// within reports whether path is dir or lies in it. Both are clean.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
