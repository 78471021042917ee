package image

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxCopied bounds a copied file, in bytes. The largest known is ld.so.cache of a full desktop.
const maxCopied = 4 << 20

// tree is a host file system seen at a directory; "" is the real one. Paths given to its methods are
// absolute within it, and so are the links it follows.
type tree string

// at is where path is really found, its own links unresolved.
func (t tree) at(path string) string { return filepath.Join("/", string(t), path) }

// real is at for the resolved path, which must exist.
func (t tree) real(path string) string {
	resolved, err := t.resolve(path)
	if err != nil {
		return t.at(path)
	}
	return t.at(resolved)
}

// resolve follows every link in path and returns a path that has none.
func (t tree) resolve(path string) (string, error) {
	done, todo := "/", strings.Split(filepath.Clean(path), "/")
	for links := 0; len(todo) > 0; {
		next := filepath.Join(done, todo[0])
		todo = todo[1:]
		info, err := os.Lstat(t.at(next))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > 40 {
			return "", fmt.Errorf("too many links in %s", path)
		}
		text, err := os.Readlink(t.at(next))
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(text) {
			done = "/"
		}
		todo = append(strings.Split(text, "/"), todo...)
	}
	return done, nil
}

func (t tree) stat(path string) (fs.FileInfo, error) {
	resolved, err := t.resolve(path)
	if err != nil {
		return nil, err
	}
	return os.Lstat(t.at(resolved))
}

func (t tree) isDir(path string) bool {
	info, err := t.stat(path)
	return err == nil && info.IsDir()
}

// public reports whether everybody on the host may read path, so that bailey run by root shows nothing
// that was root's alone.
func (t tree) public(path string) bool {
	info, err := t.stat(path)
	return err == nil && info.Mode().Perm()&0o004 != 0
}

// linkInside returns the text of the link at path if there is one and it leads to what is shown anyway.
func (t tree) linkInside(path string) (string, bool) {
	text, err := os.Readlink(t.at(path))
	if err != nil {
		return "", false
	}
	resolved, err := t.resolve(path)
	if err != nil {
		return "", false
	}
	shown := within(resolved, "/usr") || within(resolved, "/opt")
	for _, pattern := range append(append(etcDirs(), varDirs()...), varCopies()...) {
		if ok, _ := filepath.Match(pattern, resolved); ok {
			shown = true
		}
	}
	return text, shown
}

// glob is the paths that match the pattern, in order.
func (t tree) glob(pattern string) []string {
	found, err := filepath.Glob(t.at(pattern))
	if err != nil {
		return nil
	}
	for i := range found {
		found[i] = filepath.Join("/", strings.TrimPrefix(found[i], filepath.Clean("/"+string(t))))
	}
	return found
}

// readPublic reads a regular file that everybody may read.
func (t tree) readPublic(path string) ([]byte, error) {
	if !t.public(path) {
		return nil, fmt.Errorf("%s is not public", path)
	}
	return t.readFile(path)
}

// readFile reads a regular file.
func (t tree) readFile(path string) ([]byte, error) {
	info, err := t.stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCopied {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxCopied)
	}
	f, err := os.Open(t.real(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCopied))
}

// within reports whether path is dir or lies in it. Both are clean.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
