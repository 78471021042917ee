package sandboxtest

import (
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func bindsShowFiles(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	write(t, filepath.Join(ws, "from-host"), "hello")
	y := s.start(t, spec)
	if got := y.want("cat " + filepath.Join(ws, "from-host")); got != "hello" {
		t.Errorf("inside the file reads %q", got)
	}
	made := filepath.Join(ws, "from-inside")
	y.want("echo back > " + made)
	if got := read(t, made); got != "back\n" {
		t.Errorf("on the host the file reads %q", got)
	}
	info, err := os.Stat(made)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != spec.User.HostUID || int(st.Gid) != spec.User.HostGID {
		t.Errorf("on the host the file belongs to %d:%d, want %d:%d", st.Uid, st.Gid, spec.User.HostUID, spec.User.HostGID)
	}
	if got := y.want("stat -c %u:%g " + made); got != y.want(`echo $(id -u):$(id -g)`) {
		t.Errorf("inside the file belongs to %s", got)
	}
}

func readOnlyBinds(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	extra := private(t)
	write(t, filepath.Join(extra, "file"), "kept")
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Kind: sandbox.MountBind, Source: extra, Target: extra, ReadOnly: true})
	y := s.start(t, spec)
	y.want("cat " + filepath.Join(extra, "file"))
	y.want("echo x > " + filepath.Join(ws, "control"))
	for _, attack := range []string{"echo x > $D/file", "echo x > $D/new", "rm $D/file", "mv $D/file $D/other", "chmod 777 $D/file"} {
		y.refused("D=" + extra + "; " + attack)
	}
	if got := read(t, filepath.Join(extra, "file")); got != "kept" {
		t.Errorf("on the host the file reads %q", got)
	}
}

func hiddenFiles(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	file, dir := filepath.Join(ws, ".env"), filepath.Join(ws, "keys")
	write(t, file, "SECRET=1")
	write(t, filepath.Join(dir, "id"), "SECRET=2")
	write(t, filepath.Join(ws, "open"), "not secret")
	spec.Mounts = append(spec.Mounts,
		sandbox.Mount{Kind: sandbox.MountHidden, Target: file}, sandbox.Mount{Kind: sandbox.MountHidden, Target: dir})
	y := s.start(t, spec)
	if got := y.want("cat " + filepath.Join(ws, "open")); got != "not secret" {
		t.Fatalf("the control reads %q", got)
	}
	if out, _ := y.sh("cat " + file + "; ls -A " + dir + "; cat " + dir + "/id"); strings.Contains(out, "SECRET") || strings.Contains(out, "\nid\n") {
		t.Errorf("hidden files show %q", out)
	}
	for _, attack := range []string{"echo x > " + file, "rm -f " + file, "mv " + file + " " + file + "2", "touch " + dir + "/new", "rm -rf " + dir} {
		y.refused(attack)
	}
	if read(t, file) != "SECRET=1" || read(t, filepath.Join(dir, "id")) != "SECRET=2" {
		t.Error("the host's files were changed")
	}
}

func protectedFiles(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	dir := filepath.Join(ws, "a", "b")
	file := filepath.Join(dir, "settings")
	write(t, file, "trusted")
	write(t, filepath.Join(dir, "other"), "free")
	write(t, filepath.Join(ws, "hooks", "pre-commit"), "trusted")
	spec.Mounts = append(spec.Mounts,
		sandbox.Mount{Kind: sandbox.MountPinned, Target: filepath.Join(ws, "a")},
		sandbox.Mount{Kind: sandbox.MountPinned, Target: dir},
		sandbox.Mount{Kind: sandbox.MountProtected, Target: file},
		sandbox.Mount{Kind: sandbox.MountProtected, Target: filepath.Join(ws, "hooks")})
	y := s.start(t, spec)
	y.want("cat " + file)
	y.want("echo changed > " + dir + "/other") // the control: its neighbour is free
	for _, attack := range []string{
		"echo evil > $F", "rm -f $F", "mv $F $F.old", "mv $W/a/b $W/a/c", "mv $W/a $W/c", "echo x > $W/n && mv $W/n $F", "ln -f $W/n $F",
		"echo x > $W/hooks/pre-commit", "echo x > $W/hooks/new", "rm $W/hooks/pre-commit", "mv $W/hooks $W/h", "rm -rf $W/hooks", "chmod 777 $F",
	} {
		y.refused("W=" + ws + "; F=" + file + "; " + attack)
	}
	if read(t, file) != "trusted" || read(t, filepath.Join(ws, "hooks", "pre-commit")) != "trusted" {
		t.Error("the host's files were changed")
	}
	if got := read(t, filepath.Join(dir, "other")); got != "changed\n" {
		t.Errorf("the control reads %q", got)
	}
}

