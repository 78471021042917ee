package namespace

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// mountBinds mounts the root's own binds and then the Spec's mounts, in order. Every path inside is resolved by openat2 without following any link: an agent may
// have planted some in the workspace, or in its own layers, on an earlier day.
func (c *child) mountBinds() error {
	spec := &c.plan.Spec
	for _, m := range spec.Root.Binds {
		if err := c.bind(c.next(), m.Target, true); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.Target, err)
		}
	}
	for number, m := range spec.Mounts {
		var err error
		switch m.Kind {
		case sandbox.MountBind, sandbox.MountState:
			err = c.bind(c.next(), m.Target, m.ReadOnly)
		case sandbox.MountOverlay:
			err = c.mountOverlay(c.next(), c.next(), m.Target, strconv.Itoa(number))
		case sandbox.MountPinned:
			err = remount(m.Target, 0)
		case sandbox.MountProtected:
			err = remount(m.Target, unix.MOUNT_ATTR_RDONLY)
		case sandbox.MountHidden:
			// The agent may have removed what is to be hidden, or a directory above it, from what it sees.
			if err = hide(m.Target); errors.Is(err, errChanged) && c.layered(m.Target) {
				err = nil
			}
		default:
			err = fmt.Errorf("unknown kind %d", m.Kind)
		}
		if err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.Target, err)
		}
	}
	return nil
}

func (c *child) bind(tree *os.File, target string, readOnly bool) error {
	st, err := tree.Stat()
	if err != nil {
		return err
	}
	at, err := c.mountPoint(target, st.IsDir())
	if err != nil {
		return err
	}
	defer at.Close()
	flags := uint64(0)
	if readOnly {
		flags = unix.MOUNT_ATTR_RDONLY
	}
	return moveOnto(tree, at, flags)
}

// remount mounts what is at target over itself, so that it is a mount point: the kernel then refuses to
// rename or remove it. Directories of other mounts below come along.
func remount(target string, flags uint64) error {
	at, err := openInside(target)
	if err != nil {
		return changed(err)
	}
	defer at.Close()
	fd, err := unix.OpenTree(int(at.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	tree := os.NewFile(uintptr(fd), target)
	defer tree.Close()
	return moveOnto(tree, at, flags)
}

// hide mounts an empty, immutable file or directory over target.
func hide(target string) error {
	at, err := openInside(target)
	if err != nil {
		return changed(err)
	}
	defer at.Close()
	st, err := at.Stat()
	if err != nil {
		return err
	}
	empty := emptyFile
	if st.IsDir() {
		empty = emptyDir
	}
	return cover(empty, at)
}

func cover(source string, at *os.File) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	tree := os.NewFile(uintptr(fd), source)
	defer tree.Close()
	return moveOnto(tree, at, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOEXEC)
}

func moveOnto(tree, at *os.File, flags uint64) error {
	if err := harden(int(tree.Fd()), flags); err != nil {
		return err
	}
	return unix.MoveMount(int(tree.Fd()), "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// errChanged: a path is not any more what it was when the mounts were planned.
var errChanged = errors.New("it changed while the sandbox started")

// changed words a path that was there when the workspace was read and is not any more, or is a link now.
func changed(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	return err
}

// layered says whether target lies in an overlay.
func (c *child) layered(target string) bool {
	return slices.ContainsFunc(c.plan.Spec.Mounts, func(m sandbox.Mount) bool {
		return m.Kind == sandbox.MountOverlay && strings.HasPrefix(target, m.Target+"/")
	})
}

// openInside opens a path below the new root for mounting on it, following no link.
func openInside(target string) (*os.File, error) {
	root, err := unix.Open(newRoot, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, rel(target), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), target), nil
}

// mountPoint opens target below the new root and makes what is missing of it: parents, and the directory
// or empty file itself. Missing parts are only ever made in the sandbox's own layers: binds are mounted
// parents first, and a place inside a bind must exist.
func (c *child) mountPoint(target string, dir bool) (*os.File, error) {
	at, err := openInside(target)
	if !errors.Is(err, unix.ENOENT) {
		return at, err
	}
	if b := c.bindAround(target); b != "" {
		return nil, sandbox.WithHint(fmt.Errorf("%s does not exist in %s", strings.TrimPrefix(target, b+"/"), b),
			"bailey adds no path to a directory of yours: make it first, or mount somewhere else")
	}
	root, err := os.OpenRoot(newRoot)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if !dir {
		if err := root.MkdirAll(path.Dir(rel(target)), 0o755); err != nil {
			return nil, err
		}
		f, err := root.OpenFile(rel(target), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		f.Close()
	} else if err := root.MkdirAll(rel(target), 0o755); err != nil {
		return nil, err
	}
	return openInside(target)
}

// bindAround returns the target of the bind that target lies in, or "".
func (c *child) bindAround(target string) string {
	around := ""
	for _, m := range c.plan.Spec.Mounts {
		if (m.Kind == sandbox.MountBind || m.Kind == sandbox.MountOverlay) && strings.HasPrefix(target, m.Target+"/") {
			around = m.Target
		}
	}
	return around
}
