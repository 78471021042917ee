//go:build linux

package escape

import (
	"os"
	"path/filepath"
	"strings"
)

// hostGit is what a user does in a project without thinking; whatever it executes makes the marker.
const hostGit = "{ git status; git diff; git log -1 --stat; git add -A; git commit -qm host; git checkout -q -b other; git stash; } >/dev/null 2>&1; test -e $HX && echo WON; true"

const commitWorks = "git add -A && git commit -q --allow-empty -m inside && git log --oneline | grep inside"

// projectCases have the host execute something later: through git, and through what exists in the project.
func projectCases() []attack {
	git := func(id, script string) attack {
		return attack{id: id, group: "project", setup: "true", script: script, witness: hostGit, works: commitWorks, settle: "true"}
	}
	payload := `printf '#!/bin/sh\ntouch %s\n' "$HX" > payload; chmod +x payload; `
	set := func(key, value string) attack {
		return git("git-config-"+strings.ToLower(strings.ReplaceAll(key, ".", "-")), payload+"git config "+key+" "+value)
	}
	attributes := func(key, attribute string) attack {
		return git("git-attribute-"+strings.ReplaceAll(key, ".", "-"),
			payload+"git config "+key+" $P/payload; echo '* "+attribute+"' > .gitattributes; echo more >> README.md; echo x > later.txt")
	}
	hook := func(name string) attack {
		return git("git-hook-"+name, payload+"cp payload .git/hooks/"+name)
	}
	list := []attack{
		set("core.fsmonitor", "$P/payload"), set("core.hooksPath", "$P; cp payload post-checkout; cp payload pre-commit"),
		set("alias.status", "'!touch $HX'; git config core.fsmonitor $P/payload"), set("include.path", "$P/more; printf '[core]\\nfsmonitor=%s\\n' $P/payload > more"),
		attributes("diff.evil.textconv", "diff=evil"), attributes("diff.evil.command", "diff=evil"), attributes("filter.evil.clean", "filter=evil"),
		set("commit.gpgSign", "true; git config gpg.program $P/payload"), set("diff.external", "$P/payload; echo more >> README.md"),
		hook("post-checkout"), hook("pre-commit"), hook("post-commit"), hook("post-index-change"),
		git("git-config-appended", payload+`printf '[core]\n fsmonitor = %s\n' $P/payload >> .git/config`),
		git("git-config-replaced", payload+`cp .git/config c; printf '[core]\n fsmonitor = %s\n' $P/payload >> c; mv -f c .git/config`),
		git("git-config-exchanged", payload+`cp .git/config c; printf '[core]\n fsmonitor = %s\n' $P/payload >> c; $PROBE exchange c .git/config`),
		git("git-config-linked-hard", payload+`$PROBE link .git/config lk; printf '[core]\n fsmonitor = %s\n' $P/payload >> lk`),
		git("git-config-of-the-worktree", payload+`git config extensions.worktreeConfig true; printf '[core]\n fsmonitor = %s\n' $P/payload > .git/config.worktree`),
		git("git-directory-moved", payload+`mv .git .git.aside && cp -r .git.aside .git; git config core.fsmonitor $P/payload`),
		git("git-directory-exchanged", payload+`cp -r .git g2; printf '[core]\n fsmonitor = %s\n' $P/payload >> g2/config; $PROBE exchange g2 .git`),
		git("git-directory-removed", payload+`rm -rf .git; git init -q . ; git config core.fsmonitor $P/payload`),
		git("git-hooks-moved", payload+`mv .git/hooks h; mkdir .git/hooks; cp payload .git/hooks/post-checkout; cp payload .git/hooks/pre-commit`),
		git("git-common-directory", payload+`cp -r .git /tmp/g$$; cp -r .git g; printf '[core]\n fsmonitor = %s\n' $P/payload >> g/config; echo $P/g > .git/commondir`),
	}
	nested := git("git-nested-repository-moved", payload+`mv lib old; cp -r old lib; cd lib && rm -rf .git && cp -r ../old/.git . && git config core.fsmonitor $P/payload`)
	nested.setup = "git init -q lib && (cd lib && git -c user.name=a -c user.email=a@b.test commit -q --allow-empty -m x)"
	nested.witness = "cd lib && git status >/dev/null 2>&1; test -e $HX && echo WON; true"
	deep := nested
	deep.id = "git-nested-repository-moved-from-above"
	deep.setup = "mkdir -p vendor/deep && git init -q vendor/deep/lib && (cd vendor/deep/lib && git -c user.name=a -c user.email=a@b.test commit -q --allow-empty -m x)"
	deep.script = payload + "mv vendor old; cp -r old vendor; cd vendor/deep/lib && git config core.fsmonitor $P/payload"
	deep.witness = "cd vendor/deep/lib && git status >/dev/null 2>&1; test -e $HX && echo WON; true"
	hooksPath := git("git-hooks-path-of-the-project-moved", payload+"mv tools old; mkdir -p tools/hooks; cp payload tools/hooks/pre-commit; cp payload tools/hooks/post-checkout")
	hooksPath.setup = "mkdir -p tools/hooks && printf '#!/bin/sh\ntrue\n' > tools/hooks/pre-commit && chmod +x tools/hooks/pre-commit && git config core.hooksPath tools/hooks"
	alternates := attack{id: "git-alternates-behind-moved-objects", group: "project", setup: "git -C $HW init -q; true",
		script:  "mv .git/objects .git/o2; mkdir -p .git/objects/info; cp -r .git/o2/* .git/objects/; echo $HW/.git/objects > .git/objects/info/alternates",
		settle:  "test ! -e .git/objects/info/alternates",
		witness: "test -e .git/objects/info/alternates && echo WON; true"}
	bare := git("git-project-made-a-bare-repository", payload+`git init -q --bare b; mv b/* .; git --git-dir=$P config core.bare false; git --git-dir=$P config core.worktree $P; git --git-dir=$P config core.fsmonitor $P/payload`)
	bare.setup = "rm -rf .git"
	bare.works = ""
	fresh := git("git-repository-made-by-the-agent", payload+"git init -q new; git -C new config core.fsmonitor $P/payload")
	fresh.witness = "cd new && git status >/dev/null 2>&1; test -e $HX && echo WON; true"
	fresh.works = "git commit -q --allow-empty -m x"
	fresh.documented = "a repository that the agent makes has its configuration until somebody has looked, within seconds"
	rebase := git("git-rebase-under-way", payload+`git -c user.name=a -c user.email=a@b.test commit -q --allow-empty -m two; GIT_SEQUENCE_EDITOR="sed -i '1i break'" git rebase -q -i HEAD~1; echo "exec $P/payload" > .git/rebase-merge/git-rebase-todo`)
	rebase.witness = "git rebase --continue >/dev/null 2>&1; test -e $HX && echo WON; true"
	rebase.works, rebase.documented = "", "a rebase that the agent left half done runs its commands when the user continues it"
	builds := attack{id: "build-files-and-tests", group: "project", setup: "printf 'all:\\n\\ttrue\\n' > Makefile",
		script: `printf 'all:\n\ttouch %s\n' "$HX" > Makefile`, witness: "perl -e 1; sh -c \"$(sed -n 's/^\\t//p' Makefile)\"; test -e $HX && echo WON; true",
		documented: "the agent may write build files: read them before you build outside"}
	for i := range list {
		if list[i].id == "git-directory-removed" {
			list[i].works = "" // the history is the agent's to destroy: objects must be writable
		}
	}
	return append(list, nested, deep, hooksPath, alternates, bare, fresh, rebase, builds,
		attack{id: "worktree-pointer-forged", group: "project", own: forgedPointer("gitdir: $HW/.git")},
		attack{id: "worktree-pointer-forged-relative", group: "project", own: forgedPointer("gitdir: ../../elsewhere/.git")},
		attack{id: "worktree-pointer-forged-through-a-link", group: "project", own: forgedPointer("gitdir: $P/w")},
		attack{id: "agent-state-as-a-bridge", group: "project", own: stateBridge},
		attack{id: "project-cannot-loosen-the-policy", group: "project", setup: "true",
			script: `mkdir -p .bailey .config/bailey ~/.config/bailey; for f in .bailey.yaml bailey.yaml .bailey/config.yaml .config/bailey/config.yaml ~/.config/bailey/config.yaml; do
printf 'network: allow\nbackend: none\nvolumes: ["%s"]\n' $HW > $f; done; echo WON`,
			weaker:  "touch $HOME/.config-written; mkdir -p $HOME/.config/weak && touch $HOME/.config/weak/x; echo WON",
			witness: "test -e $HOME/.config/weak/x && rm -r $HOME/.config/weak && echo WON; test -e $HOME/.config/bailey/config.yaml && echo WON; true"},
	)
}

