//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ownedTree fails for everything below dir that is not the user's.
func (u *user) ownedTree(dir string) {
	u.t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			owned(u.t, path)
		}
		return err
	})
	if err != nil {
		u.t.Error(err)
	}
}

// What an agent does in a repository works, is the user's on the host, and the host's git agrees.
func TestGitWorksInEveryKindOfRepository(t *testing.T) {
	const work = `git status; git diff; echo inside >> new.txt; git add new.txt; git commit -qm inside
		git branch fresh; git checkout -q fresh; echo x >> new.txt; git stash -q; git stash pop -q; git checkout -q new.txt; git log --oneline; git checkout -q -; git tag v1; git show --stat; `
	for _, c := range []struct {
		name      string
		setup     string // beside the workspace, which is shop
		work      string // in it
		check     string // there, on the host
		want      string
		elsewhere string // besides the project, where the repository is
	}{
		{"a plain repository", "cp -a ../template/. .", work, "git log --format='%s %an %ae' -1; git status --short", "inside Ann ann@shop.test\n", ""},
		{"none at all", "", "git init -q; echo x > x; git add -A; git commit -qm inside", "git log --format='%s %an' -1", "inside Ann\n", ""},
		{"a linked worktree", "git -C ../template worktree add -q ../shop", work, "git -C ../template log --format=%s -1 shop; git status --short", "inside\n", "template"},
		{"a submodule within", "cp -a ../template/. .", "cd lib; " + work + "cd ..; git add lib; git commit -qm both", "git log --format=%s -1; git -C lib log --format=%s -1; git submodule status | wc -l; git status --short", "both\ninside\n1\n", ""},
		{"a nested repository", "cp -a ../template/. .; git clone -q ../template nested", "cd nested; " + work, "git -C nested log --format=%s -1", "inside\n", ""},
		{"a shallow clone", "git clone -q --depth 1 file://$(realpath ../template) .", work, "git log --format=%s -1; git rev-parse --is-shallow-repository", "inside\ntrue\n", ""},
		{"a bare repository", "git clone -q --bare ../template .", "git log --oneline; git branch topic2; git update-ref refs/heads/topic2 $(git commit-tree -p HEAD -m inside HEAD^{tree}); git gc -q", "git log --format=%s -1 topic2", "inside\n", ""},
		{"packed references", "cp -a ../template/. .; git pack-refs --all", work + "git branch -qD topic; git gc -q; git prune", "git log --format=%s -1; git branch --list topic", "inside\n", ""},
		{"longer names of objects", "git init -q --object-format=sha256 . && git commit -q --allow-empty -m first", work, "git log --format=%s -1", "inside\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			u.gitHome()
			if err := os.Remove(filepath.Join(u.project, "README.md")); err != nil {
				t.Fatal(err)
			}
			u.outside("set -e\n" + c.setup)
			u.box()
			if got := u.inside("box", "(\nset -e\n"+c.work+"\n)\n[ $? = 0 ] && echo WORKED"); !strings.HasSuffix(got, "WORKED\n") || strings.Contains(got, "safe.directory") {
				t.Errorf("inside git says\n%s", got)
			}
			if got := u.outside(c.check); got != c.want {
				t.Errorf("on the host git says %q", got)
			}
			if got := u.outside("git fsck --strict --no-dangling"); strings.Contains(got, "error") || strings.Contains(got, "fatal") {
				t.Errorf("the repository is broken: %s", got)
			}
			u.ownedTree(u.project)
			if c.elsewhere != "" {
				u.ownedTree(filepath.Join(u.home, "src", c.elsewhere))
			}
			notices := u.must("inspect", "box")
			if strings.Contains(notices, "quarantine") {
				t.Errorf("something was moved away: %s", notices)
			}
		})
	}
}

func TestTheRepositorysOwnHooksRunInsideAndStayAsTheyAre(t *testing.T) {
	u := newUser(t)
	u.gitHome()
	u.outside(`cp -a ../template/. . && printf '#!/bin/sh\ntouch ~/hooked\n' > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit`)
	u.box()
	u.inside("box", "git commit -q --allow-empty -m inside")
	if _, err := os.Lstat(filepath.Join(u.home, "hooked")); err == nil {
		t.Error("the hook ran on the host")
	}
	if got := u.inside("box", "ls ~/hooked"); strings.Contains(got, "cannot") {
		t.Errorf("the hook did not run: %s", got)
	}
	if got := u.inside("box", "echo x >> .git/hooks/pre-commit; rm .git/hooks/pre-commit; echo x > .git/hooks/post-commit"); strings.Count(got, "Read-only file system") != 3 {
		t.Errorf("the hooks are not read-only: %s", got)
	}
	u.outside("git commit -q --allow-empty -m outside")
	if _, err := os.Lstat(filepath.Join(u.home, "hooked")); err != nil {
		t.Errorf("the control: on the host the hook does not run: %v", err)
	}
}

// The key is not inside, and git says so in a way that an agent understands.
func TestACommitThatMustBeSignedIsRefusedInside(t *testing.T) {
	u := newUser(t)
	u.gitHome()
	u.outside("cp -a ../template/. . && git config commit.gpgsign true")
	u.box()
	got := u.inside("box", "git commit --allow-empty -m signed; echo code $?")
	if !strings.Contains(got, "gpg failed to sign the data") || strings.Contains(got, "code 0") {
		t.Errorf("git says %q", got)
	}
	if got := u.inside("box", "git commit -q --no-gpg-sign --allow-empty -m unsigned; echo code $?"); got != "code 0\n" {
		t.Errorf("git says %q", got)
	}
	if got := u.outside("git log --format=%s -1"); got != "unsigned\n" {
		t.Errorf("on the host git says %q", got)
	}
}
