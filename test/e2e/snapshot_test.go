//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSnapshotsAreKeptRestoredAndForked(t *testing.T) {
	u := newUser(t)
	u.repository()
	before := u.snapshot()
	u.review("box", `echo one > src/main.go; rm -r docs; mkdir shut; echo x > shut/x; chmod 000 shut; ln -s nowhere link; echo state > ~/state`)
	if out := u.must("snapshot", "box", "first"); out != "first\n" {
		t.Errorf("snapshot: %q", out)
	}
	// What runs inside is held for the copy, and goes on.
	u.inside("box", "(while :; do echo x >> ~/ticks; sleep 0.01; done) > /dev/null 2>&1 &")
	u.must("snapshot", "box", "second")
	if u.inside("box", "a=$(wc -c < ~/ticks); sleep 0.3; b=$(wc -c < ~/ticks); test $a -lt $b && echo runs") != "runs\n" {
		t.Error("after a snapshot, what ran does not run")
	}
	u.inside("box", "echo two > src/main.go; echo later > later; echo gone > ~/state; rm link")
	if out := u.bailey("restore", "box", "first"); out.code != 125 || !strings.Contains(out.stderr, "while it runs") {
		t.Errorf("%+v", out)
	}
	forks := strings.Fields(u.must("fork", "--from", "first", "--name", "try", "box", "2"))
	if len(forks) != 2 {
		t.Fatalf("forks are %v", forks)
	}
	state := "cd " + shell(u.project) + "; cat src/main.go ~/state; ls; readlink link; stat -c %a shut; chmod 700 shut; cat shut/x; chmod 000 shut"
	const first = "one\nstate\nREADME.md\nlink\npackage.json\nshut\nsrc\nnowhere\n0\nx\n"
	for _, fork := range forks {
		u.must("start", fork)
		if got := u.inside(fork, state); got != first {
			t.Errorf("%s has %q", fork, got)
		}
	}
	u.inside(forks[0], "echo three > src/main.go; echo more > more")
	if got := u.inside(forks[1], "cat src/main.go; ls more 2>&1 | wc -l") + u.inside("box", "cat src/main.go"); got != "one\n1\ntwo\n" {
		t.Errorf("a fork's work is seen by others: %q", got)
	}
	out := u.must("compare", "--test", "grep -q three src/main.go", "box", forks[0], forks[1])
	for _, want := range []string{"A: box", "B: try-1", "more", "as A", "failed (1)", "passed", "cost", "$0.00, 0 tokens"} {
		if !strings.Contains(out, want) {
			t.Errorf("compare lacks %q:\n%s", want, out)
		}
	}
	// A fork is applied like any other.
	u.must("diff", forks[0])
	u.must("apply", forks[0], "src")
	if got := u.read("src/main.go"); got != "three\n" {
		t.Errorf("src/main.go is %q", got)
	}
	u.host("git checkout -q src/main.go")
	u.must("stop", "box")
	u.must("restore", "box", "first")
	u.must("start", "box")
	if got := u.inside("box", state); got != first {
		t.Errorf("restored is %q", got)
	}
	if out := u.must("snapshot", "ls", "box"); !strings.Contains(out, "second") || !strings.Contains(out, "the end of a session") {
		t.Errorf("ls: %s", out)
	}
	u.must("snapshot", "rm", "box", "first", "second")
	u.must(append([]string{"rm", "-f", "box"}, forks...)...)
	if after := u.snapshot(); after != before {
		t.Errorf("the project has changed:\n%s\n%s", before, after)
	}
	if entries, err := os.ReadDir(filepath.Dir(u.sandboxDir("box"))); err != nil || len(entries) > 0 {
		t.Errorf("left are %v, %v", entries, err)
	}
}

func TestASandboxThatWritesToTheProjectIsNotForked(t *testing.T) {
	u := newUser(t)
	u.must("run", "--name", "box", "--network", "none", "shell", ".", "--", "-c", "true")
	if out := u.bailey("fork", "box"); out.code != 125 || !strings.Contains(out.stderr, "which both would") {
		t.Errorf("%+v", out)
	}
	if out := u.must("ls", "-aq"); out != "box\n" {
		t.Errorf("there are %q", out)
	}
}
