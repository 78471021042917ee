package changes

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stamp adds when the entry was changed last, by the kernel's clock.
func stamp(e Entry, info fs.FileInfo) Entry {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.Changed = time.Unix(st.Ctim.Unix())
	}
	return e
}

// born is when the file was made: in an overlay's layer, when it was copied up or first written.
func born(f *os.File) time.Time {
	var st unix.Statx_t
	if unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st) != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}

// Whiteout says whether an entry of a layer is the word for what is gone: a character device with the numbers 0 and 0, as which every user may
// make one (overlayfs.rst, "whiteouts and opaque directories").
func Whiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

// Opaque says whether a layer's directory hides the one below. Directories that stand for others elsewhere
// (redirects) are not made with the mount option userxattr, and would be misread.
func Opaque(d *os.File) (bool, error) {
	var value [1]byte
	_, err := unix.Fgetxattr(int(d.Fd()), "user.overlay.redirect", value[:])
	if err == nil || err == unix.ERANGE {
		return false, errors.New("the directory is redirected")
	}
	n, err := unix.Fgetxattr(int(d.Fd()), "user.overlay.opaque", value[:])
	switch {
	case err == unix.ENODATA, err == unix.ENOTSUP:
		return false, nil
	case err != nil:
		return false, err
	}
	return n == 1 && value[0] == 'y', nil
}

// MakeOpaque makes a layer's directory hide the one below.
func MakeOpaque(d *os.File) error {
	return unix.Fsetxattr(int(d.Fd()), "user.overlay.opaque", []byte("y"), 0)
}
