//go:build linux

package escape

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// fileCases look for ways over the file boundary.
func fileCases() []attack {
	out := func(id, script, witness string) attack {
		return attack{id: id, group: "files", setup: "true", script: script, witness: witness,
			works: "ln -s README.md link && test \"$(cat link)\" = 'the shop'"}
	}
	return []attack{
		{id: "symlink-out-read", group: "files", setup: "true", script: "ln -s $HW d; cat d/canary; ln -s d e; cat e/canary; cat ../../elsewhere/canary; cat $HC | grep -q CANARY && echo WON; true"},
		out("symlink-out-write", "ln -s $HW d; echo x > d/WRITTEN; ln -s $HW/WRITTEN f; echo x > f; mkdir -p d/MADE", "ls $HW | grep -E 'WRITTEN|MADE' && rm -rf $HW/WRITTEN $HW/MADE && echo WON; true"),
		{id: "symlink-out-in-the-repository", group: "files", setup: "ln -s $HW committed; ln -s $HW/canary .npmrc; ln -s $HW .vscode; git add -A; git commit -qm links",
			script: "cat committed/canary .npmrc .vscode/canary 2>/dev/null | grep -q CANARY && echo WON; echo x > committed/WRITTEN; echo x >> .npmrc", works: "git status --short"},
		out("rename-and-link-out", "mv README.md $HW/MOVED; ln README.md $HW/LINKED; cp README.md ../COPIED", "ls $HW .. | grep -E 'MOVED|LINKED|COPIED' && rm -f $HW/MOVED $HW/LINKED ../COPIED && echo WON; true"),
		{id: "hard-link-of-a-read-only-file", group: "files", weak: []string{}, setup: "true",
			script: "$PROBE link $TOOLS/probe stolen", weaker: "cp $TOOLS/probe own; $PROBE link own stolen", witness: "test -e stolen && echo WON; true", works: "ln README.md second && test -e second"},
		{id: "hard-link-of-a-secret", group: "files", script: "$PROBE link .env lk; cat lk | grep CANARY && echo WON; true", weaker: "$PROBE link .env lk; cat lk | grep CANARY && echo WON; rm -f lk"},
		{id: "hard-link-from-before", group: "files", setup: "ln $HC linked", script: "grep CANARY linked && echo WON", documented: "hard links from the project to files elsewhere are the same files"},
		{id: "project-shows-only-itself", group: "files", script: "ls -A ~ .. / ; ls -A .. | grep -v '^shared$' && echo WON; cat ~/.bashrc ~/.ssh/id_rsa 2>/dev/null | grep . && echo WON; true",
			works: "test \"$(pwd)\" = \"$P\" && touch mine"},
		{id: "secrets-in-the-project", group: "files", setup: "mkdir -p deploy config; echo CANARY > deploy/server.pem; echo CANARY > config/.env.production; echo CANARY > .netrc; echo CANARY > id_ed25519",
			script: "cat .env deploy/server.pem config/.env.production .netrc id_ed25519 | grep -q CANARY && echo WON; mv deploy d2; cat d2/server.pem | grep -q CANARY && echo WON; true", works: "cat README.md"},
		{id: "volume-shows-what-is-protected", group: "files", own: volumeBypass},
		{id: "dangerous-roots", group: "files", own: dangerousRoots},
		{id: "no-litter", group: "files", own: litter},
		{id: "odd-names-round-trip", group: "files", own: oddNames},
		{id: "other-users-cannot-look", group: "files", own: otherUsers},
		{id: "labels-and-lists-on-files", group: "files", setup: "true",
			script:  "setfattr -n trusted.overlay.opaque -v y src 2>/dev/null; setfattr -n security.capability -v 0sAQAAAgAgAAAAAAAAAAAAAAAAAAA= README.md 2>/dev/null; python3 -c \"import os; os.setxattr('README.md','trusted.x',b'y')\"; python3 -c \"import os,base64; os.setxattr('README.md','security.capability',base64.b64decode('AQAAAgAgAAAAAAAAAAAAAAAAAAA='))\"; true",
			witness: "python3 -c \"import os; print(os.listxattr('README.md'), os.listxattr('src'))\" | grep -E 'trusted|security' && echo WON; true", forbidden: "a right in the first user namespace"},
	}
}

// volumeBypass shows the project a second time, as a volume.
func volumeBypass(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	v := verdict{control: "lost", ran: true}
	out, code := w.run(t, p, "create", "--name", p.box, "-v", p.dir+":/data", "shell", p.dir)
	if code == 0 {
		defer w.remove(t, p)
		out, code = w.run(t, p, "start", p.box)
	}
	if code != 0 {
		v.reason = "refused: " + firstLine(out)
		return v
	}
	got := w.inside(t, p, "echo RAN; cat /data/.env; echo '# VOLUME' >> /data/.git/config; echo > /data/.git/hooks/x")
	t.Log(got)
	v.ran = strings.HasPrefix(got, "RAN")
	v.won = strings.Contains(got, "CANARY") || strings.Contains(w.outside(t, p, "cat .git/config; ls .git/hooks/x"), "VOLUME")
	return v
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimPrefix(text, "bailey: "), "\n")
	return line
}

