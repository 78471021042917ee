//go:build linux

// Package escape attacks the sandbox. Every case is data: an attack, a weak set-up in which it must work (the
// control, plain bubblewrap with every right and no filter), a witness that judges from outside, and often
// something ordinary beside it that must go on working. It is a black box: the built binary, whatever
// backend the host can run, as root and as ordinary users. What cannot be prevented is here too, as a
// documented limit, so that the documents stay true.
//
//	go test ./test/escape -v                        one line a case
//	go test ./test/escape -table docs/escape.md     and the table, one section for each kind of user
//	go test ./test/escape -long                     races by the ten thousand as well
//
// No attack is larger than a scratch directory and a control group allow, and none is made where its success
// would harm the machine.
package escape

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// rootVariable holds the directory that everything of this run lies in.
const rootVariable = "BAILEY_ESCAPE_ROOT"

func TestMain(m *testing.M) {
	flag.String("table", "", "write the results to the section of this user in `FILE`")
	flag.Bool("long", false, "run races for a minute each")
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	root, err := os.MkdirTemp("", "bailey-escape-")
	if err != nil {
		return fail("cannot start", err)
	}
	defer os.RemoveAll(root)
	syscall.Umask(0o022)
	for output, pkg := range map[string]string{"bin/bailey": "../../cmd/bailey", "tools/probe": "./probe", "tools/internet": "./internet"} {
		build := exec.Command("go", "build", "-tags", "netgo,osusergo", "-o", filepath.Join(root, output), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fail("cannot build "+pkg, fmt.Errorf("%w\n%s", err, out))
		}
	}
	for key, value := range map[string]string{rootVariable: root, "TMPDIR": root} {
		if err := os.Setenv(key, value); err != nil {
			return fail("cannot start", err)
		}
	}
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

// flagged returns a flag of the test binary.
func flagged(name string) string { return flag.Lookup(name).Value.String() }
