package workspace

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// describe is a plan's mounts in short: kind and path relative to the workspace or, outside, to base.
func describe(p Plan, ws, base string) (lines []string) {
	for _, m := range p.Mounts {
		kind := map[sandbox.MountKind]string{sandbox.MountBind: "bind", sandbox.MountHidden: "hidden",
			sandbox.MountProtected: "protected", sandbox.MountPinned: "pinned"}[m.Kind]
		if m.Kind == sandbox.MountBind && m.ReadOnly {
			kind = "ro"
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(m.Target, ws), base)
		lines = append(lines, kind+" "+strings.TrimPrefix(rel, "/"))
	}
	return lines
}

func plan(t *testing.T, ws string, opts Options) Plan {
	t.Helper()
	p, err := MakePlan(ws, Direct, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func expectPlan(t *testing.T, p Plan, ws, base string, want ...string) {
	t.Helper()
	if got := describe(p, ws, base); !slices.Equal(got, want) {
		t.Errorf("planned:\n  %s\nwanted:\n  %s\nnotices: %v", strings.Join(got, "\n  "), strings.Join(want, "\n  "), p.Notices)
	}
}

func expectNotice(t *testing.T, p Plan, words ...string) {
	t.Helper()
	for _, word := range words {
		if !slices.ContainsFunc(p.Notices, func(n Notice) bool { return strings.Contains(n.Path+" "+n.Text, word) }) {
			t.Errorf("no notice says %q: %v", word, p.Notices)
		}
	}
	if len(words) == 0 && len(p.Notices) != 0 {
		t.Errorf("notices: %v", p.Notices)
	}
}

// repo makes what git takes for a repository.
func repo(t *testing.T, dir string) {
	t.Helper()
	mkdirs(t, dir+"/objects/info", dir+"/refs/heads", dir+"/logs")
	write(t, dir+"/HEAD", "ref: refs/heads/main\n")
	write(t, dir+"/config", "[core]\n\tbare = false\n")
}

func TestPlanOfAnOrdinaryProject(t *testing.T) {
	ws := tempDir(t)
	repo(t, ws+"/.git")
	mkdirs(t, ws+"/.git/hooks", ws+"/.git/info", ws+"/.husky/_")
	for _, f := range []string{".env", ".env.local", ".env.example", "server.pem", "testdata/server.pem", "deploy/id_ed25519", "a/b/.env",
		"node_modules/x/.env", ".envrc", ".vscode/tasks.json", ".claude/settings.json", ".claude/commands/x.md", "main.go", ".husky/_/.npmrc"} {
		write(t, filepath.Join(ws, f), "x")
	}
	p := plan(t, ws, Options{})
	expectPlan(t, p, ws, "", "bind ", "pinned .claude", "protected .claude/settings.json", "hidden .env", "hidden .env.local", "protected .envrc", "pinned .git", "protected .git/config", "protected .git/hooks",
		"protected .git/info", "protected .husky", "protected .vscode", "hidden a/b/.env",
		"hidden deploy/id_ed25519", "hidden server.pem")
	expectNotice(t, p)

	p, err := MakePlan(ws, ReadOnly, Options{})
	if err != nil {
		t.Fatal(err)
	}
	expectPlan(t, p, ws, "", "ro ", "hidden .env", "hidden .env.local", "hidden a/b/.env", "hidden deploy/id_ed25519", "hidden server.pem")
	if len(p.watch) != 0 {
		t.Errorf("a read-only workspace is guarded: %v", p.watch)
	}
}

func TestPlanWithTheUsersPatterns(t *testing.T) {
	ws := tempDir(t)
	for _, f := range []string{"secrets/a/.envrc", "secrets/b", "x/Makefile", "x/keep", "y/Makefile", "y.secret"} {
		write(t, filepath.Join(ws, f), "x")
	}
	expectPlan(t, plan(t, ws, Options{Hide: []string{"secrets/", "*.secret"}, Protect: []string{"x/Makefile", "x/later"}}), ws, "",
		"bind ", "hidden secrets", "protected x/Makefile", "hidden y.secret")
	for _, bad := range []string{"[", "/etc", "../x", "..", "", "a/../b"} {
		if _, err := MakePlan(ws, Direct, Options{Hide: []string{bad}}); err == nil {
			t.Errorf("the pattern %q is accepted", bad)
		}
	}
}

func TestPlanFollowsLinksOnlyInside(t *testing.T) {
	dir := tempDir(t)
	ws := dir + "/ws"
	repo(t, ws+"/.git")
	mkdirs(t, ws+"/shared-hooks", dir+"/outside", ws+"/cfg")
	write(t, dir+"/outside/settings.json", "")
	write(t, ws+"/cfg/settings.json", "")
	write(t, ws+"/real.env", "")
	symlink(t, "../shared-hooks", ws+"/.git/hooks")
	symlink(t, "cfg", ws+"/.claude")
	symlink(t, dir+"/outside", ws+"/.vscode")
	symlink(t, "missing", ws+"/.idea")
	symlink(t, "real.env", ws+"/.env")
	symlink(t, ws, ws+"/.husky")
	p := plan(t, ws, Options{})
	expectPlan(t, p, ws, "", "bind ", "pinned .git", "protected .git/config", "pinned cfg", "protected cfg/settings.json", "hidden real.env", "protected shared-hooks")
}

func TestPlanProtectsEveryRepositoryInside(t *testing.T) {
	ws := tempDir(t)
	repo(t, ws+"/.git")
	repo(t, ws+"/.git/modules/group/sub")
	repo(t, ws+"/.git/modules/group/sub/modules/deep")
	write(t, ws+"/sub/.git", "gitdir: ../.git/modules/group/sub\n")
	mkdirs(t, ws+"/.git/worktrees/w")
	write(t, ws+"/.git/worktrees/w/gitdir", "/elsewhere/.git\n")
	write(t, ws+"/.git/worktrees/w/commondir", "../..\n")
	repo(t, ws+"/vendor/lib/.git")
	repo(t, ws+"/embedded") // bare
	mkdirs(t, ws+"/embedded/hooks", ws+"/scripts/hooks")
	write(t, ws+"/.git/config", "[core]\n\thooksPath = scripts/hooks\n[include]\n\tpath = ../.gitconfig\n")
	write(t, ws+"/.gitconfig", "")
	p := plan(t, ws, Options{})
	expectPlan(t, p, ws, "", "bind ", "pinned .git", "protected .git/config",
		"pinned .git/modules", "pinned .git/modules/group", "pinned .git/modules/group/sub", "protected .git/modules/group/sub/config",
		"pinned .git/modules/group/sub/modules", "pinned .git/modules/group/sub/modules/deep", "protected .git/modules/group/sub/modules/deep/config",
		"pinned .git/worktrees", "pinned .git/worktrees/w", "protected .git/worktrees/w/commondir", "protected .git/worktrees/w/gitdir", "protected .gitconfig",
		"pinned embedded", "protected embedded/config", "protected embedded/hooks", "pinned scripts", "protected scripts/hooks", "pinned sub", "protected sub/.git",
		"pinned vendor", "pinned vendor/lib", "pinned vendor/lib/.git", "protected vendor/lib/.git/config")
}

func TestAnAgentCannotSwitchProtectionOff(t *testing.T) {
	ws := tempDir(t)
	repo(t, ws+"/.git")
	write(t, ws+"/.env", "")
	before := describe(plan(t, ws, Options{}), ws, "")
	repo(t, ws) // the top of the project now looks like a bare repository
	after := describe(plan(t, ws, Options{}), ws, "")
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("%q is gone", line)
		}
	}
}

