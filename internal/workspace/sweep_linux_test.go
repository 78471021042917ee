package workspace

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// swept makes a Guard for p look at the workspace a last time, as when the sandbox has ended, and returns what it
// reports.
func swept(t *testing.T, p Plan) (hits []Hit) {
	t.Helper()
	g, err := NewGuard(p, tempDir(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Run(ctx, func(h Hit) { hits = append(hits, h) }); err != nil {
		t.Fatal(err)
	}
	return hits
}

const armed = "[core]\n\tfsmonitor = evil\n"

func TestNewRepositoriesAreDisarmed(t *testing.T) {
	far := tempDir(t)
	repo(t, far)
	write(t, far+"/config", armed)
	for what, c := range map[string]struct {
		make  func(ws string)
		moved string // "" for nothing
	}{
		"a configuration": {func(ws string) { repo(t, ws+"/a/.git"); write(t, ws+"/a/.git/config", armed) }, "a/.git/config"},
		"one that git init writes": {func(ws string) {
			repo(t, ws+"/a/.git")
			write(t, ws+"/a/.git/hooks/pre-commit.sample", "")
			write(t, ws+"/a/.git/info/exclude", "")
		}, ""},
		"a hook":                 {func(ws string) { repo(t, ws+"/a/.git"); write(t, ws+"/a/.git/hooks/post-checkout", "") }, "a/.git/hooks/post-checkout"},
		"a link for hooks":       {func(ws string) { repo(t, ws+"/a/.git"); symlink(t, "../h", ws+"/a/.git/hooks") }, "a/.git/hooks"},
		"one for a working tree": {func(ws string) { repo(t, ws+"/a/.git"); write(t, ws+"/a/.git/config.worktree", armed) }, "a/.git/config.worktree"},
		"a link for one": {func(ws string) {
			repo(t, ws+"/a/.git")
			os.Remove(ws + "/a/.git/config")
			symlink(t, "c", ws+"/a/.git/config")
		}, "a/.git/config"},
		"a pipe for one": {func(ws string) {
			repo(t, ws+"/a/.git")
			os.Remove(ws + "/a/.git/config")
			mkfifo(t, ws+"/a/.git/config")
		}, "a/.git/config"},
		"one with two names":     {func(ws string) { repo(t, ws+"/a/.git"); link(t, ws+"/a/.git/config", ws+"/c") }, "a/.git/config"},
		"what looks like one":    {func(ws string) { repo(t, ws+"/src"); write(t, ws+"/src/config", armed) }, "src/config"},
		"one in a git directory": {func(ws string) { repo(t, ws+"/.git/modules/x"); write(t, ws+"/.git/modules/x/config", armed) }, ".git/modules/x/config"},
		"one that is well hidden": {func(ws string) {
			repo(t, ws+"/node_modules/x")
			write(t, ws+"/node_modules/x/config", armed)
			write(t, ws+"/a/.git", "gitdir: ../node_modules/x\n")
		}, "node_modules/x/config"},
		"one through a link": {func(ws string) {
			repo(t, ws+"/node_modules/x")
			write(t, ws+"/node_modules/x/config", armed)
			symlink(t, "../node_modules/x", ws+"/a/.git")
		}, "node_modules/x/config"},
		"a pointer out":          {func(ws string) { write(t, ws+"/a/.git", "gitdir: "+far+"\n") }, "a/.git"},
		"a link out":             {func(ws string) { symlink(t, far, ws+"/a/.git") }, "a/.git"},
		"a common directory out": {func(ws string) { repo(t, ws+"/a/.git"); write(t, ws+"/a/.git/commondir", far+"\n") }, "a/.git/commondir"},
		"a common directory within": {func(ws string) {
			repo(t, ws+"/node_modules/x")
			write(t, ws+"/node_modules/x/config", armed)
			write(t, ws+"/.git/worktrees/w/HEAD", "")
			write(t, ws+"/.git/worktrees/w/commondir", "../../../node_modules/x\n")
		}, "node_modules/x/config"},
		"the user's":    {func(ws string) { write(t, ws+"/lib/.git/config", armed); write(t, ws+"/.git/config", armed) }, ""},
		"no repository": {func(ws string) { write(t, ws+"/a/config", armed); write(t, ws+"/a/hooks/x", "") }, ""},
	} {
		t.Run(what, func(t *testing.T) {
			ws := tempDir(t)
			repo(t, ws+"/.git")
			repo(t, ws+"/lib/.git")
			p := plan(t, ws, Options{})
			c.make(ws)
			var moved, wanted []string
			for _, h := range swept(t, p) {
				if h.Kind == HitMoved && !slices.Contains(moved, h.Path) {
					moved = append(moved, h.Path)
				}
			}
			if c.moved != "" {
				wanted = []string{filepath.Join(ws, c.moved)}
			}
			if !slices.Equal(moved, wanted) {
				t.Errorf("moved were %q", moved)
			}
		})
	}
}

func TestWhereNotAllWasSeenOnlyWhatIsNewIsDisarmed(t *testing.T) {
	ws := tempDir(t)
	p := plan(t, ws, Options{})
	p.partial = true
	repo(t, ws+"/old/.git")
	write(t, ws+"/old/.git/config", armed)
	info, err := os.Stat(ws + "/old/.git/config")
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGuard(p, tempDir(t))
	if err != nil {
		t.Fatal(err)
	}
	g.sweeper.plan.made = info.ModTime().Add(time.Nanosecond)
	for {
		repo(t, ws+"/new/.git")
		write(t, ws+"/new/.git/config", armed)
		if now, err := os.Stat(ws + "/new/.git/config"); err != nil || now.ModTime().After(g.sweeper.plan.made) {
			break // the file system's clock has ticked
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var moved []string
	if err := g.Run(ctx, func(h Hit) {
		if h.Kind == HitMoved {
			moved = append(moved, h.Path)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(moved, []string{ws + "/new/.git/config"}) {
		t.Errorf("moved were %q", moved)
	}
}

func TestEveryNewRepositoryIsReportedOnce(t *testing.T) {
	ws := tempDir(t)
	p := plan(t, ws, Options{})
	for _, dir := range []string{"/a/.git", "/b/c/.git", "/.git"} {
		repo(t, ws+dir)
	}
	var got []string
	for _, h := range swept(t, p) {
		if h.Kind != HitRepository {
			t.Errorf("got %+v", h)
		}
		got = append(got, h.Path)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{ws + "/.git", ws + "/a/.git", ws + "/b/c/.git"}) {
		t.Errorf("reported were %q", got)
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, old, path string) {
	t.Helper()
	if err := os.Link(old, path); err != nil {
		t.Fatal(err)
	}
}
