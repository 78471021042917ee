//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// cellVariable names the test that runs in a cell.
const cellVariable = "BAILEY_E2E_CELL"

// inCell is how a test changes what it must not change on the machine. It runs the calling test once more as a
// process in its own mount namespace and those of flags, for an ordinary user in an own user namespace too, and
// reports true in that process, which has every capability there. In the first one it reports false, after the cell's verdict has become the test's.
func inCell(t *testing.T, flags uintptr) bool {
	t.Helper()
	if os.Getenv(cellVariable) == t.Name() {
		err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		if err == nil {
			// Root, to whom everything above a scratch directory belongs, is nobody in a user's cell.
			err = unix.Mount("scratch", "/mnt", "tmpfs", 0, "mode=0755")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", "/mnt")
		if os.Getuid() != 0 {
			cover(t, "/etc/subuid", os.DevNull) // the helpers that map those ids cannot work in a user's cell
		}
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), cellVariable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | flags}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, c)
		}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("in its cell:\n%s", out)
	switch {
	case err != nil:
		t.Fatal(err)
	case strings.Contains(string(out), "--- SKIP"):
		t.SkipNow()
	}
	return false
}

// insideCell says whether the test runs in its cell already.
func insideCell() bool { return os.Getenv(cellVariable) != "" }

// cover hides a file of the machine behind another, in the cell.
func cover(t *testing.T, file, by string) {
	t.Helper()
	if _, err := os.Stat(file); os.IsNotExist(err) {
		return
	}
	if err := unix.Mount(by, file, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("cannot cover %s: %v", file, err)
	}
}
