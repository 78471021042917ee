package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Dirs are bailey's directories on the host, absolute and clean. None of them may ever be visible in a
// sandbox.
type Dirs struct{ State, Data, Config string }

// Locate says where the directories of the user uid are, by the XDG base directory specification: a
// variable that is unset, empty or relative counts for nothing. It looks at no file and creates none.
func Locate(getenv func(string) string, uid int) (Dirs, error) {
	var missing error
	dir := func(variable, underHome string) string {
		if base := getenv(variable); filepath.IsAbs(base) {
			return filepath.Join(base, "bailey")
		}
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			missing = sandbox.WithHint(
				fmt.Errorf("cannot find bailey's directories: HOME is %q, not an absolute path", home),
				fmt.Sprintf(`export HOME="$(getent passwd %d | cut -d: -f6)"`, uid))
			return ""
		}
		return filepath.Join(home, underHome, "bailey")
	}
	d := Dirs{
		State:  dir("XDG_STATE_HOME", ".local/state"),
		Data:   dir("XDG_DATA_HOME", ".local/share"),
		Config: dir("XDG_CONFIG_HOME", ".config"),
	}
	if missing != nil {
		return Dirs{}, missing
	}
	return d, nil
}

// makePrivate creates dir with mode 0700 as far as it is missing, and checks every component on the way:
// whoever can rename or replace one of them decides what bailey runs. Looking at paths from the top down
// is free of races, because nobody but root and the user can change below what has been checked. The
// last ownLevels components are bailey's own.
func makePrivate(dir string, uid, ownLevels int) error {
	parts := strings.Split(strings.TrimPrefix(filepath.Clean(dir), "/"), "/")
	path := "/"
	for i, part := range parts {
		path = filepath.Join(path, part)
		own := i >= len(parts)-ownLevels
		err := os.Mkdir(path, 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			if _, statErr := os.Lstat(path); statErr != nil {
				return explain(fmt.Errorf("cannot create the directory %s: %w", path, errno(err)), filepath.Dir(path))
			}
		}
		if err := checkComponent(path, uid, own); err != nil {
			return err
		}
	}
	return nil
}

// checkComponent accepts a directory that only root and uid can change.
func checkComponent(path string, uid int, own bool) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("cannot check the directory %s: %w", path, errno(err))
	}
	if info.Mode()&fs.ModeSymlink != 0 && !own && owner(info) == 0 {
		// Root's links, such as /home to /var/home, are part of the system. What they lead to is checked.
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return fmt.Errorf("cannot check the directory %s: %w", path, errno(err))
		}
		for p := target; p != "/"; p = filepath.Dir(p) {
			if err := checkComponent(p, uid, false); err != nil {
				return err
			}
		}
		return nil
	}
	refuse := func(why, hint string) error {
		return sandbox.WithHint(fmt.Errorf("cannot keep state below %s: it %s", path, why), hint)
	}
	elsewhere := "set XDG_STATE_HOME, XDG_DATA_HOME and XDG_CONFIG_HOME to real directories of your own"
	perm, by := info.Mode().Perm(), owner(info)
	sticky := info.Mode()&fs.ModeSticky != 0 // as /tmp: others cannot touch what is not theirs
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return refuse("is a symbolic link", elsewhere)
	case !info.IsDir():
		return refuse("is not a directory", elsewhere)
	case by != uid && (by != 0 || own):
		return refuse(fmt.Sprintf("belongs to user %d", by), elsewhere)
	case perm&0o002 != 0 && !sticky:
		return refuse("can be written by everybody", "chmod o-w "+path)
	case perm&0o020 != 0 && !sticky && !privateGroup(info, uid):
		return refuse("can be written by its group", "chmod g-w "+path)
	case own && perm != 0o700:
		if err := os.Chmod(path, 0o700); err != nil {
			return explain(fmt.Errorf("cannot make %s private: %w", path, errno(err)), path)
		}
	}
	return nil
}

// privateGroup reports whether the group is the user's alone by the convention of most distributions
// (same number as the user), whose umask of 002 makes directories like ~/.local writable by it.
func privateGroup(info fs.FileInfo, uid int) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Gid) == uid
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// errno strips the operation and path that the caller's message already has.
func errno(err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

// explain adds what helps against a full or read-only file system.
func explain(err error, dir string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return sandbox.WithHint(err, "free some space: df -h "+dir+"; df -i "+dir)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return sandbox.WithHint(err, "make "+dir+" writable, or set XDG_STATE_HOME to a directory that is")
	}
	return err
}