func dangerousRoots(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "ln -s / slash; ln -s ~/.ssh keys")
	v := verdict{control: "held", ran: true}
	w.outside(t, p, "mkdir -p ~/.local/state/bailey ~/.gnupg")
	for _, dir := range []string{"/", w.home, w.dir, w.home + "/.ssh", "/etc", "/usr", "/proc", "/dev", w.home + "/.local/state/bailey", w.home + "/.local/state", w.home + "/.local/state/bailey/sandboxes",
		w.boxDir(w.shared), w.boxDir(w.shared) + "/layers/upper", p.dir + "/slash", p.dir + "/keys", p.dir + "/../../.ssh", w.home + "/.gnupg", "/proc/self/root" + w.home, "/proc/self/cwd/../.."} {
		for _, how := range [][]string{{"create", "--name", "danger", "shell", dir}, {"create", "--name", "danger", "-v", dir, "shell", p.dir}} {
			if out, code := w.run(t, p, how...); code == 0 {
				v.won = true
				v.reason += dir + " is accepted; "
				w.must(t, p, "rm", "-f", "danger")
			} else if !strings.Contains(out, "cannot use") {
				t.Errorf("%q: %s", how, out)
			}
		}
	}
	// The control: a directory beside them is fine.
	if _, code := w.run(t, p, "create", "--name", "danger", "shell", p.dir); code == 0 {
		v.control = "lost"
		w.must(t, p, "rm", "-f", "danger")
	}
	return v
}

// litter starts, samples and kills, and compares the tree by name, mode and content.
func litter(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	list := func() string {
		return w.outside(t, p, "find . -printf '%p %m %s %T@ %l\\n' | sort; GIT_OPTIONAL_LOCKS=0 git status --porcelain --ignored")
	}
	before := list()
	v := verdict{control: "held", ran: true}
	w.outside(t, p, "touch LITTER")
	if list() != before {
		v.control = "lost"
	}
	w.outside(t, p, "rm LITTER; touch -d @1700000000 .")
	before = list()
	w.start(t, p)
	for range 5 {
		w.must(t, p, "exec", p.box, "true")
		if now := list(); now != before {
			v.won, v.reason = true, "during a run: "+difference(before, now)
		}
		pid := supervisorOf(w, p)
		if pid == 0 {
			t.Fatal("the supervisor is not found")
		}
		w.outside(t, p, "kill -9 "+itoa(pid))
		machine.Poll(w.patience(), func() bool { return supervisorOf(w, p) == 0 })
		if now := list(); now != before {
			v.won, v.reason = true, "after a kill: "+difference(before, now)
		}
		w.must(t, p, "start", p.box)
	}
	w.remove(t, p)
	if now := list(); now != before {
		v.won, v.reason = true, "in the end: "+difference(before, now)
	}
	return v
}

func difference(a, b string) string {
	for _, line := range strings.Split(b, "\n") {
		if !strings.Contains(a, line+"\n") {
			return line
		}
	}
	return "something is missing"
}

func oddNames(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	w.start(t, p)
	defer w.remove(t, p)
	script := `import os,hashlib
def each():
    for name in [b'new\nline', b'\xff\xfe', b'a'*255, b'-rf', b':x', 'a\u202eb'.encode(), b' ', b'"q"', b"'", b'\\', b'tab\t', b'*']:
        yield name
for n in each(): open(b'odd/'+n,'wb').write(n)
os.mkdir('odd/empty'); os.mkfifo('odd/fifo'); os.symlink('loop','odd/loop')
f=open('odd/sparse','wb'); f.seek(5<<30); f.write(b'x'); f.close()
os.mkdir('odd/shut'); os.chmod('odd/shut',0)
os.setxattr('odd/-rf','user.note',b'kept')
`
	sum := `import os,hashlib,sys
h=hashlib.sha256()
for n in sorted(os.listdir(b'odd')):
    p=b'odd/'+n; s=os.lstat(p); h.update(repr((n,oct(s.st_mode),s.st_size)).encode())
    if b'sparse' not in n and (s.st_mode & 0o170000)==0o100000: h.update(open(p,'rb').read())
h.update(os.getxattr('odd/-rf','user.note'))
print(h.hexdigest(), len(os.listdir(b'odd')))
`
	for name, text := range map[string]string{"make.py": script, "sum.py": sum} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	made := w.inside(t, p, "mkdir odd && python3 make.py && echo RAN && python3 sum.py")
	if !strings.HasPrefix(made, "RAN\n") {
		return verdict{na: "nothing inside can make such names: " + firstLine(made)}
	}
	host := w.outside(t, p, "python3 sum.py")
	v := verdict{control: "lost", ran: true, won: "RAN\n"+host != made, reason: firstLine(host)}
	w.outside(t, p, "echo changed > odd/-rf")
	if w.outside(t, p, "python3 sum.py") == host {
		v.control = "held"
	}
	return v
}

// otherUsers looks at what bailey keeps as somebody else would: by the modes.
func otherUsers(tr *trial) verdict {
	w, t := tr.w, tr.t
	open := func() string {
		return w.outside(t, w.shared, "find $HOME/.local/state/bailey $HOME/.local/share/bailey -maxdepth 3 -path '*/host/*' -prune -o -perm /077 -print 2>/dev/null | head -5; stat -c '%a %n' $HOME/.local/state/bailey")
	}
	v := verdict{control: "held", ran: true}
	got := open()
	t.Log(got)
	v.won = !strings.HasPrefix(lastLine(got), "700 ")
	w.outside(t, w.shared, "chmod 755 $HOME/.local/state/bailey")
	if !strings.HasPrefix(lastLine(open()), "700 ") {
		v.control = "lost"
	}
	w.outside(t, w.shared, "chmod 700 $HOME/.local/state/bailey")
	return v
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
