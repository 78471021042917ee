package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/gitconfig"
)

// Bounds of a sweep.
const (
	sweepEvery  = 2 * time.Second // at least; and
	sweepShare  = 100             // one part in so many of the time is spent sweeping
	maxSweep    = 10 * time.Second
	maxNewFiles = 1000 // that are remembered as reported
)

// sweeper takes out of new repositories what git would execute, wherever in the workspace they are: somebody who
// enters such a directory, or whose shell's prompt asks git, runs what its configuration says. It looks at
// everything again and again, because watching each directory would use up what the kernel allows a user.
//
// While the sandbox runs that is for warning: the agent can put it back, or write a file while
// it is looked at. The last sweep is for certain, because by then no agent is there.
type sweeper struct {
	plan       Plan
	tree       *beneath.Tree
	quarantine *quarantine
	reported   map[string]bool
	seen       map[string]bool // git directories, in this sweep
}

func newSweeper(p Plan, q *quarantine) *sweeper {
	return &sweeper{plan: p, quarantine: q, reported: map[string]bool{}}
}

// run sweeps until ctx is done, and then a last time.
func (s *sweeper) run(ctx context.Context, onHit func(Hit)) {
	for {
		start := time.Now()
		s.sweep(onHit)
		timer := time.NewTimer(max(sweepEvery, sweepShare*time.Since(start)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			s.sweep(onHit)
			return
		}
	}
}

// sweep visits the workspace's directories, the upper ones first. Links are not followed.
func (s *sweeper) sweep(onHit func(Hit)) {
	tree, err := beneath.Open(s.plan.ws)
	if err != nil {
		return // the workspace is gone
	}
	defer tree.Close()
	s.tree, s.seen = tree, map[string]bool{}
	end := time.Now().Add(maxSweep)
	for queue := []string{"."}; len(queue) > 0; queue = queue[1:] {
		rel := queue[0]
		if time.Now().After(end) {
			s.report(Hit{Kind: HitUnseen, Path: s.abs(rel), Err: fmt.Errorf("the search for new repositories ended here after %v", maxSweep)}, onHit)
			return
		}
		entries, err := tree.ReadDir(rel)
		if err != nil {
			continue
		}
		repository := isGitDir(entries)
		if repository {
			s.disarm(rel, onHit)
		}
		for _, e := range entries {
			switch name := e.Name(); {
			case name == ".git" && s.plan.watch[s.abs(rel)][name] == (file{}):
				s.newRepository(rel, e, onHit)
			case name == "node_modules", repository && (name == "objects" || name == "refs" || name == "logs"):
				continue
			}
			if e.IsDir() {
				queue = append(queue, path.Join(rel, e.Name()))
			}
		}
	}
}

// newRepository deals with the entry .git of the directory rel, which was not there at the start.
func (s *sweeper) newRepository(rel string, e fs.DirEntry, onHit func(Hit)) {
	pointer := path.Join(rel, ".git")
	if rel != "." { // at the top it is not overlooked
		s.report(Hit{Kind: HitRepository, Path: s.abs(pointer)}, onHit)
	}
	if e.IsDir() {
		return // it will be visited
	}
	target := s.abs(pointer)
	if e.Type().IsRegular() {
		data, err := s.tree.ReadFile(pointer, maxGitFile)
		if err != nil {
			return
		}
		if target, err = parseGitFile(data); err != nil {
			return // for git as well
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(s.abs(rel), target)
		}
	}
	s.lead(rel, ".git", target, onHit)
}

// lead deals with the file name in the directory rel, by which git finds the git directory target.
func (s *sweeper) lead(rel, name, target string, onHit func(Hit)) {
	real, err := filepath.EvalSymlinks(target)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && within(real, s.plan.ws) {
		if inside, err := filepath.Rel(s.plan.ws, real); err == nil {
			s.disarm(inside, onHit)
			return
		}
	}
	if dir, err := s.tree.Open(rel); err == nil {
		defer dir.Close()
		s.take(dir, name, onHit)
	}
}

// disarm takes out of the git directory rel what git would execute, unless it was there at the start.
func (s *sweeper) disarm(rel string, onHit func(Hit)) {
	if s.plan.known[s.abs(rel)] || s.seen[rel] {
		return
	}
	s.seen[rel] = true
	dir, err := s.tree.Open(rel)
	if err != nil {
		return
	}
	defer dir.Close()
	for _, name := range []string{"config", "config.worktree"} {
		if s.isNew(dir, name) && !s.harmless(rel, name) {
			s.take(dir, name, onHit)
		}
	}
	hooks, err := s.tree.Open(path.Join(rel, "hooks"))
	if err == nil {
		defer hooks.Close()
		names, _ := hooks.Readdirnames(-1)
		for _, name := range names {
			if !strings.HasSuffix(name, ".sample") && s.isNew(hooks, name) {
				s.take(hooks, name, onHit)
			}
		}
	} else if s.isNew(dir, "hooks") {
		s.take(dir, "hooks", onHit) // a link
	}
	if data, err := s.tree.ReadFile(path.Join(rel, "commondir"), maxGitFile); err == nil {
		if common, err := parsePathLine(data); err == nil {
			if !filepath.IsAbs(common) {
				common = filepath.Join(s.abs(rel), common)
			}
			s.lead(rel, "commondir", common, onHit)
		}
	} else if s.isNew(dir, "commondir") {
		s.take(dir, "commondir", onHit)
	}
}

// harmless reports whether git can read the configuration rel/name without executing anything. A file with another
// name besides could be changed by that.
func (s *sweeper) harmless(rel, name string) bool {
	f, err := s.tree.Open(path.Join(rel, name))
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || links(info) != 1 {
		return false
	}
	data, err := s.tree.ReadFile(path.Join(rel, name), maxGitFile)
	return err == nil && gitconfig.Harmless(data)
}

// isNew reports whether dir has the name, and not from before the start, as far as that must be known: where the
// plan is of the whole workspace all that is not in it is new, else what was changed since the start.
func (s *sweeper) isNew(dir *os.File, name string) bool {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false
	}
	return !s.plan.partial || !time.Unix(st.Ctim.Unix()).Before(s.plan.made)
}

func (s *sweeper) take(dir *os.File, name string, onHit func(Hit)) {
	s.report(s.quarantine.take(dir, name), onHit)
}

// report passes a hit on, once if it is one that stays.
func (s *sweeper) report(h Hit, onHit func(Hit)) {
	if h.Kind != HitMoved {
		if s.reported[h.Path] || len(s.reported) >= maxNewFiles {
			return
		}
		s.reported[h.Path] = true
	}
	onHit(h)
}

func (s *sweeper) abs(rel string) string { return filepath.Join(s.plan.ws, rel) }
