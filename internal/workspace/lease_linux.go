package workspace

import (
	"errors"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// errWriter: a file that was read can become another at any time, and inotify says nothing when that is done
// through shared memory.
var errWriter = errors.New("somebody has it open for writing")

// leases keep files as they were read. The kernel grants a lease on a file only when nobody has it open for
// writing, and whoever then opens it so, by whatever name, waits until the lease is given back (fcntl(2), "Leases").
type leases struct {
	refused map[string]bool // directories on whose file system there are none, or whose files are somebody else's
	held    map[string]*os.File
}

// probe finds out whether files in dir, of which name is one that nobody writes now, can have leases.
func (l *leases) probe(dir, name string) {
	f, err := openPlain(filepath.Join(dir, name))
	if err != nil {
		l.refused[dir] = true
		return
	}
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	l.refused[dir] = err != nil
}

// open opens a regular file that stays as it is until broken names it.
func (l *leases) open(path string) (*os.File, error) {
	f, err := openPlain(path)
	if err != nil {
		return nil, err
	}
	l.release(path)
	if !l.refused[filepath.Dir(path)] {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err == unix.EAGAIN {
			f.Close()
			return nil, errWriter
		}
	}
	l.held[path] = f
	return f, nil
}

func (l *leases) release(path string) {
	if f := l.held[path]; f != nil {
		f.Close()
	}
	delete(l.held, path)
}

// broken lists the files that somebody waits to write.
func (l *leases) broken() (paths []string) {
	for _, path := range slices.Sorted(maps.Keys(l.held)) {
		kind, err := unix.FcntlInt(l.held[path].Fd(), unix.F_GETLEASE, 0)
		if err == nil && kind != unix.F_RDLCK && !l.refused[filepath.Dir(path)] {
			paths = append(paths, path)
		}
	}
	return paths
}

func (l *leases) Close() {
	for path := range l.held {
		l.release(path)
	}
}

// onLeaseBroken has f called when somebody may wait for a lease of this process, until stop.
func onLeaseBroken(f func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGIO)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			f()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// openPlain opens a regular file, to which no link leads.
func openPlain(path string) (*os.File, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, os.NewSyscallError("openat2", err)
	}
	f := os.NewFile(uintptr(fd), path)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