// forgedPointer lets one run leave a .git file that names another repository, and starts a second one.
func forgedPointer(text string) func(*trial) verdict {
	return func(tr *trial) verdict {
		w, t := tr.w, tr.t
		w.outside(t, w.shared, "rm -rf $HW/.git; cd $HW && git init -q . && git -c user.name=a -c user.email=a@b.test commit -q --allow-empty -m GITCANARY")
		p := w.newProject(t, tr.id, "rm -rf .git")
		script := "printf '" + strings.ReplaceAll(text, "$P", p.dir) + "\\n' | sed \"s|[$]HW|$HW|\" > .git; ln -s $HW/.git w; cat .git"
		v := verdict{control: "held"}
		w.outside(t, p, script)
		if strings.Contains(w.outside(t, p, "git log --oneline"), "GITCANARY") {
			v.control = "lost"
		}
		out, code := w.run(t, p, "create", "--name", p.box, "shell", p.dir)
		if code == 0 {
			defer w.remove(t, p)
			out, code = w.run(t, p, "start", p.box)
		}
		if code != 0 { // refusing is right too, with a reason
			v.ran, v.reason = true, "the start is refused"
			t.Log(out)
			return v
		}
		got := w.inside(t, p, "echo RAN; git log --oneline; cat $HW/.git/HEAD $HW/canary; ls $HW; touch $HW/.git/config")
		t.Log(got)
		v.ran = strings.HasPrefix(got, "RAN")
		v.won = strings.Contains(got, "GITCANARY") || strings.Contains(got, "refs/heads") || strings.Contains(got, "CANARY\n")
		return v
	}
}

