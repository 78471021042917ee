//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// refused checks that a command failed as it should: nothing on stdout, one line that contains want, at most one
// more with a hint, the exit code, and nothing half-made.
func (u *user) refused(out result, want string, hint bool, code int) {
	u.t.Helper()
	lines := strings.Split(strings.TrimSuffix(out.stderr, "\n"), "\n")
	ok := out.code == code && out.stdout == "" && strings.HasPrefix(lines[0], "bailey: ") && strings.Contains(lines[0], want)
	if hint {
		ok = ok && len(lines) == 2 && strings.HasPrefix(lines[1], "hint: ")
	} else {
		ok = ok && len(lines) == 1
	}
	if !ok {
		u.t.Errorf("exit code %d, want %d and %q, with a hint: %v\n%s%s", out.code, code, want, hint, out.stdout, out.stderr)
	}
}

func TestBadCommandLinesAreRefused(t *testing.T) {
	u := newUser(t)
	u.write("src/line\nbreak/x", "")
	u.write("src/bell\a/x", "")
	u.write("src/invalid\xff/x", "")
	u.write("src/reversed\u202e/x", "")
	src := filepath.Join(u.home, "src")
	for _, c := range []struct {
		name string
		args []string
		want string
		hint bool
	}{
		{"no agent", []string{"run"}, "AGENT", true},
		{"an unknown agent", []string{"run", "cloude", "."}, `unknown agent "cloude"; known are claude`, true},
		{"an unknown verb", []string{"runn"}, "runn", true},
		{"an unknown flag", []string{"run", "--wat", "shell", "."}, "--wat", true},
		{"a workspace that is missing", []string{"run", "shell", "nowhere"}, "does not exist", true},
		{"a file as workspace", []string{"run", "shell", "README.md"}, "is not a directory", true},
		{"the home as workspace", []string{"run", "shell", u.home}, "is your home directory", true},
		{"the root as workspace", []string{"run", "shell", "/"}, "contains your home", true},
		{"the system as workspace", []string{"run", "shell", "/etc"}, "belongs to the system", true},
		{"keys as workspace", []string{"run", "shell", u.home + "/.ssh"}, "is private", true},
		{"bailey's state as workspace", []string{"run", "shell", u.home + "/.local/state/bailey"}, "bailey's own directory", true},
		{"a missing second directory", []string{"run", "shell", ".", "../nowhere:ro"}, "does not exist", true},
		{"a line break in a path", []string{"run", "shell", src + "/line\nbreak"}, `line\nbreak`, true},
		{"a control character in a path", []string{"run", "shell", src + "/bell\a"}, "control or invalid characters", true},
		{"a path that is no text", []string{"run", "shell", src + "/invalid\xff"}, "control or invalid characters", true},
		{"a path that turns the line around", []string{"run", "shell", src + "/reversed\u202e"}, "control or invalid characters", true},
		{"a name with a slash", []string{"run", "--name", "../up", "shell", "."}, `"../up": only a-z, 0-9`, false},
		{"a name with a space", []string{"run", "--name", "a b", "shell", "."}, `"a b": only a-z, 0-9`, false},
		{"a rule that is a URL", []string{"run", "--allow", "https://a.test/x", "shell", "."}, "write HOST or HOST:PORT", false},
		{"a rule for everything", []string{"run", "--allow", "*", "shell", "."}, "*", false},
		{"a rule with a bad port", []string{"run", "--allow", "a.test:99999", "shell", "."}, "99999", false},
		{"an unknown kind of network", []string{"run", "--network", "open", "shell", "."}, "choose deny, ask, allow or none", true},
		{"memory that is no size", []string{"run", "--memory", "lots", "shell", "."}, "lots", false},
		{"a time that is none", []string{"run", "--timeout", "soon", "shell", "."}, "soon", false},
		{"a missing volume", []string{"run", "-v", src + "/nowhere", "shell", "."}, "does not exist", true},
		{"a missing file of variables", []string{"run", "--env-file", "nowhere", "shell", "."}, "nowhere", false},
		{"a protection of a later version", []string{"run", "--publish", "8080", "shell", "."}, "--publish comes with a later version", true},
		{"credentials of no name", []string{"run", "--credentials", "A B", "shell", "."}, "--credentials", true},
		{"an unknown backend", []string{"run", "--backend", "magic", "shell", "."}, "magic", true},
		{"a sandbox that is not there", []string{"exec", "nobody", "true"}, "nobody", true},
		{"stopping what is not there", []string{"stop", "nobody"}, "nobody", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := u.bailey(c.args...)
			code := 125
			if strings.HasPrefix(c.name, "a rule") {
				code = 123
			}
			(&user{t: t}).refused(out, c.want, c.hint, code)
		})
	}
	if os.Getuid() != 0 { // root reads everything
		if err := os.Mkdir(src+"/closed", 0); err != nil {
			t.Fatal(err)
		}
		u.refused(u.bailey("run", "shell", src+"/closed"), "it cannot be read", true, 125)
	}
	u.noSandboxes()
	u.noProcesses()
}

