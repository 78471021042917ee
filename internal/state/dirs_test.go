package state

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func TestLocateFollowsTheSpecification(t *testing.T) {
	for what, c := range map[string]struct {
		env  map[string]string
		want Dirs
	}{
		"defaults below HOME": {map[string]string{"HOME": "/h"},
			Dirs{"/h/.local/state/bailey", "/h/.local/share/bailey", "/h/.config/bailey"}},
		"relative variables are ignored": {map[string]string{"HOME": "/h", "XDG_STATE_HOME": "s", "XDG_DATA_HOME": "./d"},
			Dirs{"/h/.local/state/bailey", "/h/.local/share/bailey", "/h/.config/bailey"}},
		"absolute variables count, HOME is not needed": {
			map[string]string{"XDG_STATE_HOME": "/s/", "XDG_DATA_HOME": "/d/../e", "XDG_CONFIG_HOME": "/c"},
			Dirs{"/s/bailey", "/e/bailey", "/c/bailey"}},
		"no HOME":                        {nil, Dirs{}},
		"a relative HOME":                {map[string]string{"HOME": "h"}, Dirs{}},
		"no HOME and one of three given": {map[string]string{"XDG_STATE_HOME": "/s"}, Dirs{}},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := Locate(func(k string) string { return c.env[k] }, 1000)
			if got != c.want {
				t.Errorf("got %+v", got)
			}
			if (err != nil) != (c.want == Dirs{}) {
				t.Errorf("error %v", err)
			}
			if err != nil && !strings.Contains(sandbox.Hint(err), "1000") {
				t.Errorf("hint %q", sandbox.Hint(err))
			}
		})
	}
}

func TestOpenRefusesWhatOthersCouldChange(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(state string) error // state is the parent of "bailey"
		want  string
		root  bool // needs root
	}{
		"nothing wrong":       {func(string) error { return nil }, "", false},
		"world-writable":      {func(d string) error { return os.Chmod(d, 0o777) }, "by everybody", false},
		"sticky, as /tmp is":  {func(d string) error { return os.Chmod(d, 0o777|os.ModeSticky) }, "", false},
		"a link of ours":      {func(d string) error { return os.Symlink("/", d+"/bailey") }, "symbolic link", false},
		"a file":              {func(d string) error { return os.WriteFile(d+"/bailey", nil, 0o600) }, "not a directory", false},
		"too readable, fixed": {func(d string) error { return os.Mkdir(d+"/bailey", 0o755) }, "", false},
		"another user's":      {func(d string) error { return os.Chown(d, 12345, -1) }, "belongs to user 12345", true},
		"a group's": {func(d string) error {
			return errors.Join(os.Chown(d, -1, 12345), os.Chmod(d, 0o770))
		}, "by its group", true},
	} {
		t.Run(what, func(t *testing.T) {
			if c.root && os.Getuid() != 0 {
				t.Skip("only root can give files away")
			}
			parent := filepath.Join(t.TempDir(), "state")
			if err := os.Mkdir(parent, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(parent); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dirsIn(filepath.Dir(parent)))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				if info, err := os.Stat(parent + "/bailey"); err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("bailey's own directory: %v, %v", info, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), parent) {
				t.Errorf("got %v", err)
			}
			if sandbox.Hint(err) == "" {
				t.Error("no hint")
			}
		})
	}
}

func TestUnwritableDirectoriesAreNamed(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere; the full disk below stands for it")
	}
	s := newStore(t)
	if err := os.Chmod(s.root, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(s.root, 0o700)
	_, err := s.Create(Record{Name: "x"})
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), s.root) || sandbox.Hint(err) == "" {
		t.Errorf("Create: %v", err)
	}
}

func TestFullAndReadOnlyFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a tmpfs")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a tmpfs here: %s", out)
	}
	defer syscall.Unmount(dir, 0)
	s, err := Open(dirsIn(dir))
	if err != nil {
		t.Fatal(err)
	}
	kept := create(t, s, "kept")
	fill, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	fill.Close()
	expect := func(err error, want error) {
		t.Helper()
		if !errors.Is(err, want) || !strings.Contains(err.Error(), s.root) || !strings.Contains(sandbox.Hint(err), s.root) {
			t.Errorf("got %v, hint %q", err, sandbox.Hint(err))
		}
	}
	_, err = s.Create(Record{Name: "more"})
	expect(err, syscall.ENOSPC)
	bigger := kept.Record
	bigger.Args = []string{strings.Repeat("x", 8192)}
	expect(kept.Save(bigger), syscall.ENOSPC)
	if good, bad := names(t, s); len(good) != 1 || len(bad) != 0 {
		t.Errorf("on a full disk: listed %v, damaged %v", good, bad)
	}
	if _, err := kept.TryLock(); err != nil {
		t.Errorf("lock on a full disk: %v", err)
	}
	if err := kept.Remove(); err != nil {
		t.Errorf("remove on a full disk: %v", err)
	}
	if err := os.Remove(fill.Name()); err != nil {
		t.Fatal(err)
	}
	create(t, s, "more")
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot make a tmpfs read-only here: %s", out)
	}
	_, err = s.Create(Record{Name: "third"})
	if !errors.Is(err, syscall.EROFS) && !errors.Is(err, os.ErrPermission) {
		t.Errorf("read-only: %v", err)
	}
	if !strings.Contains(err.Error(), s.dirs.State) {
		t.Errorf("read-only: %v names no directory", err)
	}
}
