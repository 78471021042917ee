package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/changes"
)

// in opens the directory that the path lies in, reached through no link and on no other mount.
func (a *applier) in(name string) (dir int, base string, err error) {
	parent := path.Dir(name)
	if parent == "." {
		return int(a.target.Fd()), path.Base(name), nil
	}
	if a.parent == nil || a.parentPath != parent {
		fd, err := unix.Openat2(int(a.target.Fd()), parent, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		})
		if err != nil {
			return 0, "", err
		}
		if a.parent != nil {
			a.parent.Close()
		}
		a.parent, a.parentPath = os.NewFile(uintptr(fd), parent), parent
	}
	return int(a.parent.Fd()), path.Base(name), nil
}

// leave forgets the last directory, which may go now.
func (a *applier) leave() {
	if a.parent != nil {
		a.parent.Close()
		a.parent = nil
	}
}

// do takes a step unless it was taken before.
func (a *applier) do(s step) error {
	name := string(s.Path)
	dir, base, err := a.in(name)
	if err != nil {
		return a.failed(s, err)
	}
	slots := int(a.slots.Fd())
	switch s.Verb {
	case take:
		if !a.slot(s).Is() {
			if err := unix.Renameat2(dir, base, slots, s.Slot, unix.RENAME_NOREPLACE); err != nil {
				return a.failed(s, err)
			}
		}
		return a.found(s)
	case swap:
		if a.slot(s).Same(staged(s.New)) {
			if err := unix.Renameat2(slots, s.Slot, dir, base, unix.RENAME_EXCHANGE); err != nil {
				return a.failed(s, hintExchange(err))
			}
		}
		return a.found(s)
	case put:
		if !a.slot(s).Is() {
			return nil
		}
		return a.failed(s, unix.Renameat2(slots, s.Slot, dir, base, unix.RENAME_NOREPLACE))
	case rmdir:
		err := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		a.leave()
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTEMPTY) && !s.New.Is() {
			return nil // gone; or the user has something in it, which nobody has asked to remove
		}
		return a.failed(s, err)
	case mkdir:
		err := unix.Mkdirat(dir, base, s.New.Mode&0o777)
		if errors.Is(err, unix.EEXIST) {
			if entry(dir, base).Kind == changes.Dir {
				return nil
			}
		}
		if err == nil {
			err = a.own(dir, base, s.New.Mode&0o777)
		}
		return a.failed(s, err)
	default: // chmod
		return a.failed(s, chmodDir(dir, base, s.New.Mode&0o777|s.Old.Mode&0o7000))
	}
}

// own gives a new directory its mode whatever the umask, and to the owner of the one it is in.
func (a *applier) own(dir int, base string, mode uint32) error {
	if os.Getuid() == 0 {
		var st unix.Stat_t
		if err := unix.Fstat(int(a.target.Fd()), &st); err != nil {
			return err
		}
		if err := unix.Fchownat(dir, base, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	return chmodDir(dir, base, mode)
}

func chmodDir(dir int, base string, mode uint32) error {
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, mode&0o7777)
}

// found compares what has come into the slot with what should have been there.
func (a *applier) found(s step) error {
	if now := a.slot(s); !now.Same(s.Old) {
		return &ConflictError{string(s.Path), "has changed in the project since it was compared"}
	}
	return nil
}

// failed words why a step could not be taken.
func (a *applier) failed(s step, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		return &ConflictError{string(s.Path), "is in the project meanwhile"}
	case errors.Is(err, unix.ENOENT):
		return &ConflictError{string(s.Path), "is not in the project any more"}
	case errors.Is(err, unix.ENOTEMPTY):
		return &ConflictError{string(s.Path), "is not empty in the project"}
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return &ConflictError{string(s.Path), "lies behind a link, or in what is no directory, in the project"}
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EBUSY):
		return &ConflictError{string(s.Path), "lies on another file system that is mounted in the project"}
	}
	return fmt.Errorf("cannot %s %q: %w", s.Verb, s.Path, err)
}

