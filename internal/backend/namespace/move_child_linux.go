package namespace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
)

// The guest's program may need its loader and libraries from the host, so it is executed while the host's
// root is still there; by then it has no right to change its root. A second process in the same mount
// namespace, the mover, does it: pivot_root(2) changes the root of every process that has the old one.

// startMover starts the mover with the rights that the set-up has, and returns the guest's end of the
// socket between the two.
func startMover() (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fds[1])
	_, err = syscall.ForkExec("/proc/self/exe", []string{"bailey", Child, stageMove}, &syscall.ProcAttr{
		Env:   failpoint.Environ(),
		Files: []uintptr{0, 1, 2, uintptr(fds[1])},
	})
	if err != nil {
		unix.Close(fds[0])
		return nil, fmt.Errorf("cannot start the process that changes the root: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "mover"), nil
}

// moveMain is the mover's life: it waits for the guest, changes the root, says so and ends.
func moveMain() int {
	guest := os.NewFile(3, "guest")
	if n, err := guest.Read(make([]byte, 1)); n != 1 || err != nil {
		return 1
	}
	if err := errors.Join(changeRoot(), failpoint.Hit("mover.moved")); err != nil {
		fmt.Fprintln(guest, err)
		return 1
	}
	fmt.Fprintln(guest, moved)
	return 0
}

const moved = "moved"

// changeRoot makes the new root the only one.
func changeRoot() error {
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	// pivot_root(2): with "." twice the old root ends up on top of the new one, and is unmounted from there.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("cannot change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot leave the host's root: %w", err)
	}
	return nil
}

// moveIn has the mover change this process's root, and returns when the mover is gone.
func moveIn(mover *os.File) error {
	defer mover.Close()
	if _, err := mover.Write([]byte{1}); err != nil {
		return err
	}
	answer, err := io.ReadAll(mover)
	if err != nil {
		return err
	}
	if string(answer) != moved+"\n" {
		return errors.New(string(answer))
	}
	return unix.Chdir("/")
}