func pinnedDirectories(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	git := filepath.Join(ws, ".git")
	write(t, filepath.Join(git, "HEAD"), "ref")
	write(t, filepath.Join(ws, "free", "file"), "x")
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Kind: sandbox.MountPinned, Target: git})
	y := s.start(t, spec)
	y.want("echo new > " + git + "/HEAD && mkdir " + git + "/objects")
	y.want("mv " + ws + "/free " + ws + "/moved") // the control
	y.refused("mv " + git + " " + ws + "/git")
	y.refused("rm -rf " + git)
	if _, err := os.Lstat(git); err != nil {
		t.Errorf("the pinned directory is gone: %v", err)
	}
}

func changesSurvive(t *testing.T, s *suite) {
	spec, _ := s.newSpec(t)
	const tool = "/usr/local/bin/bailey-conformance"
	y := s.start(t, spec)
	y.want("echo state > $HOME/note && echo 'echo works' > " + tool + " && chmod +x " + tool + " && rm -rf /usr/local/share/man")
	stop(t, y.machine)
	if _, err := os.Lstat(tool); err == nil {
		t.Fatal("the sandbox changed the host's /usr/local")
	}
	if got := read(t, filepath.Join(spec.Dir, "home", "note")); got != "state\n" {
		t.Errorf("on the host the sandbox's state reads %q", got)
	}
	y = s.start(t, spec)
	if got := y.want("cat $HOME/note; " + tool); got != "state\nworks" {
		t.Errorf("after a restart: %q", got)
	}
}

func readOnlyRoot(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	spec.Root.ReadOnly = true
	y := s.start(t, spec)
	y.want("touch /tmp/free $HOME/free " + ws + "/free") // the control
	for _, attack := range []string{"touch /usr/bin/x", "touch /usr/local/bin/x", "touch /etc/x", "touch /x", "rm /usr/bin/env"} {
		y.refused(attack)
	}
}

func hostIsInvisible(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	secret := filepath.Join(private(t), "secret")
	write(t, secret, "canary")
	write(t, filepath.Join(ws, "control"), "canary")
	y := s.start(t, spec)
	y.want("grep -q canary " + filepath.Join(ws, "control"))
	y.refused("cat " + secret)
	y.refused("ls " + spec.Dir)
	if got := y.want("cat /etc/hostname; hostname 2>/dev/null || uname -n"); got != "yard\nyard" {
		t.Errorf("the host name inside is %q", got)
	}
	host, err := os.Hostname()
	if err == nil && host != "yard" && host != "localhost" && strings.Contains(y.want("cat /etc/hosts /etc/hostname /proc/sys/kernel/hostname"), host) {
		t.Errorf("the host's name %q is known inside", host)
	}
	names := y.want("cut -d: -f1 /etc/passwd")
	for _, name := range []string{"daemon", "sshd", "tester"} {
		if _, err := user.Lookup(name); err == nil && strings.Contains("\n"+names+"\n", "\n"+name+"\n") {
			t.Errorf("the host's user %q is known inside", name)
		}
	}
	if n := y.want("ls -d /proc/[0-9]* | wc -l"); len(n) > 1 {
		t.Errorf("inside %s processes are visible", n)
	}
}
