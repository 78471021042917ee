package beneath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Tree is an open directory. Its methods may be called from any goroutine. Close it.
type Tree struct {
	dir     *os.File
	resolve uint64
}

// Open opens the directory path, which is no link itself.
func Open(path string) (*Tree, error) { return open(path, 0) }

// OpenOne is Open for a tree on one file system: what is mounted in it cannot be opened (EXDEV).
func OpenOne(path string) (*Tree, error) { return open(path, unix.RESOLVE_NO_XDEV) }

func open(path string, resolve uint64) (*Tree, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return &Tree{dir, resolve | unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}, nil
}

// Close closes the tree, not what was opened in it.
func (t *Tree) Close() error { return t.dir.Close() }

// Open opens the file or directory rel for reading, without waiting for a FIFO's writer.
func (t *Tree) Open(rel string) (*os.File, error) {
	fd, err := t.openat(rel, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: rel, Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(t.dir.Name(), rel)), nil
}

// Lstat says what rel is.
func (t *Tree) Lstat(rel string) (fs.FileInfo, error) {
	fd, err := t.openat(rel, unix.O_PATH)
	if err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: rel, Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(t.dir.Name(), rel))
	defer f.Close()
	return f.Stat()
}

// Readlink is the text of the link rel.
func (t *Tree) Readlink(rel string) (string, error) {
	fd, err := t.openat(rel, unix.O_PATH)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: rel, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: rel, Err: err}
	}
	return string(buf[:n]), nil
}

func (t *Tree) openat(rel string, flags uint64) (int, error) {
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: t.resolve}
	for {
		fd, err := unix.Openat2(int(t.dir.Fd()), rel, how)
		// EAGAIN: something was renamed meanwhile, so that the kernel could not be sure of "beneath".
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}
