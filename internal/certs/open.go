package certs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
)

// Names in the directory.
const (
	fileName = "authority.pem"
	lockName = "lock"
	newName  = "new.pem" // what a start that was killed may leave; the next one replaces it
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 64 << 10

// Open returns an authority for one sandbox, signed by the installation's in dir, whose key it does not keep. That one
// is made the first time, or when its end is near; starts at the same time agree on it. What others could have read
// or written is refused, and never mended: its key may be known.
func Open(dir string) (*Authority, error) {
	r, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot use the certificate authority in %s: %w", dir, err)
	}
	a := &Authority{dir: dir, installation: r.cert}
	if err := a.issue(r, time.Now()); err != nil {
		return nil, fmt.Errorf("cannot make the sandbox's certificate authority: %w", err)
	}
	return a, nil
}

func open(dir string) (*root, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return nil, errors.Join(errors.New("it is no directory"), err)
	} else if err := private(info); err != nil {
		return nil, err
	}
	if r, err := read(dir); err != nil || r != nil {
		return r, err
	}
	unlock, err := lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r, err := read(dir); err != nil || r != nil {
		return r, err // somebody else has made it while we waited
	}
	return create(dir)
}

// lock keeps others from making an authority at the same time; they wait for ours.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	const wait, pause = 10 * time.Second, 5 * time.Millisecond
	for end := time.Now().Add(wait); ; time.Sleep(pause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			_ = f.Close()
			return nil, fmt.Errorf("%s is locked: %w", path, err)
		}
	}
}

// read returns nil when there is no authority, or none that a sandbox can start with.
func read(dir string) (*root, error) {
	r, err := load(dir)
	if err != nil || r == nil || !r.usable(time.Now()) {
		return nil, err
	}
	return r, nil
}

// load returns nil when there is no authority.
func load(dir string) (*root, error) {
	file, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", fileName)
	}
	if err := private(info); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, err
	}
	r, err := decode(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fileName, err)
	}
	return r, nil
}

// create makes an authority and its file, whole or not at all. The lock is held.
func create(dir string) (*root, error) {
	r, err := generate(time.Now())
	if err != nil {
		return nil, err
	}
	content, err := r.encode()
	if err != nil {
		return nil, err
	}
	unfinished := filepath.Join(dir, newName)
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := write(unfinished, content); err != nil {
		return nil, err
	}
	if err := failpoint.Hit("certs.written"); err != nil {
		return nil, err
	}
	if err := os.Rename(unfinished, filepath.Join(dir, fileName)); err != nil {
		return nil, err
	}
	return r, failpoint.Hit("certs.made")
}

func write(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// private says what is wrong when somebody else could read or write a file.
func private(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user", info.Name())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to other users (mode %#o): remove the directory, and a new authority is made", info.Name(), info.Mode().Perm())
	}
	return nil
}
