//go:build linux

// Package fault breaks bailey and looks at what is left: processes killed at every place where they change
// something, records damaged, disks full, resources short. A broken thing may fail, but it must say so, and
// what follows must work: ls tells the truth, start, rm and prune do their work, and nothing stays behind.
//
// The binary under test is built with the tag failpoint. BAILEY_REQUIRE=namespace turns the skip on a machine
// that cannot run sandboxes into a failure.
package fault

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/test/fault/lab"
	"github.com/bailey-sandbox/bailey/test/machine"
)

// binaryVariable holds the path of the binary under test.
const binaryVariable = "BAILEY_FAULT_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(binaryVariable) != "" {
		return m.Run() // in a cell of a test
	}
	dir, err := os.MkdirTemp("", "bailey-fault-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "bailey")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo,failpoint", "-o", binary, "../../cmd/bailey")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build bailey: %v\n%s", err, out)
		return 1
	}
	syscall.Umask(0o022)
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Setenv(binaryVariable, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// newLab makes a lab in which nothing may be left when the test ends.
func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(dir, os.Getenv(binaryVariable))
	if err != nil {
		t.Fatal(err)
	}
	if out := l.Run(nil, "doctor"); out.Code != 0 {
		machine.Lack(t, "namespace", out.String())
	}
	t.Cleanup(func() { clean(t, l) })
	return l
}

// clean removes every sandbox of l; whatever is then left is a failure.
func clean(t *testing.T, l *lab.Lab) {
	t.Helper()
	all, err := l.Settled()
	if err != nil {
		t.Error(err)
	}
	for name := range all {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(l.Sandbox(name), "supervisor.log"))
			t.Logf("the log of %s:\n%s", name, log)
		}
		must(t, l, "rm", "-f", name)
	}
	must(t, l, "prune", "-f")
	if left := l.Left(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// must is Run for what has to work; it returns stdout.
func must(t *testing.T, l *lab.Lab, args ...string) string {
	t.Helper()
	out := l.Run(nil, args...)
	if out.Code != 0 || strings.Contains(out.Stderr, "goroutine ") {
		t.Fatal(out)
	}
	return out.Stdout
}

// fails is Run for what must fail as bailey's own failures do, and say why; it returns stderr.
func fails(t *testing.T, l *lab.Lab, args ...string) string {
	t.Helper()
	out := l.Run(nil, args...)
	if out.Code < 122 || out.Code > 125 || !strings.HasPrefix(out.Stderr, "bailey: ") || strings.Contains(out.Stderr, "goroutine ") {
		t.Errorf("it should fail with a reason: %v", out)
	}
	return out.Stderr
}
