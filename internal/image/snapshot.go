package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
)

// keepOld is how long a replaced snapshot stays for the sandboxes that still run on it.
const keepOld = 30 * 24 * time.Hour

// Names in the cache, besides manifest.json and lock: snapshots, and what is to become one.
const (
	donePrefix = "etc-"
	newPrefix  = "new-"
)

// manifest says what the newest snapshot was made of.
type manifest struct {
	Dir       string // below the cache
	Authority string // the fingerprint of the one that it trusts, "" for none
	Bundle    string // what it trusts, by its path inside; "" without an authority
	Stamps    []stamp
}

// stamp is a path of the host as it was; a missing one has only its name. Files that are rewritten in
// place deep inside a listed directory go unnoticed until something is renamed, added or removed there,
// which is how packages and editors write.
type stamp struct {
	Path  string
	Mode  fs.FileMode `json:",omitempty"`
	Size  int64       `json:",omitempty"`
	Mtime int64       `json:",omitempty"` // nanoseconds since 1970
}

func (t tree) stamp(path string) stamp {
	info, err := os.Lstat(t.at(path))
	if err != nil {
		return stamp{Path: path}
	}
	return stamp{Path: path, Mode: info.Mode(), Size: info.Size(), Mtime: info.ModTime().UnixNano()}
}

// snapshot returns a directory below cache with copies of the listed parts of /etc and /var, which trust ca, made
// anew when the host's have changed; without a ca, one that trusts any will do. Copying costs once what mounting
// each part would cost at every start. The bundle is what it trusts, by its path inside.
func snapshot(t tree, cache string, ca []byte) (dir, bundle string, err error) {
	name := filepath.Join(cache, "manifest.json")
	if m, ok := t.newest(cache, name, ca); ok {
		return filepath.Join(cache, m.Dir), m.Bundle, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", "", err
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", "", err
	}
	defer unlock()
	m, ok := t.newest(cache, name, ca) // somebody else may have made it while we waited
	if !ok {
		if err := removeUnfinished(cache); err != nil {
			return "", "", err
		}
		if m, err = makeSnapshot(t, cache, name, ca); err != nil {
			return "", "", errors.Join(err, removeUnfinished(cache))
		}
		if err := removeOld(cache, m.Dir); err != nil {
			return "", "", err
		}
	}
	return filepath.Join(cache, m.Dir), m.Bundle, nil
}

// makeSnapshot copies, and makes the copy the newest by writing its manifest. What it has begun when it fails
// or is killed can be told by names that begin with "new-".
func makeSnapshot(t tree, cache, name string, ca []byte) (manifest, error) {
	unfinished, err := os.MkdirTemp(cache, newPrefix)
	if err != nil {
		return manifest{}, err
	}
	c := copier{t: t, into: unfinished}
	if err := c.copyAll(); err != nil {
		return manifest{}, err
	}
	m := manifest{Dir: donePrefix + strings.TrimPrefix(filepath.Base(unfinished), newPrefix), Authority: fingerprint(ca)}
	if len(ca) > 0 {
		if m.Bundle, err = c.trust(ca); err != nil {
			return manifest{}, err
		}
	}
	m.Stamps = c.stamps
	if err := os.Chmod(unfinished, 0o755); err != nil {
		return manifest{}, err
	}
	if err := failpoint.Hit("snapshot.copied"); err != nil {
		return manifest{}, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return manifest{}, err
	}
	if err := os.WriteFile(unfinished+".json", b, 0o600); err != nil {
		return manifest{}, err
	}
	if err := os.Rename(unfinished, filepath.Join(cache, m.Dir)); err != nil {
		return manifest{}, err
	}
	if err := failpoint.Hit("snapshot.written"); err != nil {
		return manifest{}, err
	}
	return m, os.Rename(unfinished+".json", name)
}

// lock keeps others from making a snapshot at the same time; they wait for ours.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	const wait, pause = 10 * time.Second, 5 * time.Millisecond
	for end := time.Now().Add(wait); ; time.Sleep(pause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			f.Close()
			return nil, fmt.Errorf("another start has been copying for too long (%s is locked): %w", path, err)
		}
	}
}

