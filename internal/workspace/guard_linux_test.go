package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// guarded runs a Guard for ws until the test ends, and returns its hits.
func guarded(t *testing.T, ws string) (hits <-chan Hit, quarantine string) {
	t.Helper()
	p := plan(t, ws, Options{Protect: []string{"deploy.sh"}})
	return guardPlan(t, p)
}

func guardPlan(t *testing.T, p Plan) (hits <-chan Hit, quarantine string) {
	t.Helper()
	quarantine = tempDir(t)
	g, err := NewGuard(p, quarantine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	found := make(chan Hit, 1000)
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, func(h Hit) { found <- h }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the guard ended with %v", err)
		}
		goleak.VerifyNone(t)
	})
	return found, quarantine
}

func expectHit(t *testing.T, hits <-chan Hit, kind HitKind, path string) Hit {
	t.Helper()
	select {
	case h := <-hits:
		if h.Kind != kind || h.Path != path {
			t.Errorf("got %+v, wanted kind %d at %s", h, kind, path)
		}
		if kind == HitMoved {
			if _, err := os.Lstat(h.MovedTo); err != nil {
				t.Errorf("not in the quarantine: %v", err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", path, err)
			}
		}
		return h
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing happened to %s", path)
		return Hit{}
	}
}

// expectQuiet makes sure that nothing was reported before a name that is always reported.
func expectQuiet(t *testing.T, hits <-chan Hit, ws string) {
	t.Helper()
	write(t, ws+"/.exrc", "")
	expectHit(t, hits, HitMoved, ws+"/.exrc")
}

func TestGuardMovesProtectedNamesAway(t *testing.T) {
	outside := tempDir(t)
	for what, c := range map[string]struct {
		path string
		make func(path string) error
	}{
		"a file at the top":      {".envrc", func(p string) error { return os.WriteFile(p, nil, 0o644) }},
		"the user's own pattern": {"deploy.sh", func(p string) error { return os.WriteFile(p, nil, 0o755) }},
		"a directory with something in it": {".vscode", func(p string) error {
			return errors.Join(os.MkdirAll(outside+"/full/x/y", 0o755), os.Rename(outside+"/full", p))
		}},
		"a link":                          {".mcp.json", func(p string) error { return os.Symlink("/etc/passwd", p) }},
		"a hard link":                     {".npmrc", func(p string) error { return os.Link(filepath.Dir(p)+"/main.go", p) }},
		"a rename":                        {".yarnrc", func(p string) error { return os.Rename(filepath.Dir(p)+"/other.go", p) }},
		"a pipe":                          {".idea", func(p string) error { return syscall.Mkfifo(p, 0o644) }},
		"git hooks":                       {".git/hooks", func(p string) error { return os.MkdirAll(p, 0o755) }},
		"git attributes":                  {".git/info", func(p string) error { return os.MkdirAll(p, 0o755) }},
		"a git common directory":          {".git/commondir", func(p string) error { return os.WriteFile(p, []byte("/"), 0o644) }},
		"git configuration of a worktree": {".git/config.worktree", func(p string) error { return os.WriteFile(p, nil, 0o644) }},
		"hooks of a submodule":            {".git/modules/s/hooks", func(p string) error { return os.MkdirAll(p, 0o755) }},
		"hooks of a nested repository":    {"lib/.git/hooks", func(p string) error { return os.MkdirAll(p, 0o755) }},
		"a name in a nested repository":   {"lib/.envrc", func(p string) error { return os.WriteFile(p, nil, 0o644) }},
		"a name in a directory that exists": {".claude/settings.json", func(p string) error {
			return os.WriteFile(p, nil, 0o644)
		}},
		"a name in a directory that does not": {".codex/config.toml", func(p string) error {
			return errors.Join(os.Mkdir(filepath.Dir(p), 0o755), os.WriteFile(p, nil, 0o644))
		}},
		"a directory that is moved in with the name": {".gemini/settings.json", func(p string) error {
			stage := outside + "/stage"
			return errors.Join(os.Mkdir(stage, 0o755), os.WriteFile(stage+"/settings.json", nil, 0o644), os.Rename(stage, filepath.Dir(p)))
		}},
		"a directory replaced by a link": {".cursor", func(p string) error {
			return errors.Join(os.Rename(p, p+".old"), os.Symlink("x", p))
		}},
		"a pointer in place of a repository": {"lib2/.git", func(p string) error { return os.WriteFile(p, []byte("gitdir: /x"), 0o644) }},
		"what a dangling link leads to":      {"later", func(p string) error { return os.Mkdir(p, 0o755) }},
		"a link where there was another": {".husky", func(p string) error {
			return errors.Join(os.Remove(p), os.Symlink("elsewhere", p))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			ws := tempDir(t)
			repo(t, ws+"/.git")
			repo(t, ws+"/.git/modules/s")
			repo(t, ws+"/lib/.git")
			write(t, ws+"/main.go", "")
			write(t, ws+"/other.go", "")
			mkdirs(t, ws+"/.claude", ws+"/.cursor")
			symlink(t, "old", ws+"/.husky")
			symlink(t, "later", ws+"/.zed")
			if strings.HasPrefix(c.path, "lib2/") {
				ws += "/lib2"
				mkdirs(t, ws)
				c.path = ".git"
			}
			hits, _ := guarded(t, ws)
			path := filepath.Join(ws, c.path)
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			expectHit(t, hits, HitMoved, path)
			expectQuiet(t, hits, ws)
		})
	}
}

func TestGuardFindsWhatCameBeforeIt(t *testing.T) {
	ws := tempDir(t)
	repo(t, ws+"/.git")
	p := plan(t, ws, Options{})
	write(t, ws+"/.git/hooks/post-checkout", "evil")
	hits, quarantine := guardPlan(t, p)
	h := expectHit(t, hits, HitMoved, ws+"/.git/hooks")
	if content, err := os.ReadFile(h.MovedTo + "/post-checkout"); err != nil || string(content) != "evil" {
		t.Errorf("the quarantine has %q, %v", content, err)
	}
	if filepath.Dir(h.MovedTo) != quarantine {
		t.Errorf("moved to %s", h.MovedTo)
	}
}

func TestGuardLeavesTheRestAlone(t *testing.T) {
	ws := tempDir(t)
	repo(t, ws+"/.git")
	write(t, ws+"/.envrc", "old")
	write(t, ws+"/sub/x", "")
	hits, _ := guarded(t, ws)
	write(t, ws+"/.git/index.lock", "x")
	if err := os.Rename(ws+"/.git/index.lock", ws+"/.git/index"); err != nil { // as git does
		t.Fatal(err)
	}
	write(t, ws+"/.git/refs/heads/main", "x")
	write(t, ws+"/.claude/commands/x.md", "x")
	write(t, ws+"/sub/.vscode/tasks.json", "x") // no top of a repository
	write(t, ws+"/main.go", "x")
	write(t, ws+"/.envrc", "written in place")
	expectQuiet(t, hits, ws)
	for _, kept := range []string{".git/index", ".claude/commands/x.md", "sub/.vscode/tasks.json", "main.go", ".envrc"} {
		if _, err := os.Stat(filepath.Join(ws, kept)); err != nil {
			t.Error(err)
		}
	}
}

func TestGuardReportsWhatItMustNotMove(t *testing.T) {
	ws := tempDir(t)
	write(t, ws+"/.envrc", "old")
	hits, _ := guarded(t, ws)
	mkdirs(t, ws+"/.git")
	expectHit(t, hits, HitRepository, ws+"/.git")
	for range 2 { // one report is enough
		write(t, ws+"/new", "the user's editor saves")
		if err := os.Rename(ws+"/new", ws+"/.envrc"); err != nil {
			t.Fatal(err)
		}
	}
	expectHit(t, hits, HitReplaced, ws+"/.envrc")
	expectQuiet(t, hits, ws)
	if _, err := os.Stat(ws + "/.envrc"); err != nil {
		t.Error(err)
	}
}

func TestGuardRenamesWhatItCannotMoveToAnotherFileSystem(t *testing.T) {
	const shm = "/dev/shm"
	var ids [2]file
	ws := tempDir(t)
	for i, dir := range []string{ws, shm} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Skip("there is no " + shm)
		}
		ids[i] = identify(info)
	}
	if ids[0].dev == ids[1].dev {
		t.Skip("the workspace is on " + shm)
	}
	quarantine, err := os.MkdirTemp(shm, "bailey-test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(quarantine)
	g, err := NewGuard(plan(t, ws, Options{}), quarantine)
	if err != nil {
		t.Fatal(err)
	}
	write(t, ws+"/.envrc", "")
	ctx, cancel := context.WithCancel(context.Background())
	var got []Hit
	if err := g.Run(ctx, func(h Hit) { got = append(got, h); cancel() }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Kind != HitMoved || filepath.Dir(got[0].MovedTo) != ws {
		t.Fatalf("got %+v", got)
	}
	if _, err := os.Stat(got[0].MovedTo); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(ws + "/.envrc"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestGuardIsNotShutOut(t *testing.T) {
	ws := tempDir(t)
	repo(t, ws+"/.git")
	mkdirs(t, ws+"/.codex")
	hits, _ := guarded(t, ws)
	chmod := func(path string, mode os.FileMode) {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	// A directory that cannot be entered does not end the watching.
	if err := os.Mkdir(ws+"/.claude", 0); err != nil {
		t.Fatal(err)
	}
	expectQuiet(t, hits, ws)
	// A directory that is read-only for its owner cannot be moved to another parent.
	mkdirs(t, ws+"/x")
	write(t, ws+"/x/tasks.json", "")
	chmod(ws+"/x", 0o555)
	if err := os.Rename(ws+"/x", ws+"/.vscode"); err != nil {
		t.Fatal(err)
	}
	h := expectHit(t, hits, HitMoved, ws+"/.vscode")
	chmod(h.MovedTo, 0o755)
	// Neither does a directory hide what is in it.
	for dir, name := range map[string]string{ws + "/.codex": "config.toml", ws: ".envrc"} {
		write(t, filepath.Join(dir, name), "")
		chmod(dir, 0)
		select {
		case h := <-hits:
			chmod(dir, 0o755)
			if _, err := os.Lstat(filepath.Join(dir, name)); h.Kind != HitMoved || !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %+v, %v", h, err)
			}
		case <-time.After(10 * time.Second):
			chmod(dir, 0o755)
			t.Errorf("nothing happened to %s", name)
		}
	}
	// What is moved aside with its parents is seen in the new ones.
	if err := os.Rename(ws+"/.git/objects", ws+"/.git/old"); err != nil {
		t.Fatal(err)
	}
	mkdirs(t, ws+"/.git/objects/info")
	write(t, ws+"/.git/objects/info/alternates", "/x")
	expectHit(t, hits, HitMoved, ws+"/.git/objects/info/alternates")
}

func TestGuardKeepsUpWithAnAgentInALoop(t *testing.T) {
	ws := tempDir(t)
	repo(t, ws+"/.git")
	hits, quarantine := guarded(t, ws)
	const rounds = 200
	for i := range rounds {
		// A rename puts the file there whole, as fast as an agent could.
		write(t, ws+"/staged", fmt.Sprint(i))
		if err := os.Rename(ws+"/staged", ws+"/.git/config.worktree"); err != nil {
			t.Fatal(err)
		}
	}
	expectQuietAfter(t, hits, ws)
	if _, err := os.Lstat(ws + "/.git/config.worktree"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there in the end: %v", err)
	}
	if moved, err := os.ReadDir(quarantine); err != nil || len(moved) < 2 {
		t.Errorf("quarantine has %d files, %v", len(moved), err)
	}
}

// expectQuietAfter skips hits until that of a name made now.
func expectQuietAfter(t *testing.T, hits <-chan Hit, ws string) {
	t.Helper()
	write(t, ws+"/.exrc", "")
	for {
		select {
		case h := <-hits:
			if h.Kind != HitMoved {
				t.Errorf("got %+v", h)
			}
			if h.Path == ws+"/.exrc" {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the guard sleeps")
		}
	}
}
