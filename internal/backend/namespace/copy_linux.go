package namespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Copy implements sandbox.Backend. An ordinary user's copy is made where the ids of the inside are mapped: an agent may
// have taken its own rights from its files, and other users inside have files of their own.
func (b *Backend) Copy(ctx context.Context, from, to string) (int64, error) {
	if privileged() {
		size, err := copyTree(ctx, from, to)
		return size, explainCopy(err, from)
	}
	ids := mapIDs(sandbox.User{UID: os.Getuid(), GID: os.Getgid()})
	out, err := b.runMapped(ctx, ids, stageCopy, from, to)
	if err != nil {
		return 0, explainCopy(err, from)
	}
	return strconv.ParseInt(strings.TrimSpace(out), 10, 64)
}

func explainCopy(err error, from string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot copy %s: %w", from, err)
}

// copyMain is Copy's other end.
func copyMain(args []string) int {
	size, err := int64(0), awaitMapped()
	if err == nil {
		size, err = copyTree(context.Background(), args[0], args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(size)
	return 0
}

// copyTree copies the directory from to the path to, following no link.
func copyTree(ctx context.Context, from, to string) (size int64, err error) {
	source, err := unix.Open(from, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	dir := os.NewFile(uintptr(source), from)
	defer dir.Close()
	if err := os.Mkdir(to, 0o700); err != nil {
		return 0, err
	}
	target, err := os.Open(to)
	if err != nil {
		return 0, err
	}
	defer target.Close()
	c := copier{ctx: ctx}
	if err := c.dir(dir, target); err != nil {
		return 0, err
	}
	return c.size, nil
}

// copier copies trees and counts the bytes of their files.
type copier struct {
	ctx  context.Context
	size int64
}

// dir copies what is in a directory, and then what is to be said of itself.
func (c *copier) dir(from, to *os.File) error {
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(from, to, name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	return dress(from, to, &st)
}

func (c *copier) entry(from, to *os.File, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch kind := st.Mode & unix.S_IFMT; kind {
	case unix.S_IFDIR:
		if err := unix.Mkdirat(int(to.Fd()), name, 0o700); err != nil {
			return err
		}
		return with(from, to, name, unix.O_RDONLY|unix.O_DIRECTORY, c.dir)
	case unix.S_IFREG:
		fd, err := unix.Openat(int(to.Fd()), name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		unix.Close(fd)
		c.size += st.Size
		return with(from, to, name, unix.O_RDWR, func(a, b *os.File) error { return errors.Join(copyContent(a, b), dress(a, b, &st)) })
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(int(from.Fd()), name, buf)
		if err == nil {
			err = unix.Symlinkat(string(buf[:n]), int(to.Fd()), name)
		}
		if err != nil {
			return err
		}
	default:
		// A whiteout is a device that everybody may make; others mean nothing outside of a machine.
		if kind != unix.S_IFIFO && kind != unix.S_IFSOCK && st.Rdev != 0 {
			return nil
		}
		if err := unix.Mknodat(int(to.Fd()), name, kind|st.Mode&0o777, int(st.Rdev)); err != nil {
			return err
		}
	}
	return unix.Fchownat(int(to.Fd()), name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// with opens the same name in two directories: the first for reading, the second with flags.
func with(from, to *os.File, name string, flags int, do func(a, b *os.File) error) error {
	const always = unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	source, err := unix.Openat(int(from.Fd()), name, unix.O_RDONLY|flags&unix.O_DIRECTORY|always, 0)
	if err != nil {
		return err
	}
	a := os.NewFile(uintptr(source), name)
	defer a.Close()
	target, err := unix.Openat(int(to.Fd()), name, flags|always, 0)
	if err != nil {
		return err
	}
	b := os.NewFile(uintptr(target), name)
	defer b.Close()
	return do(a, b)
}

// copyContent shares the blocks where the file system can (btrfs, xfs), and copies them elsewhere.
func copyContent(from, to *os.File) error {
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	_, err := io.Copy(to, from)
	return err
}

// dress gives a copy the owner, mode, attributes and times of the original.
func dress(from, to *os.File, st *unix.Stat_t) error {
	if err := unix.Fchown(int(to.Fd()), int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyAttributes(from, to); err != nil {
		return err
	}
	if err := unix.Fchmod(int(to.Fd()), st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", to.Fd()), []unix.Timespec{st.Atim, st.Mtim}, 0)
}

// copyAttributes copies the extended attributes that users have, among them the overlay's.
func copyAttributes(from, to *os.File) error {
	list := make([]byte, 64<<10)
	n, err := unix.Flistxattr(int(from.Fd()), list)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 64<<10)
		size, err := unix.Fgetxattr(int(from.Fd()), name, value)
		if err == nil {
			err = unix.Fsetxattr(int(to.Fd()), name, value[:size], 0)
		}
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}