// removeUnfinished deletes what a makeSnapshot has begun that failed or was killed. The lock is held.
func removeUnfinished(cache string) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, unfinished := strings.CutPrefix(e.Name(), newPrefix)
		if !unfinished {
			continue
		}
		if id, isManifest := strings.CutSuffix(rest, ".json"); isManifest {
			err = errors.Join(err, os.RemoveAll(filepath.Join(cache, donePrefix+id)))
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(cache, e.Name())))
	}
	return err
}

// newest returns the manifest called name, and false when the host's files have changed or it does not trust ca.
func (t tree) newest(cache, name string, ca []byte) (m manifest, ok bool) {
	b, err := os.ReadFile(name)
	if err != nil || json.Unmarshal(b, &m) != nil || !t.unchanged(m, cache) {
		return manifest{}, false
	}
	return m, len(ca) == 0 || m.Authority == fingerprint(ca)
}

func (t tree) unchanged(m manifest, cache string) bool {
	if m.Dir == "" || m.Dir != filepath.Base(m.Dir) {
		return false
	}
	if info, err := os.Lstat(filepath.Join(cache, m.Dir)); err != nil || !info.IsDir() {
		return false
	}
	for _, s := range m.Stamps {
		if t.stamp(s.Path) != s {
			return false
		}
	}
	return true
}

func removeOld(cache, current string) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.Name() == current || !strings.HasPrefix(e.Name(), donePrefix) || time.Since(info.ModTime()) < keepOld {
			continue
		}
		if err := os.RemoveAll(filepath.Join(cache, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// copier fills one snapshot and notes what it looked at.
type copier struct {
	t      tree
	into   string
	stamps []stamp
}

func (c *copier) copyAll() error {
	for _, pattern := range append(etcDirs(), varCopies()...) {
		for _, dir := range c.glob(pattern) {
			if c.t.isDir(dir) && c.t.public(dir) {
				if err := c.copyTop(dir, c.copyDir); err != nil {
					return err
				}
			}
		}
	}
	for _, pattern := range etcFiles() {
		for _, file := range c.glob(pattern) {
			if err := c.copyTop(file, c.copyListed); err != nil {
				return err
			}
		}
	}
	return nil
}

// glob expands a pattern of the lists and notes what would make it expand differently.
func (c *copier) glob(pattern string) []string {
	if strings.Contains(pattern, "*") {
		c.stamps = append(c.stamps, c.t.stamp(filepath.Dir(pattern)))
	} else {
		c.stamps = append(c.stamps, c.t.stamp(pattern))
	}
	return c.t.glob(pattern)
}

// copyTop keeps a listed path that is a link to something shown anyway; else it copies what is there.
func (c *copier) copyTop(path string, copy func(string) error) error {
	if err := os.MkdirAll(filepath.Dir(c.into+path), 0o755); err != nil {
		return err
	}
	if text, ok := c.t.linkInside(path); ok {
		return os.Symlink(text, c.into+path)
	}
	return copy(path)
}

// copyListed copies a file that was named one by one, unless a credential seems to be in it.
func (c *copier) copyListed(path string) error {
	content, err := c.t.readPublic(path)
	if err != nil || holdsSecret(content) {
		return nil // not for everybody on the host, so not for the sandbox
	}
	return os.WriteFile(c.into+path, content, 0o644)
}

// copyDir copies what everybody on the host may read of a directory. Links stay links: inside they lead to
// what is shown, or nowhere.
func (c *copier) copyDir(dir string) error {
	if err := os.MkdirAll(c.into+dir, 0o755); err != nil {
		return err
	}
	c.stamps = append(c.stamps, c.t.stamp(dir))
	entries, err := os.ReadDir(c.t.real(dir))
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w", dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			text, err := os.Readlink(c.t.at(path))
			if err == nil {
				err = os.Symlink(text, c.into+path)
			}
			if err != nil {
				return err
			}
		case !c.t.public(path):
		case e.IsDir():
			if err := c.copyDir(path); err != nil {
				return err
			}
		case e.Type().IsRegular():
			if content, err := c.t.readPublic(path); err == nil {
				if err := os.WriteFile(c.into+path, content, c.t.executable(path)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (t tree) executable(path string) fs.FileMode {
	if info, err := t.stat(path); err == nil && info.Mode()&0o001 != 0 {
		return 0o755
	}
	return 0o644
}
