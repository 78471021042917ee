//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// bite is what an agent writes so that the host's git executes EVIL later.
type bite struct {
	name   string
	attack string // in a repository with the commits of newRepository
	host   string // what the user does beside the usual; in the repository
}

// evil is what must not run on the host. Its file appears in the home of whoever runs it, and the sandbox has
// its own.
const evil = `touch ~/bitten; :`

// bites come in three kinds: what a repository's own files can be made to do; what a repository
// within it can; and what git takes for a repository.
func bites() []bite {
	armed := "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = \"" + evil + "\"\n"
	hook := "#!/bin/sh\n" + evil + "\n"
	nested := "git init -q sub && git -C sub commit -q --allow-empty -m s && "
	return []bite{
		{"a hook", write(".git/hooks/post-checkout", hook) + "chmod +x .git/hooks/post-checkout", ""},
		{"a hook in another directory", "mkdir h && " + write("h/post-checkout", hook) + "chmod +x h/post-checkout; git config core.hooksPath h", ""},
		{"a program that watches files", config("core.fsmonitor"), ""},
		{"an SSH command", config("core.sshCommand"), "git fetch ssh"},
		{"a pager", config("core.pager"), "script -qc 'git log' /dev/null"},
		{"an editor", config("core.editor"), "EDITOR=true git commit --amend"},
		{"an alias", "git config alias.st " + shell("!"+evil), "git st"},
		{"a credential helper", "git config credential.helper " + shell("!"+evil), "printf 'protocol=https\nhost=x.test\n\n' | GIT_TERMINAL_PROMPT=0 git credential fill"},
		{"an external diff", "echo more >> f;" + config("diff.external"), ""},
		{"a text conversion", "echo 'f diff=x' > .gitattributes; echo more >> f;" + config("diff.x.textconv"), ""},
		{"a text conversion by private attributes", write(".git/info/attributes", "f diff=x\n") + "echo more >> f;" + config("diff.x.textconv"), ""},
		{"a clean filter", "echo 'f filter=x' > .gitattributes; echo more >> f;" + config("filter.x.clean"), ""},
		{"a smudge filter", "echo 'f filter=x' > .gitattributes;" + config("filter.x.smudge"), "rm f; git checkout f"},
		{"a merge driver", "echo 'f merge=x' > .gitattributes;" + config("merge.x.driver"), "git commit -qam more; git merge topic"},
		{"a signing program", write("gpg", hook) + "chmod +x gpg; git config gpg.program ./gpg", "git commit --allow-empty -S -m signed"},
		{"an included configuration", write("conf", armed) + "git config include.path ../conf", ""},
		{"another address", "git config url.'ext::sh -c touch% ~/bitten% #'.insteadOf https://x.test/ && git config protocol.ext.allow always", "git ls-remote https://x.test/y"},
		{"a configuration for one working tree", "git config extensions.worktreeConfig true;" + write(".git/config.worktree", armed), ""},
		{"another common directory", "git init -q --bare other && " + write("other/config", armed) + "cp .git/HEAD other/ && echo ../other > .git/commondir", ""},
		{"another .git", "mv .git old && cp -r old .git && " + config("core.fsmonitor"), ""},
		{"a file for .git", "mv .git old && " + write("old/config", armed) + "echo gitdir: old > .git", ""},
		{"a link for .git", "mv .git old && " + write("old/config", armed) + "ln -s old .git", ""},
		{"a configuration replaced", write("new", armed) + "mv new .git/config", ""},

		{"a repository within, recorded", nested + "git add sub; git -C sub config core.fsmonitor " + shell(evil), ""},
		{"a repository within, to be added by the user", nested + "git -C sub config core.fsmonitor " + shell(evil), "git status"},
		{"a repository within, of another branch", nested + `git -C sub config core.fsmonitor ` + shell(evil) + `
			tree=$( (git ls-tree HEAD; printf '160000 commit %s\tsub\n' $(git -C sub rev-parse HEAD)) | git mktree --missing)
			git branch other $(git commit-tree -p HEAD -m other $tree)`, "git checkout -f other"},
		{"a repository deep within, recorded", "mkdir -p a/b && git init -q a/b/c && git -C a/b/c commit -q --allow-empty -m s && git add a/b/c; git -C a/b/c config core.fsmonitor " + shell(evil), ""},
		{"a repository moved to where one is recorded", "mkdir -p x/d && git init -q x/d/sub && git -C x/d/sub commit -q --allow-empty -m s && git -C x/d/sub config core.fsmonitor " + shell(evil) +
			" && git update-index --add --cacheinfo 160000,$(git -C x/d/sub rev-parse HEAD),y/d/sub && mv x y", ""},
		{"a repository within, in a split index", nested + "git add sub; git update-index --split-index; git -C sub config core.fsmonitor " + shell(evil), ""},
		{"a repository within, in a compressed index", nested + "git add sub; git update-index --index-version 4; git -C sub config core.fsmonitor " + shell(evil), ""},
		{"a hook of a repository within", nested + "git add sub;" + write("sub/.git/hooks/post-index-change", hook) + "chmod +x sub/.git/hooks/post-index-change; echo > sub/f; git -C sub add f; touch sub/f", ""},
		{"a submodule of the agent's", "mkdir -p .git/modules sub && git init -q --separate-git-dir .git/modules/sub sub && git -C sub commit -q --allow-empty -m s && git add sub; git config -f .git/modules/sub/config core.fsmonitor " + shell(evil), ""},
		{"a submodule's way to update", "git config submodule.lib.update " + shell("!"+evil), "git -C lib commit -q --allow-empty -m more; git submodule update"},
		{"the user's submodule", "git -C lib config core.fsmonitor " + shell(evil), ""},
		{"a hook of the user's submodule", write(".git/modules/lib/hooks/post-index-change", hook) + "chmod +x .git/modules/lib/hooks/post-index-change; touch lib/f; echo > lib/g; git -C lib add g", ""},
		{"another repository for the user's submodule", "rm lib/.git && git init -q lib && git -C lib config core.fsmonitor " + shell(evil), ""},
		{"a working tree of the agent's", "git worktree add -q wt && " + "git init -q --bare other && " + write("other/config", armed) + "cp .git/HEAD other && echo ../../../other > .git/worktrees/wt/commondir", "cd wt && git status"},

		{"what looks like a bare repository", "mkdir -p src/objects src/refs && cp .git/HEAD src/ && " + write("src/config", armed+"\tbare = false\n\tworktree = .\n"), "cd src && git status"},
		{"a directory that looks like one in place of .git", "rm .git/HEAD && mkdir objects refs && echo ref: refs/heads/x > HEAD && " + write("config", armed+"\tbare = false\n\tworktree = .\n"), ""},
		{"a pointer to another place", "mkdir -p ptr ~/far && git init -q --bare ~/far/away && " + write("~/far/away/config", armed) + "echo gitdir: ~/.local/state/bailey/sandboxes/box/home/far/away > ptr/.git && mkdir -p ~/.local/state/bailey/sandboxes/box/home && cp -r ~/far ~/.local/state/bailey/sandboxes/box/home/", "cd ptr && git status"},
	}
}

