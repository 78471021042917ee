//go:build linux

// Package e2e shows the whole program at work, as a black box: the real binary on this machine's real kernel,
// the real agents from the npm registry, real terminals. Only the model is ours (package modelapi). What
// is inside counts as hostile, so every claim is judged from outside: by files, owners, listeners and the
// process table, not by what the sandbox says. A refusal always has its control beside it: the same probe
// succeeds where the wall is absent. Nothing of the machine is changed, and nothing is left behind.
//
// A test that needs what the machine lacks is skipped with the reason, unless the variable BAILEY_REQUIRE, a
// list with commas, names it: namespace, agents, node, tmux, curl, address.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rootVariable holds the directory that everything of this run lies in, the binary in bin of it too.
const rootVariable = "BAILEY_E2E_ROOT"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(cellVariable) != "" {
		return m.Run() // in a cell of a test that has all of the below already
	}
	root, err := os.MkdirTemp("", "bailey-e2e-")
	if err != nil {
		return fail("cannot start", err)
	}
	defer os.RemoveAll(root)
	build := exec.Command("go", "build", "-tags", "netgo,osusergo", "-o", filepath.Join(root, "bin", "bailey"), "../../cmd/bailey")
	if out, err := build.CombinedOutput(); err != nil {
		return fail("cannot build bailey", fmt.Errorf("%w\n%s", err, out))
	}
	// Scratch directories of tests go there as well, so that one name finds everything.
	for key, value := range map[string]string{rootVariable: root, "TMPDIR": root} {
		if err := os.Setenv(key, value); err != nil {
			return fail("cannot start", err)
		}
	}
	syscall.Umask(0o022)
	code := m.Run()
	var left []string
	if !poll(10*time.Second, func() bool { left = remains(root); return len(left) == 0 }) {
		return fail("the tests have left something running", fmt.Errorf("\n%s", strings.Join(left, "\n")))
	}
	return code
}

func fail(what string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	return 1
}

// remains lists the processes that run the binary under test, have a variable with a path below root, or see a
// mount from there, and mounts from there in our own namespace.
func remains(root string) (left []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		if slices.Contains([]string{fmt.Sprint(os.Getpid()), fmt.Sprint(os.Getppid())}, filepath.Base(proc)) {
			continue
		}
		exe, _ := os.Readlink(proc + "/exe")
		environ, _ := os.ReadFile(proc + "/environ")
		mounts, _ := os.ReadFile(proc + "/mountinfo")
		all := exe + string(environ) + string(mounts)
		if strings.Contains(all, root+"/") || strings.Contains(all, root+"\x00") {
			cmdline, _ := os.ReadFile(proc + "/cmdline")
			left = append(left, fmt.Sprintf("process %s: %q", filepath.Base(proc), cmdline))
		}
	}
	return left
}

// poll asks until the answer is yes, and reports whether it was in time.
func poll(limit time.Duration, ok func() bool) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end.C:
			return ok()
		case <-tick.C:
		}
	}
	return true
}

// lack skips the test because the machine lacks what, unless that is required here.
func lack(t *testing.T, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("BAILEY_REQUIRE"), ","), what) {
		t.Fatalf("%s is required here: %s", what, why)
	}
	t.Skipf("this machine lacks %s: %s", what, why)
}
