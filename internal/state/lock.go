package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Lock is a held lock of one sandbox. The kernel drops it when the process ends, however it ends.
type Lock struct {
	file *os.File
	sb   *Sandbox
}

// TryLock takes the sandbox for this process, or fails at once with ErrLocked, or with ErrNotFound when
// the sandbox was removed. The supervisor holds it for its whole life, so whether a sandbox is alive is
// never a question about process numbers.
func (sb *Sandbox) TryLock() (*Lock, error) {
	path := filepath.Join(sb.Dir, LockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot lock the sandbox %s: %w", sb.Name, ErrNotFound)
	}
	if err != nil {
		return nil, explain(fmt.Errorf("cannot lock the sandbox %s: %w", sb.Name, err), sb.Dir)
	}
	if err := setLock(f); err != nil {
		if !errors.Is(err, ErrLocked) {
			err = fmt.Errorf("%s: %w", path, err)
		} else if pid := readPID(f); pid != 0 {
			err = fmt.Errorf("%w by process %d", err, pid)
		}
		f.Close()
		return nil, sandbox.WithHint(fmt.Errorf("cannot lock the sandbox %s: %w", sb.Name, err), "bailey stop "+sb.Name)
	}
	// Whoever held it may have removed the sandbox, and another may have its name.
	ours, err1 := f.Stat()
	now, err2 := os.Lstat(path)
	if err1 != nil || err2 != nil || !os.SameFile(ours, now) {
		f.Close()
		return nil, fmt.Errorf("cannot lock the sandbox %s: %w", sb.Name, ErrNotFound)
	}
	// Only for display: on a full disk the lock is as good without it.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	sb.lock = &Lock{f, sb}
	return sb.lock, nil
}

// Lock is TryLock that waits until the lock is free or ctx is done. It asks every millisecond at first, when
// somebody probably waits for a supervisor that is ending, and less and less often then.
func (sb *Sandbox) Lock(ctx context.Context) (*Lock, error) {
	const often, seldom = time.Millisecond, 20 * time.Millisecond
	for pause := often; ; pause = min(pause*5/4, seldom) {
		l, err := sb.TryLock()
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// Unlock gives the sandbox up. A second call does nothing.
func (l *Lock) Unlock() error {
	if l.sb.lock != l {
		return nil
	}
	l.sb.lock = nil
	return l.file.Close()
}

// Locked reports whether some process holds the sandbox, and its number, 0 when that is not known. It
// takes nothing, so asking never makes a TryLock at the same time fail.
func (sb *Sandbox) Locked() (held bool, pid int, err error) {
	f, err := os.OpenFile(filepath.Join(sb.Dir, LockFile), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, 0, nil // never started, or removed
	}
	if err != nil {
		return false, 0, fmt.Errorf("cannot look at the sandbox %s: %w", sb.Name, err)
	}
	defer f.Close()
	query := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), ofdGetLock, &query); err != nil {
		return false, 0, fmt.Errorf("cannot look at the sandbox %s: %w", sb.Name, err)
	}
	if query.Type == unix.F_UNLCK {
		return false, 0, nil
	}
	return true, readPID(f), nil
}

// lockStore serialises Create and Sweep. They are short, so it waits.
func (s *Store) lockStore() (unlock func(), err error) {
	unlock, err = WaitForLock(filepath.Join(s.dirs.State, StoreLock))
	if err != nil {
		return nil, explain(fmt.Errorf("cannot lock the state directory: %w", err), s.dirs.State)
	}
	return unlock, nil
}

// WaitForLock waits until the file at path, which it makes where there is none, is this caller's alone, also among those
// of one process. The kernel ends that with the process.
func WaitForLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.FcntlFlock(f.Fd(), ofdSetLockWait, &whole)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// setLock takes a lock that belongs to the open file and not to the process (fcntl(2), "open file
// description locks"): closing some other descriptor of the file does not lose it, and it can be asked
// after without being taken, which flock(2) cannot.
func setLock(f *os.File) error {
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(f.Fd(), ofdSetLock, &whole)
	if err == unix.EAGAIN || err == unix.EACCES {
		return ErrLocked
	}
	return err
}

func readPID(f *os.File) int {
	var text [16]byte
	n, _ := f.ReadAt(text[:], 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	return pid
}
