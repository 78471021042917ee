// Package machine is what the tests of the whole program know about the machine that they run on: what it lacks
// for a test, and what a test has left on it. It knows nothing of bailey.
package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Lack skips the test because the machine lacks what, unless the variable BAILEY_REQUIRE, a list with commas,
// names that.
func Lack(t *testing.T, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("BAILEY_REQUIRE"), ","), what) {
		t.Fatalf("%s is required here: %s", what, why)
	}
	t.Skipf("this machine lacks %s: %s", what, why)
}

// Left lists the processes that run a binary from below root, have a variable with a path from there, or see a
// mount of it. It gives what is ending a moment to end. This process and its parent do not count.
func Left(root string) (left []string) {
	Poll(10*time.Second, func() bool { left = processes(root); return len(left) == 0 })
	return left
}

func processes(root string) (left []string) {
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

// Poll asks until the answer is yes, and reports whether it was in time.
func Poll(limit time.Duration, ok func() bool) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
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