// slot is what the step's slot has now.
func (a *applier) slot(s step) changes.Entry { return entry(int(a.slots.Fd()), s.Slot) }

// entry reads what a name in a directory is. What cannot be read is like nothing else.
func entry(dir int, base string) changes.Entry {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return changes.Entry{}
		}
		return changes.Entry{Kind: changes.Unreadable}
	}
	e := changes.Entry{Kind: changes.Special, Mode: st.Mode & 0o7777}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Kind = changes.Dir
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, base, buf)
		if err != nil {
			return changes.Entry{Kind: changes.Unreadable}
		}
		return changes.Entry{Kind: changes.Link, Target: string(buf[:n])}
	case unix.S_IFREG:
		fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return changes.Entry{Kind: changes.Unreadable}
		}
		f := os.NewFile(uintptr(fd), base)
		defer f.Close()
		hash := sha256.New()
		if e.Size, err = io.Copy(hash, f); err != nil {
			return changes.Entry{Kind: changes.Unreadable}
		}
		e.Kind, e.Digest = changes.File, hex.EncodeToString(hash.Sum(nil))
	}
	return e
}

// undo takes steps back, the last first. What somebody has edited since its step stays as it is now: kept are
// its paths.
func (a *applier) undo(steps []step) (kept []string, err error) {
	for i := len(steps) - 1; i >= 0; i-- {
		s := steps[i]
		one := a.undoOne(s)
		if one == nil && (s.Verb == swap || s.Verb == put) {
			if now := a.slot(s); now.Is() && !now.Same(staged(s.New)) {
				one = a.keep(s)
				kept = append(kept, string(s.Path))
			}
		}
		if one != nil {
			err = errors.Join(err, fmt.Errorf("cannot put %q back: %w", s.Path, one))
		}
	}
	return kept, err
}

// keep takes the undoing of a step back.
func (a *applier) keep(s step) error {
	dir, base, err := a.in(string(s.Path))
	if err != nil {
		return err
	}
	flags := uint(unix.RENAME_NOREPLACE)
	if s.Verb == swap {
		flags = unix.RENAME_EXCHANGE
	}
	return unix.Renameat2(int(a.slots.Fd()), s.Slot, dir, base, flags)
}

func (a *applier) undoOne(s step) error {
	dir, base, err := a.in(string(s.Path))
	if err != nil {
		now := a.slot(s)
		taken := s.Verb == take && now.Is() || s.Verb == put && !now.Is() || s.Verb == swap && !now.Same(staged(s.New))
		if !taken {
			return nil
		}
		return err
	}
	slots := int(a.slots.Fd())
	switch s.Verb {
	case take:
		if !a.slot(s).Is() {
			return nil
		}
		return unix.Renameat2(slots, s.Slot, dir, base, unix.RENAME_NOREPLACE)
	case swap:
		if a.slot(s).Same(staged(s.New)) {
			return nil
		}
		err := unix.Renameat2(slots, s.Slot, dir, base, unix.RENAME_EXCHANGE)
		if errors.Is(err, unix.ENOENT) { // somebody has removed it since
			err = unix.Renameat2(slots, s.Slot, dir, base, unix.RENAME_NOREPLACE)
		}
		return err
	case put:
		if a.slot(s).Is() {
			return nil
		}
		err := unix.Renameat2(dir, base, slots, s.Slot, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.ENOENT) {
			err = nil
		}
		return err
	case rmdir:
		err := unix.Mkdirat(dir, base, s.Old.Mode&0o777)
		if errors.Is(err, unix.EEXIST) {
			return nil
		}
		if err == nil {
			err = a.own(dir, base, s.Old.Mode)
		}
		return err
	case mkdir:
		err := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		a.leave()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOTDIR) {
			return nil // never made, or the user has something in it by now
		}
		return err
	default: // chmod
		return chmodDir(dir, base, s.Old.Mode)
	}
}

// staged is a new entry as its slot has it.
func staged(e changes.Entry) changes.Entry {
	if e.Kind == changes.File {
		e.Mode &= 0o777
	}
	e.Why = ""
	return e
}
