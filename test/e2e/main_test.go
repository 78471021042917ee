//go:build linux

// Package e2e shows the whole program at work, as a black box: the real binary on this machine's real kernel,
// the real agents from the npm registry, real terminals. Only the model is ours (package modelapi). What
// is inside counts as hostile, so every claim is judged from outside: by files, owners, listeners and the
// process table, not by what the sandbox says. A refusal always has its control beside it: the same probe
// succeeds where the wall is absent. Nothing of the machine is changed, and nothing is left behind.
//
// A test that needs what the machine lacks is skipped with the reason, unless the variable BAILEY_REQUIRE, a
// list with commas, names it: namespace, agents, node, tmux, curl, address, ssh, and the names of clients.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
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
	if left := machine.Left(root); len(left) > 0 {
		return fail("the tests have left something running", fmt.Errorf("\n%s", strings.Join(left, "\n")))
	}
	return code
}

func fail(what string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	return 1
}
