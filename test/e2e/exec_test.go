//go:build linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// support is what doctor says of one ability of the first backend.
func (u *user) support(ability string) (ok bool) {
	u.t.Helper()
	var all []struct {
		Capabilities map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(u.must("doctor", "--json")), &all); err != nil {
		u.t.Fatal(err)
	}
	var s struct{ OK bool }
	if err := json.Unmarshal(all[0].Capabilities[ability], &s); err != nil {
		u.t.Fatalf("doctor does not know %q: %v", ability, err)
	}
	return s.OK
}

func TestCommandsBesideTheAgent(t *testing.T) {
	u := newUser(t)
	u.env = append(u.env, "PASSED=from here")
	u.box("-e", "BOXED=yes")
	for _, c := range []struct {
		name           string
		flags, argv    []string
		stdout, stderr string
		code           int
	}{
		{"in the workspace", nil, []string{"pwd"}, u.project + "\n", "", 0},
		{"as nobody special", nil, []string{"sh", "-c", "id -u | grep -vx 0 > /dev/null && echo so"}, "so\n", "", 0},
		{"two streams", nil, []string{"sh", "-c", "echo out; echo err >&2"}, "out\n", "err\n", 0},
		{"its own code", nil, []string{"sh", "-c", "exit 7"}, "", "", 7},
		{"a signal", nil, []string{"sh", "-c", "kill -9 $$"}, "", "", 137},
		{"a command that is not there", nil, []string{"nowhere"}, "", "bailey: ", 127},
		{"a command that is no program", nil, []string{"/etc/passwd"}, "", "bailey: ", 126},
		{"variables", []string{"-e", "A=1 2", "-e", "PASSED"}, []string{"sh", "-c", `echo "$A,$PASSED,$BOXED"`}, "1 2,from here,yes\n", "", 0},
		{"another directory", []string{"-w", "/usr"}, []string{"pwd"}, "/usr\n", "", 0},
		{"without input", nil, []string{"cat"}, "", "", 0},
		{"arguments as they are", nil, []string{"printf", "%s|", "a b", "", "$HOME", "*", "-x"}, "a b||$HOME|*|-x|", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := u.bailey(append(append(append([]string{"exec"}, c.flags...), "box"), c.argv...)...)
			if out.stdout != c.stdout || out.code != c.code || !strings.HasPrefix(out.stderr, c.stderr) || c.stderr == "" && out.stderr != "" {
				t.Errorf("got %+v", out)
			}
		})
	}
	t.Run("as root", func(t *testing.T) {
		out := u.bailey("exec", "-u", "root", "box", "sh", "-c", "id -u; touch /etc/made")
		if !u.support("users") {
			if out.code != 125 || !strings.HasPrefix(out.stderr, "bailey: ") {
				t.Errorf("this host has no other users: %+v", out)
			}
			return
		}
		if out.code != 0 || out.stdout != "0\n" {
			t.Errorf("got %+v", out)
		}
		if _, err := os.Lstat("/etc/made"); err == nil {
			t.Error("the host's /etc was written")
		}
	})
	t.Run("in the background", func(t *testing.T) {
		u.must("exec", "-d", "box", "sh", "-c", "sleep 0.3; echo done > background.txt")
		done := func() bool {
			data, _ := os.ReadFile(filepath.Join(u.project, "background.txt"))
			return string(data) == "done\n"
		}
		if !machine.Poll(5*time.Second, done) {
			t.Error("it did not end")
		}
	})
}

func TestBytesPassUnchanged(t *testing.T) {
	u := newUser(t)
	u.box()
	data := noise(10 << 20)
	cmd := u.command("exec", "-i", "box", "sh", "-c", "tee copy | sha256sum; cat copy >&2")
	cmd.Stdin = bytes.NewReader(data)
	out := u.run(cmd)
	if want := fmt.Sprintf("%x  -\n", sha256.Sum256(data)); out.stdout != want {
		t.Errorf("inside the sum is %q, want %q", out.stdout, want)
	}
	if out.stderr != string(data) {
		t.Errorf("%d other bytes came back, want %d", len(out.stderr), len(data))
	}
	if got := u.read("copy"); got != string(data) {
		t.Error("the file in the workspace differs")
	}
}

// noise is data with every byte in it and no pattern, the same each time.
func noise(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

func TestCopyingBothWays(t *testing.T) {
	u := newUser(t)
	u.box()
	u.write("in/deep/data", string(noise(3<<20)))
	u.write("in/run.sh", "#!/bin/sh\necho ran\n")
	u.write("out/kept", "")
	in, out := filepath.Join(u.home, "in"), filepath.Join(u.home, "out")
	if err := os.Chmod(filepath.Join(in, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("deep/data", filepath.Join(in, "link")); err != nil {
		t.Fatal(err)
	}
	u.must("cp", in, "box:/tmp")
	if got := u.inside("box", "/tmp/in/run.sh; readlink /tmp/in/link; touch /tmp/in/new"); got != "ran\ndeep/data\n" {
		t.Errorf("inside there is %q", got)
	}
	u.inside("box", "ln -s "+shell(u.home)+" /tmp/in/escape; ln -s /etc/passwd /tmp/in/passwd; mkfifo /tmp/in/pipe")
	result := u.bailey("cp", "box:/tmp/in", out)
	for _, left := range []string{"escape", "passwd", "pipe"} {
		if !strings.Contains(result.stderr, left) {
			t.Errorf("nothing is said of %s: %q", left, result.stderr)
		}
		if _, err := os.Lstat(filepath.Join(out, "in", left)); err == nil {
			t.Errorf("%s was copied", left)
		}
	}
	for _, name := range []string{"deep/data", "run.sh", "link", "new"} {
		path := filepath.Join(out, "in", name)
		owned(t, path)
		if name == "new" {
			continue
		}
		want, err1 := os.ReadFile(filepath.Join(in, name))
		got, err2 := os.ReadFile(path)
		if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("%s came back otherwise (%v, %v)", name, err1, err2)
		}
	}
	for _, c := range [][]string{
		{"cp", "box:/nowhere", out},
		{"cp", "box:/tmp/in", out + "/missing"},
		{"cp", in + "/missing", "box:/tmp"},
		{"cp", in, out},
	} {
		if out := u.bailey(c...); out.code != 125 || !strings.Contains(out.stderr, "bailey: ") {
			t.Errorf("%q: %+v", c, out)
		}
	}
}

func TestAShellInATerminal(t *testing.T) {
	u := newUser(t)
	u.box()
	s := newScreen(u, "main")
	before := s.settings()
	s.line("bailey exec -it -e PS1='inside> ' box sh")
	s.await("inside>")
	s.line("tty; stty size; echo $TERM")
	s.await("/dev/pts/")
	s.await("40 120")
	s.await("screen-256color")
	s.tmux("resize-window", "-t", s.pane(), "-x", "90", "-y", "30")
	s.line("clear; stty size")
	s.await("30 90")
	s.line("sleep 1000")
	s.keys("C-c")
	s.line("echo code $?")
	s.await("code 130")
	s.line("exit 5")
	s.prompt()
	s.line("echo code $?")
	s.await("code 5")
	if got := s.settings(); got != before {
		t.Errorf("the terminal's settings were\n%s and are\n%s", before, got)
	}
}