func config(key string) string { return "git config " + key + " " + shell(evil) }

// write is a command that makes a file; a path may start with ~.
func write(path, content string) string { return "printf %s " + shell(content) + " > " + path + "\n" }

// usual is what a user does in a repository after an agent was there.
const usual = `git status; git diff; git log -p; echo user >> f; git add -A; git commit -m user; git checkout -b user; git status`

// gitHome gives the user a git configuration and, in ../template, a repository with a submodule and two branches
// that do not merge.
func (u *user) gitHome() {
	u.t.Helper()
	u.write(".gitconfig", "[user]\n\tname = Ann\n\temail = ann@shop.test\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n")
	u.outside(`set -e
		git init -q ../library && git -C ../library commit -q --allow-empty -m library
		git init -q ../template && cd ../template
		git remote add ssh ssh://x.test/y
		git -c protocol.file.allow=always submodule --quiet add ../library lib
		echo 1 > f && git add f && git commit -qm first
		git checkout -q -b topic && echo 2 > f && git commit -qam topic
		git checkout -q main && echo 3 > f && git commit -qam second`)
}

// bitten reports whether the host ran EVIL since the last time.
func (u *user) bitten() bool { return os.Remove(filepath.Join(u.home, "bitten")) == nil }

func TestNothingAnAgentWritesIsRunByTheHostsGit(t *testing.T) {
	u := newUser(t)
	u.gitHome()
	all := bites()
	for i, b := range all {
		dir := fmt.Sprintf("%02d", i)
		u.outside("cp -a ../template " + dir)
		out := u.outside("cp -a ../template ../control && cd ../control && { " + b.attack + "\n}")
		u.bitten() // by itself
		out += u.outside("cd ../control && { " + usual + "\n" + b.host + "\n}")
		if !u.bitten() {
			t.Fatalf("%s: the control shows that the attack does not even work without a sandbox:\n%s", b.name, out)
		}
		u.outside("rm -rf ../control ~/far ~/.local/state/bailey/sandboxes/box")
	}
	u.box()
	for i, b := range all {
		u.inside("box", fmt.Sprintf("cd %02d && { %s\n}", i, b.attack))
	}
	u.swept()
	for i, b := range all {
		out := u.outside(fmt.Sprintf("cd %02d && { %s\n%s\n}", i, usual, b.host))
		if u.bitten() {
			t.Errorf("%s: it ran:\n%s", b.name, out)
		}
	}
}

// swept waits until the guards have seen everything that is in the project now.
func (u *user) swept() {
	u.t.Helper()
	canary := filepath.Join(u.project, "zz/canary/.git/config.worktree")
	for range 2 { // the first time may be in the middle of a sweep
		u.inside("box", "mkdir -p zz && git init -q zz/canary && echo > .exrc && echo '[alias]' > zz/canary/.git/config.worktree")
		gone := func() bool {
			_, err1 := os.Lstat(canary)
			_, err2 := os.Lstat(filepath.Join(u.project, ".exrc"))
			return os.IsNotExist(err1) && os.IsNotExist(err2)
		}
		if !machine.Poll(time.Minute, gone) {
			u.t.Fatal("the guards sleep")
		}
	}
}
