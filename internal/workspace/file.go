package workspace

import (
	"io/fs"
	"os"
	"syscall"
)

// maxGitFile bounds what is read of a git file, in bytes.
const maxGitFile = 1 << 20

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
