//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestClonesLandAsBranches has two agents work on one repository at once, beside the user. What is approved becomes
// a branch; nothing that an agent did to its own repository runs, or is in the user's.
func TestClonesLandAsBranches(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.host("echo dirty > src/main.go; echo untracked > mine.txt")
	before := u.snapshot()
	marks := filepath.Join(u.home, "marks")
	if err := os.Mkdir(marks, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, box := range []string{"one", "two"} {
		out := u.bailey("run", "--clone", "--branch", "bailey/"+box, "--name", box, "--network", "none", "--credentials", "none", "shell", ".", "--", "-ec",
			`cat src/main.go; git status --porcelain; git log --oneline | wc -l; git branch --show-current; test ! -e mine.txt
echo `+box+` > src/main.go; git rm -q docs/old.md; git commit -qam "`+box+`'s own"
git config core.fsmonitor "touch `+marks+`/fsmonitor; :"; git config core.hooksPath hooks; mkdir hooks; printf '#!/bin/sh\ntouch `+marks+`/hook\n' > hooks/reference-transaction; chmod +x hooks/*
git config uploadpack.packObjectsHook "touch `+marks+`/pack"; rm -rf hooks; git fsck`)
		if want := "old\n1\nbailey/" + box + "\n"; out.code != 0 || out.stdout != want {
			t.Errorf("%s: %+v", box, out)
		}
	}
	if after := u.snapshot(); after != before {
		t.Errorf("the repository has changed:\n%s\n%s", before, after)
	}
	if out := u.must("ls"); !strings.Contains(out, "(clone, bailey/one)") {
		t.Errorf("ls: %s", out)
	}
	u.must("diff", "one")
	if out := u.bailey("apply", "one"); out.code != 0 || !strings.Contains(out.stdout, "committed 2 changes to the branch bailey/one of "+u.project) {
		t.Errorf("apply: %+v", out)
	}
	u.must("diff", "two")
	u.must("apply", "two", "src", "-m", "from two")
	if got := u.host(`git log --format='%an %s' bailey/one; git show bailey/one:src/main.go; git ls-tree -r --name-only bailey/one docs
git log --format='%an %s' bailey/two; git show bailey/two:src/main.go; git ls-tree -r --name-only bailey/two docs`); got !=
		"Ann changes by shell in one\nAnn start\none\nAnn from two\nAnn start\ntwo\ndocs/old.md\n" {
		t.Errorf("the branches have %q", got)
	}
	if got := u.host("git for-each-ref --format='%(refname)' | sed 's,refs/heads/,,' | xargs; git status --porcelain; cat src/main.go; git fsck 2>&1 | grep -v dangling || true"); got !=
		"bailey/one bailey/two main\n M src/main.go\n?? mine.txt\ndirty\n" {
		t.Errorf("the user's repository has %q", got)
	}
	// What came later is one commit more, and a branch that is checked out is not moved under its working tree.
	u.inside("one", "echo more >> src/main.go")
	u.must("diff", "one")
	u.host("git stash -q; git switch -q bailey/one")
	if out := u.bailey("apply", "one"); out.code != 125 || !strings.Contains(out.stderr, "the branch bailey/one is checked out") {
		t.Errorf("%+v", out)
	}
	u.host("git switch -q main; git stash pop -q")
	u.must("apply", "one", "-m", "more")
	if got := u.host("git log --format=%s bailey/one; git show bailey/one:src/main.go"); got != "more\nchanges by shell in one\nstart\none\nmore\n" {
		t.Errorf("the branch has %q", got)
	}
	if out := u.must("diff", "--name-only", "one"); out != "" {
		t.Errorf("still to review: %q", out)
	}
	// What was approved is pushed by the user's own git, and a pull request opened by the user's own gh.
	u.host("git init -q --bare ../remote.git; git remote add origin ../remote.git; mkdir -p ../../bin; printf '#!/bin/sh\necho \"gh in $PWD: $*\"\n' > ../../bin/gh; chmod +x ../../bin/gh")
	u.inside("one", "echo unapproved > src/main.go; git commit -qam unapproved")
	u.must("push", "one")
	path := "PATH=" + filepath.Join(u.home, "bin") + ":"
	for i, kv := range u.env {
		if rest, ok := strings.CutPrefix(kv, "PATH="); ok {
			u.env[i] = path + rest
		}
	}
	if out := u.must("pr", "two", "--", "--draft"); !strings.Contains(out, "gh in "+u.project+": pr create --head bailey/two --draft\n") {
		t.Errorf("pr: %q", out)
	}
	if got := u.host("cd ../remote.git; git for-each-ref --format='%(refname)'; git show bailey/one:src/main.go"); got != "refs/heads/bailey/one\nrefs/heads/bailey/two\none\nmore\n" {
		t.Errorf("the remote has %q", got)
	}
	u.must("rm", "-f", "one", "two")
	if entries, err := os.ReadDir(marks); err != nil || len(entries) > 0 {
		t.Errorf("the host executed %v, %v", entries, err)
	}
	u.host("git -c core.fsmonitor='touch " + marks + "/control' status") // the control
	if entries, _ := os.ReadDir(marks); len(entries) != 1 {
		t.Error("the trap is none")
	}
}

func TestWhatCannotBeClonedIsRefused(t *testing.T) {
	u := newUser(t)
	refused := func(want string, args ...string) {
		t.Helper()
		args = append(append([]string{"run", "--clone"}, args...), "shell", ".", "--", "-c", "true")
		if out := u.bailey(args...); out.code != 125 || !strings.Contains(out.stderr, want) {
			t.Errorf("%v: %+v", args, out)
		}
	}
	refused("is in no git repository")
	u.host("git init -q -b main .")
	refused("nothing is committed yet")
	u.repository()
	refused("the branch main exists", "--branch", "main")
	refused("not a valid branch name", "--branch", "a..b")
	if out := u.must("ls", "-aq"); out != "" {
		t.Errorf("left is %q", out)
	}
}
