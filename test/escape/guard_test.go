//go:build linux

package escape

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// guardCases make names that the host executes and that did not exist, or stand under another name.
func guardCases() []attack {
	var list []attack
	for _, name := range []string{
		".envrc", ".vscode/tasks.json", ".idea/workspace.xml", ".devcontainer/devcontainer.json", ".husky/pre-commit", ".githooks/pre-commit",
		".claude/settings.json", ".claude/settings.local.json", ".claude/hooks/x", ".mcp.json", ".codex/config.toml", ".cursor/mcp.json",
		".gemini/settings.json", ".npmrc", ".yarnrc.yml", ".cargo/config.toml", ".hg/hgrc", ".direnv/x.rc", ".dir-locals-2.el", "mise.local.toml",
		".config/mise.toml", "lefthook.yaml", "rust-toolchain.toml", ".git/remotes/origin",
	} {
		list = append(list, appears("appears-"+strings.Trim(strings.NewReplacer("/", "-", ".", "-").Replace(name), "-"), name,
			fmt.Sprintf("mkdir -p %s; echo evil > %s", path.Dir(name), name)))
	}
	chmod := appears("guard-cannot-enter-the-directory", ".envrc", "mkdir -m 000 .claude; echo evil > .envrc")
	readOnly := appears("guard-cannot-move-a-read-only-directory", ".vscode", "mkdir x; echo evil > x/tasks.json; chmod 555 x; mv x .vscode")
	closed := appears("guard-shut-out-of-a-directory", ".claude/settings.json", "echo evil > evil; mv evil .claude/settings.json; chmod 000 .claude")
	closed.setup = "mkdir .claude; touch .claude/notes"
	closed.settle = "chmod 700 .claude; test ! -e .claude/settings.json"
	closed.witness = "chmod 700 .claude; test -e .claude/settings.json && echo WON; true"
	top := appears("guard-shut-out-of-the-project", ".envrc", "echo evil > .envrc; chmod 000 .")
	top.settle, top.witness = "chmod 755 $P; test ! -e $P/.envrc", "chmod 755 $P; test -e $P/.envrc && echo WON; true"
	top.works = ""
	parent := appears("parent-of-a-protected-file-moved", ".claude/settings.json",
		"mv .claude old; mkdir .claude; echo evil > .claude/settings.json; mkdir n; echo evil > n/settings.json; mv .claude o2; mv n .claude")
	parent.setup = "mkdir .claude; echo '{}' > .claude/settings.json"
	parent.settle = "grep -q '{}' .claude/settings.json"
	parent.witness = "grep -q evil .claude/settings.json && echo WON; true"
	link := appears("parent-of-a-linked-directory-moved", ".husky", "mv tools old; mkdir -p tools/husky; echo evil > tools/husky/pre-commit")
	link.setup = "mkdir -p tools/husky; echo good > tools/husky/pre-commit; ln -s tools/husky .husky"
	link.settle, link.witness = "true", "grep -q evil .husky/pre-commit && echo WON; true"
	replaced := appears("linked-directory-replaced", ".vscode", "rm .vscode; mkdir .vscode; echo evil > .vscode/tasks.json")
	replaced.setup = "mkdir shared; echo good > shared/tasks.json; ln -s shared .vscode"
	replaced.witness = "grep -q evil .vscode/tasks.json && echo WON; true"
	loop := appears("guard-in-a-loop", ".envrc", "i=0; while [ $i -lt 300 ]; do echo evil > .envrc; mkdir -p .vscode; echo evil > .vscode/tasks.json; i=$((i+1)); done 2>/dev/null")
	inotify := appears("guard-starved-of-watches", ".envrc", "HOLD=2s $PROBE watches 100000 & while ! grep -q HOLDING $P/log 2>/dev/null; do test -d /proc/$! || break; i=$((i+1)); test $i -gt 40 && break; sleep 0.05; done; rm -rf .codex; mkdir .codex .gemini .cursor .roo .yarn .cargo .opencode; echo evil > .envrc; wait")
	other := appears("guard-on-another-file-system", ".envrc", "")
	other.own = otherFileSystem
	deeper := appears("appears-below-the-top", "packages/a/.vscode/tasks.json", "mkdir -p packages/a/.vscode; echo evil > packages/a/.vscode/tasks.json")
	deeper.settle = ""
	deeper.documented = "names are watched at the tops of the workspace and of its repositories, not in every directory"
	saved := attack{id: "secret-replaced-on-the-host", group: "files", own: secretReplaced,
		documented: "a program on the host that saves a hidden or protected file by renaming undoes the sandbox's mount on it"}
	return append(list, chmod, readOnly, closed, top, parent, link, replaced, loop, inotify, other, deeper, saved)
}

// appears is a case about a protected name: it must not be there when the guards have done their work.
func appears(id, name, script string) attack {
	return attack{id: id, group: "project", setup: "true", script: script,
		settle: "test ! -e " + name, witness: "test -e " + name + " && echo WON; true", works: "echo x > free && mkdir -p d && mv free d/ && test -e d/free"}
}

// otherFileSystem has the project where the quarantine is not.
func otherFileSystem(tr *trial) verdict {
	w, t := tr.w, tr.t
	dir, err := os.MkdirTemp("/dev/shm", "bailey-escape-")
	if err != nil {
		return verdict{na: "no second file system: " + err.Error()}
	}
	t.Cleanup(func() {
		_ = os.Chmod(filepath.Join(dir, "project", ".vscode"), 0o755)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := &project{dir: filepath.Join(dir, "project"), box: tr.id}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.start(t, p)
	defer w.remove(t, p)
	v := verdict{control: "held"}
	script := "echo evil > .envrc; mkdir .vscode; echo evil > .vscode/tasks.json; chmod 555 .vscode; echo RAN"
	v.ran = strings.Contains(w.inside(t, p, script), "RAN")
	exists := func() bool {
		return w.outside(t, p, "test -e .envrc -o -e .vscode && echo THERE; true") != ""
	}
	v.won = !machine.Poll(w.patience()/3, func() bool { return !exists() })
	t.Log(w.outside(t, p, "ls -la"))
	w.jail(t, p, nil, script)
	w.must(t, p, "stop", p.box)
	w.jail(t, p, nil, "chmod 755 .vscode; "+script)
	if exists() {
		v.control = "lost"
	}
	return v
}

// secretReplaced saves the hidden file as editors do.
func secretReplaced(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	w.start(t, p)
	defer w.remove(t, p)
	v := verdict{control: "lost"}
	if got := w.inside(t, p, "cat .env"); got != "" {
		t.Errorf("before it was replaced the secret reads %q", got)
	}
	w.outside(t, p, "echo A=CANARY > .env.new && mv .env.new .env")
	out := w.inside(t, p, "echo RAN; cat .env")
	v.ran, v.won = strings.HasPrefix(out, "RAN"), strings.Contains(out, "CANARY")
	if v.won {
		v.reason = tr.documented
	}
	return v
}
