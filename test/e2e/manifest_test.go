//go:build linux

package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// manifest says of every path below the home what somebody could notice of a change: mode, owner, time,
// content. The skipped ones are left out with all below them; of their parents the times are left out.
func (u *user) manifest(skipped ...string) map[string]string {
	u.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(u.home, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(u.home, path)
		if err != nil {
			return err
		}
		parent := false
		for _, s := range skipped {
			if rel == s {
				return fs.SkipDir
			}
			parent = parent || rel == "." || strings.HasPrefix(s, rel+"/")
		}
		all[rel], err = describe(path, parent)
		return err
	})
	if err != nil {
		u.t.Fatal(err)
	}
	return all
}

func describe(path string, timeless bool) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	st := info.Sys().(*syscall.Stat_t)
	text := fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
	if !timeless {
		text += info.ModTime().Format(" 15:04:05.000000000")
	}
	switch {
	case info.Mode().IsRegular():
		data, err := os.ReadFile(path)
		return fmt.Sprintf("%s %x", text, sha256.Sum256(data)), err
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return text + " -> " + target, err
	}
	return text, nil
}

// untouched fails when two manifests differ.
func untouched(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, was := range before {
		if now := after[path]; now != was {
			t.Errorf("%s has changed from %q to %q", path, was, now)
		}
	}
	for path, now := range after {
		if _, there := before[path]; !there {
			t.Errorf("%s is new: %s", path, now)
		}
	}
}

// owned fails when path belongs to somebody else than the user who runs the test.
func owned(t *testing.T, path string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Error(err)
		return
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != os.Getuid() || int(st.Gid) != os.Getgid() {
		t.Errorf("%s belongs to %d:%d, want %d:%d", path, st.Uid, st.Gid, os.Getuid(), os.Getgid())
	}
}
