package workspace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// beneath is an open directory tree in which no path leads out or through a link, whatever an agent, or
// another sandbox on the same workspace, does to it at the same time.
type beneath struct{ dir *os.File }

func openBeneath(path string) (*beneath, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return &beneath{dir}, nil
}

func (b *beneath) Close() error { return b.dir.Close() }

// Open opens the file or directory rel for reading, without waiting for a FIFO's writer.
func (b *beneath) Open(rel string) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(int(b.dir.Fd()), rel, how)
		if err == nil {
			return os.NewFile(uintptr(fd), filepath.Join(b.dir.Name(), rel)), nil
		}
		// EAGAIN: something was renamed meanwhile, so that the kernel could not be sure of "beneath".
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return nil, &fs.PathError{Op: "open", Path: rel, Err: err}
		}
	}
}