// stateBridge writes all over the sandbox's home and compares the host's.
func stateBridge(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	w.start(t, p)
	defer w.remove(t, p)
	script := `mkdir -p ~/.claude ~/.codex ~/.ssh ~/.config/git; for f in .claude/settings.json .claude/CLAUDE.md .codex/config.toml .ssh/config .ssh/authorized_keys .bashrc .profile .gitconfig .config/git/config; do echo BRIDGED >> ~/$f; done
ln -sf $HC ~/.claude.json; true`
	bridged := func() bool {
		return strings.Contains(w.outside(t, p, "grep -rl BRIDGED $HOME/.claude $HOME/.codex $HOME/.ssh $HOME/.config/git $HOME/.bashrc $HOME/.profile $HOME/.gitconfig 2>/dev/null; grep -v '^CANARY$' $HC"), "/") ||
			w.outside(t, p, "cat $HC") != "CANARY\n"
	}
	v := verdict{control: "held"}
	w.jail(t, p, nil, "cp -a ~/.bashrc ~/.bashrc.kept; echo BRIDGED >> ~/.bashrc")
	if bridged() {
		v.control = "lost"
	}
	w.outside(t, p, "mv ~/.bashrc.kept ~/.bashrc")
	out := w.inside(t, p, "echo RAN\n"+script)
	t.Log(out)
	v.ran = strings.HasPrefix(out, "RAN")
	w.must(t, p, "stop", p.box)
	// The next start seeds the home, which now has a link to a file of the host's.
	_, _ = w.run(t, p, "start", p.box)
	if _, err := os.Stat(filepath.Join(w.home, ".claude/settings.json")); err == nil {
		v.won = true
	}
	v.won = v.won || bridged()
	return v
}
