package workspace

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxGitFile bounds what is read of a git file, in bytes.
const maxGitFile = 1 << 20

// ReadDir lists the directory rel, in no order.
func (b *beneath) ReadDir(rel string) ([]fs.DirEntry, error) {
	d, err := b.Open(rel)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// ReadFile reads the regular file rel.
func (b *beneath) ReadFile(rel string) ([]byte, error) {
	f, err := b.Open(rel)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxGitFile {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", rel, maxGitFile)
	}
	return io.ReadAll(io.LimitReader(f, maxGitFile))
}

// links is the number of hard links to a file.
func links(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}

// identify tells files apart for as long as they exist.
func identify(info os.FileInfo) file {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return file{}
	}
	return file{dev: uint64(st.Dev), ino: uint64(st.Ino), link: info.Mode()&fs.ModeSymlink != 0}
}