func TestPlanTellsWhatItCannotKeep(t *testing.T) {
	ws := tempDir(t)
	write(t, ws+"/.envrc", "")
	if err := os.Link(ws+"/.envrc", ws+"/alias"); err != nil {
		t.Fatal(err)
	}
	write(t, ws+"/lost/.git", "gitdir: /nowhere\n")
	write(t, ws+"/odd/.git", "not a pointer")
	symlink(t, "/etc", ws+"/far/.git")
	p := plan(t, ws, Options{})
	expectNotice(t, p, ".envrc has another hard link", "lost/.git leads nowhere", "odd/.git cannot be read", "far/.git leads out")
	expectPlan(t, p, ws, "", "bind ", "protected .envrc", "pinned lost", "protected lost/.git", "pinned odd", "protected odd/.git")
}

func TestSocketsOfTheHostAreHidden(t *testing.T) {
	ws := tempDir(t)
	t.Chdir(ws) // a socket's path is short
	l, err := net.Listen("unix", "s.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expectPlan(t, plan(t, ws, Options{}), ws, "", "bind ", "hidden s.sock")
}

func TestPlanIsBounded(t *testing.T) {
	p := &planner{ws: tempDir(t), left: budget{dirs: 3, end: time.Now().Add(time.Hour)}, kinds: map[string]sandbox.MountKind{}}
	p.plan.watch = map[string]map[string]file{}
	for i := range 5 {
		write(t, fmt.Sprintf("%s/%d/.env", p.ws, i), "")
	}
	var err error
	if p.tree, err = beneath.Open(p.ws); err != nil {
		t.Fatal(err)
	}
	defer p.tree.Close()
	p.walk()
	if len(p.kinds) != 2 {
		t.Errorf("found %v", p.kinds)
	}
	expectNotice(t, p.plan, "as far as the search")
}

func TestWorktreePointersAreFollowedOnlyBothWays(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(dir string)
		good  bool
	}{
		"a real worktree": {func(string) {}, true},
		"relative pointers": {func(dir string) {
			write(t, dir+"/ws/.git", "gitdir: ../main/.git/worktrees/w")
			write(t, dir+"/main/.git/worktrees/w/gitdir", "../../../../ws/.git\n")
		}, true},
		"another workspace's worktree": {func(dir string) { write(t, dir+"/main/.git/worktrees/w/gitdir", dir+"/other/.git\n") }, false},
		"the main repository itself":   {func(dir string) { write(t, dir+"/ws/.git", "gitdir: "+dir+"/main/.git\n") }, false},
		"a common directory elsewhere": {func(dir string) { write(t, dir+"/main/.git/worktrees/w/commondir", dir+"/other\n") }, false},
		"no back-pointer":              {func(dir string) { os.Remove(dir + "/main/.git/worktrees/w/gitdir") }, false},
		"no repository":                {func(dir string) { os.Remove(dir + "/main/.git/HEAD") }, false},
		"the parent of all": {func(dir string) {
			repo(t, dir)
			mkdirs(t, dir+"/worktrees/w")
			write(t, dir+"/worktrees/w/gitdir", dir+"/ws/.git\n")
			write(t, dir+"/worktrees/w/commondir", "../..\n")
			write(t, dir+"/ws/.git", "gitdir: "+dir+"/worktrees/w\n")
		}, false},
	} {
		t.Run(what, func(t *testing.T) {
			dir := tempDir(t)
			ws, main := dir+"/ws", dir+"/main/.git"
			repo(t, main)
			mkdirs(t, ws, dir+"/other", main+"/worktrees/w")
			write(t, main+"/worktrees/w/gitdir", ws+"/.git\n")
			write(t, main+"/worktrees/w/commondir", "../..\n")
			write(t, ws+"/.git", "gitdir: "+main+"/worktrees/w\n")
			c.spoil(dir)
			p := plan(t, ws, Options{})
			if !c.good {
				expectPlan(t, p, ws, dir, "bind ", "protected .git")
				expectNotice(t, p, "not shown")
				return
			}
			expectNotice(t, p)
			expectPlan(t, p, ws, dir, "bind ", "protected .git", "ro main/.git", "bind main/.git/worktrees/w",
				"protected main/.git/worktrees/w/gitdir", "protected main/.git/worktrees/w/commondir",
				"bind main/.git/objects", "bind main/.git/refs", "bind main/.git/logs", "protected main/.git/objects/info")
		})
	}
}

func TestSubmodulePointersAreFollowedOnlyBothWays(t *testing.T) {
	for named, good := range map[string]bool{"../../../sub": true, "../../../other": false, "/": false} {
		dir := tempDir(t)
		ws, gitDir := dir+"/sub", dir+"/.git/modules/sub"
		repo(t, gitDir)
		mkdirs(t, ws, dir+"/other")
		write(t, gitDir+"/config", "[core]\n\tworktree = "+named+"\n")
		write(t, ws+"/.git", "gitdir: ../.git/modules/sub\n")
		p := plan(t, ws, Options{})
		if good {
			expectPlan(t, p, ws, dir, "bind ", "protected .git", "bind .git/modules/sub", "protected .git/modules/sub/config")
			expectNotice(t, p)
		} else {
			expectPlan(t, p, ws, dir, "bind ", "protected .git")
			expectNotice(t, p, "not shown")
		}
	}
}

func FuzzGitFiles(f *testing.F) {
	for _, seed := range []string{"gitdir: ../x\n", "gitdir: \n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if target, err := parseGitFile(data); err == nil && (target == "" || strings.ContainsAny(target, "\n\x00")) {
			t.Errorf("target %q", target)
		}
	})
}