func TestStrangePathsAreTakenAsTheyAre(t *testing.T) {
	u := newUser(t)
	for _, name := range []string{"two words", "a,b", "a:b", "it's", `say "hi"`, `back\slash`, "$HOME", "*", "-v", "schön", "日本", "#x%s", strings.Repeat("long", 60)} {
		t.Run(name, func(t *testing.T) {
			u.write("src/"+name+"/old.txt", "")
			dir := filepath.Join(u.home, "src", name)
			out := u.bailey("run", "--rm", "shell", dir, "--", "-c", `pwd; ls; echo new > new.txt`)
			if out.code != 0 || out.stdout != dir+"\nold.txt\n" {
				t.Errorf("got %+v", out)
			}
			owned(t, filepath.Join(dir, "new.txt"))
		})
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	u := newUser(t)
	u.must("create", "--name", "box", "shell", ".")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"creating it again", []string{"create", "--name", "box", "shell", "."}, "exists"},
		{"for another workspace", []string{"run", "--name", "box", "shell", "../bank"}, "is for shell in " + u.project},
		{"for another agent", []string{"run", "--name", "box", "claude", "."}, "is for shell in " + u.project},
		{"with other flags", []string{"run", "--allow", "a.test", "shell", "."}, "was created with other --allow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			(&user{t: t}).refused(u.bailey(c.args...), c.want, true, 125)
		})
	}
	if got := u.must("ls", "-aq"); got != "box\n" {
		t.Errorf("there are %q", got)
	}
}

func TestWithoutUserNamespacesItIsSaidWhatHelps(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("they can be switched off for root on the whole machine only")
	}
	if !inCell(t, 0) {
		return
	}
	u := newUser(t) // which shows that it works before
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	out := u.bailey("run", "shell", ".")
	u.refused(out, "namespaces", true, 125)
	if !strings.Contains(out.stderr, "sysctl -w user.max_user_namespaces=") {
		t.Errorf("the hint is %q", out.stderr)
	}
	u.noSandboxes()
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("1000"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestAStateDirectoryThatCannotBeWritten(t *testing.T) {
	if !inCell(t, 0) {
		return
	}
	for _, c := range []struct {
		name, options, want string
		flags               uintptr
	}{
		{"because it is read-only", "", "read-only file system", unix.MS_RDONLY},
		{"because it is full", "size=4k,nr_inodes=3", "no space left on device", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			state := filepath.Join(u.home, ".local/state")
			if err := unix.Mount("state", state, "tmpfs", c.flags, "mode=0700,"+strings.TrimPrefix(c.options, ",")); err != nil {
				t.Fatal(err)
			}
			u.refused(u.bailey("run", "--rm", "shell", ".", "--", "-c", "true"), c.want, true, 125)
			u.noSandboxes()
			if err := unix.Unmount(state, 0); err != nil {
				t.Fatal(err)
			}
			u.must("run", "--rm", "shell", ".", "--", "-c", "true")
		})
	}
}
