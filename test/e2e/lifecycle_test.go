//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

func TestWhatASandboxKeepsAndWhatIsLeftOfIt(t *testing.T) {
	u := newUser(t)
	before := u.manifest(ours()...)
	u.box()
	look := "cat /usr/local/kept ~/kept kept.txt; ls /tmp/scratch 2>/dev/null; find /root /run /dev/shm -name '*kept*'"
	u.inside("box", "for f in /usr/local/kept ~/kept kept.txt /tmp/scratch; do echo was here > $f; done; chmod 0750 ~/kept")
	for _, verbs := range [][]string{{"stop", "start"}, {"restart"}} {
		for _, verb := range verbs {
			if got := u.must(verb, "box"); got != "box\n" {
				t.Errorf("%s says %q", verb, got)
			}
			if got := u.must("ls", "-q"); (got == "") != (verb == "stop") {
				t.Errorf("after %s there run %q", verb, got)
			}
		}
		if got := u.inside("box", look); got != "was here\nwas here\nwas here\n" {
			t.Errorf("after %v there is:\n%s", verbs, got)
		}
	}
	if out := u.bailey("rm", "box"); out.code != 125 || !strings.Contains(out.stderr, "hint: bailey rm -f box") {
		t.Errorf("removing what runs: %+v", out)
	}
	u.must("rm", "-f", "box")
	u.noSandboxes()
	u.noProcesses()
	untouched(t, before, u.manifest(ours()...))
	if got := u.read("kept.txt"); got != "was here\n" {
		t.Errorf("the workspace's file is %q", got)
	}
}

// noProcesses fails when something still runs for the user's sandboxes.
func (u *user) noProcesses() {
	u.t.Helper()
	if left := machine.Left(u.home); len(left) > 0 {
		u.t.Errorf("it still runs:\n%s", strings.Join(left, "\n"))
	}
}

func TestASandboxOutlivesItsSupervisor(t *testing.T) {
	u := newUser(t)
	u.box()
	u.inside("box", "echo was here > ~/kept")
	u.must("exec", "-d", "box", "sleep", "1000")
	u.killSupervisor("box")
	u.noProcesses()
	// A killed process drops its locks last of all.
	if !machine.Poll(5*time.Second, func() bool { return strings.Contains(u.must("ls", "-a"), "stopped") }) {
		t.Errorf("it is listed as\n%s", u.must("ls", "-a"))
	}
	u.must("start", "box")
	if got := u.inside("box", "cat ~/kept; ps ax 2>&1 | grep -c '[s]leep 1000'"); got != "was here\n0\n" {
		t.Errorf("after the next start there is %q", got)
	}
}

func TestAnAgentInTheBackground(t *testing.T) {
	u := newUser(t)
	if got := u.must("run", "-d", "--name", "night", "shell", ".", "--", "-c", "echo begun; read line; echo got $line; exit 3"); got != "night\n" {
		t.Errorf("run -d says %q", got)
	}
	if got := u.must("ls", "-q"); got != "night\n" {
		t.Errorf("there run %q", got)
	}
	if !machine.Poll(5*time.Second, func() bool { return strings.Contains(u.must("logs", "night"), "begun") }) {
		t.Errorf("the log is %q", u.must("logs", "night"))
	}
	if out := u.bailey("run", "night", "--", "-c", "true"); out.code != 125 || !strings.Contains(out.stderr, "hint: bailey attach night") {
		t.Errorf("other arguments for what runs: %+v", out)
	}
	attach := u.command("attach", "night")
	attach.Stdin = strings.NewReader("hello\n")
	if out := u.run(attach); out.code != 3 || !strings.Contains(out.stdout, "got hello") {
		t.Errorf("attached: %+v", out)
	}
	if got := u.must("wait", "night"); got != "3\n" {
		t.Errorf("wait says %q", got)
	}
	if got := u.must("logs", "night"); !strings.Contains(got, "begun") || !strings.Contains(got, "got hello") {
		t.Errorf("the log is %q", got)
	}
}

func TestATemporarySandboxIsGoneWithItsAgent(t *testing.T) {
	for _, c := range []struct {
		name, script string
		flags        []string
		code         int
	}{
		{"that worked", "echo x > /usr/local/x; true", nil, 0},
		{"that failed", "exit 7", nil, 7},
		{"that was killed", "kill -9 $$", nil, 137},
		{"that left something running", "sleep 1000 & true", nil, 0},
		{"whose time was over", "trap '' TERM; sleep 1000", []string{"--timeout", "500ms"}, 124},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			args := append([]string{"run", "--rm"}, c.flags...)
			out := u.bailey(append(args, "shell", ".", "--", "-c", c.script)...)
			if out.code != c.code {
				t.Errorf("exit code %d, want %d\n%s", out.code, c.code, out.stderr)
			}
			u.noSandboxes()
			u.noProcesses()
		})
	}
}

func TestPruneRemovesWhatDoesNotRun(t *testing.T) {
	u := newUser(t)
	u.box()
	u.must("create", "--name", "never", "shell", ".")
	u.must("create", "--name", "once", "shell", ".")
	u.must("start", "once")
	u.must("stop", "once")
	if out := u.bailey("prune"); out.code != 125 || !strings.Contains(out.stderr, "hint: bailey prune -f") {
		t.Errorf("without anybody to ask: %+v", out)
	}
	u.must("prune", "-f")
	if got := u.must("ls", "-aq"); got != "box\n" {
		t.Errorf("there are %q", got)
	}
}

func TestWhatMayBeWritten(t *testing.T) {
	u := newUser(t)
	for _, dir := range []string{"lib", "data"} {
		u.write("src/"+dir+"/file", "before\n")
	}
	lib, data := filepath.Join(u.home, "src/lib"), filepath.Join(u.home, "src/data")
	for _, c := range []struct {
		name  string
		flags []string // and paths, behind the agent
		paths []string
		path  string // inside
		write bool
	}{
		{"a workspace", nil, nil, u.project, true},
		{"a read-only workspace", nil, []string{".:ro"}, u.project, false},
		{"a second directory", nil, []string{".", lib}, lib, true},
		{"a read-only second directory", nil, []string{".", lib + ":ro"}, lib, false},
		{"a volume", []string{"-v", data}, nil, data, true},
		{"a read-only volume", []string{"-v", data + ":ro"}, nil, data, false},
		{"a volume at another place", []string{"-v", data + ":/data"}, nil, "/data", true},
		{"a read-only volume at another place", []string{"-v", data + ":/data:ro"}, nil, "/data", false},
		{"the system", nil, nil, "/usr/local", true},
		{"the system of a read-only sandbox", []string{"--read-only"}, nil, "/usr/local", false},
		{"the workspace of a read-only sandbox", []string{"--read-only"}, nil, u.project, true},
		{"the temporary directory of a read-only sandbox", []string{"--read-only"}, nil, "/tmp", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append(append([]string{"run", "--rm"}, c.flags...), "shell")
			args = append(args, c.paths...)
			out := u.bailey(append(args, "--", "-c", "cd "+shell(c.path)+" && echo written > mark && cat mark && rm mark")...)
			if wrote := strings.Contains(out.stdout, "written"); wrote != c.write {
				t.Errorf("it wrote: %v: %+v", wrote, out)
			}
			if !c.write && !strings.Contains(out.stderr, "Read-only file system") {
				t.Errorf("the refusal is %q", out.stderr)
			}
			for _, dir := range []string{u.project, lib, data} {
				if _, err := os.Lstat(filepath.Join(dir, "mark")); err == nil {
					t.Errorf("something was left in %s", dir)
				}
			}
		})
	}
}
