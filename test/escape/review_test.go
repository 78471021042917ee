//go:build linux

package escape

import (
	"os"
	"strings"
)

// arm makes whatever a repository can make execute, and changes a file that is looked at.
const arm = `git config user.name evil; printf '#!/bin/sh\ntouch "%s"\ncat\n' "$HX" > payload; chmod +x payload
for key in core.fsmonitor core.pager diff.external diff.evil.textconv diff.evil.command filter.evil.clean filter.evil.smudge gpg.program credential.helper core.sshCommand core.editor; do git config $key "$P/payload"; done
git config commit.gpgsign true; git config core.hooksPath .githooks; mkdir -p .githooks
for hook in pre-commit post-commit commit-msg post-index-change post-checkout reference-transaction pre-push; do cp payload .git/hooks/$hook; cp payload .githooks/$hook; done
printf '* filter=evil diff=evil\n' > .gitattributes; mkdir -p .git/info; cp .gitattributes .git/info/attributes
git init -q nested; git -C nested config core.fsmonitor "$P/payload"; echo nested > nested/file
ln -s "$HW" out; echo changed >> README.md; rm src/main.c; echo new > src/new.c
`

// reviewCases attack whoever reviews: what the agent wrote is read, shown and taken over on the host.
func reviewCases() []attack {
	const marked = "sleep 0.2; test -e $HX && echo WON; true"
	// naive is what people do on the host with a project that they have not kept apart, approve what they do with bailey;
	// that must say shows.
	review := func(id, script, naive, approve, shows, witness string) attack {
		return attack{id: id, group: "review", script: script, witness: witness, own: func(tr *trial) verdict { return tr.review(naive, approve, shows) }}
	}
	return []attack{
		review("reading-executes-nothing", arm, "git status; git diff; git add -A", "$B diff; $B diff --stat; $B diff --json; $B diff --name-only; $B apply --patch ../patch-of-it README.md", "+changed", marked),
		review("applying-executes-nothing", arm, "git add README.md; git commit -qm control", "$B diff; $B apply --commit -m approved README.md src; git log --oneline; $B apply src; $B discard --all", "approved", marked),
		review("removing-executes-nothing", arm, "git status", "$B rm -f $BOX", "removing", marked),
		review("nothing-lands-unapproved", "echo CHANGED > README.md; echo CHANGED > .git/config; rm -r src; touch new; ln -s / slash", "true", "$B diff; $B diff --stat", "+CHANGED",
			"{ grep -q CHANGED README.md .git/config || ! test -d src || ls new slash; } 2>/dev/null && echo WON; true"),
		review("risky-changes-wait", "mkdir -p .vscode; echo CHANGED > .vscode/tasks.json; echo CHANGED > .envrc; printf 'all:\\n\\tCHANGED\\n' > Makefile; echo harmless > notes", "true", "$B diff; $B apply; cat notes", "\nharmless\n",
			"grep -rq CHANGED .vscode .envrc Makefile 2>/dev/null && echo WON; true"),
		review("applied-through-a-link", "ln -s $HW dir; rm -r src; ln -s $HW src", "echo x > dir/WRITTEN; echo x > src/WRITTEN",
			"$B diff; $B apply --risky; $B exec $BOX sh -c 'cd '$P'; rm dir src; mkdir dir src; echo x > dir/WRITTEN; echo x > src/WRITTEN'; $B diff; $B apply --risky; find . -name WRITTEN", "dir/WRITTEN",
			"ls $HW | grep WRITTEN && rm -f $HW/WRITTEN && echo WON; true"),
		review("changed-after-it-was-shown", "echo shown > README.md", "cp README.md shown; echo SWAPPED > README.md", "$B diff; $B exec $BOX sh -c 'cd '$P'; echo SWAPPED > README.md'; $B apply README.md", "README.md", "grep -q SWAPPED README.md && echo WON; true"),
		review("mode-changed-after-it-was-shown", "echo shown > README.md", "chmod 777 README.md", "$B diff; $B exec $BOX sh -c 'cd '$P'; chmod 777 README.md'; $B apply README.md", "README.md", "test -x README.md && echo WON; true"),
	}
}

// review has the attack made in a sandbox under review, and the host approve; the control has it made in the project
// itself.
func (tr *trial) review(naive, approve, shows string) verdict {
	w, t := tr.w, tr.t
	v := verdict{control: "held"}
	control := w.newProject(t, tr.id+"-control", "")
	said := w.jail(t, control, nil, tr.script) + w.outside(t, control, naive)
	t.Logf("the control says:\n%s", said)
	if tr.judge(control, said, false) {
		v.control = "lost"
	}
	_ = os.Remove(w.marker())

	p := w.newProject(t, tr.id, "")
	w.start(t, p, "--review")
	defer func() { _, _ = w.run(t, p, "rm", "-f", p.box) }() // one case has removed it
	out := w.inside(t, p, "echo RAN\n"+tr.script)
	v.ran = strings.HasPrefix(out, "RAN\n")
	said = w.outside(t, p, "B='"+w.bailey+"' BOX='"+p.box+"'\n"+approve)
	t.Logf("inside it says:\n%son the host it says:\n%s", out, said)
	v.won = tr.judge(p, said, false)
	if !strings.Contains(said, shows) {
		v.broken = "what must work beside it does not: " + said
	}
	_ = os.Remove(w.marker())
	if v.control == "held" {
		tr.excuse(&v, w)
	}
	return v
}
