package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// file is one log in a tree.
type file struct {
	root *os.Root
	path string // slash-separated, below the root
	name string // with the root's, to sort by and to tell of
	size int64
}

// list opens the directories and finds the files in them that wanted likes, sorted by name: of a call that was logged
// twice, the first counts. Links are not followed. The caller closes what it got.
func list(dirs []string, wanted func(path string) bool) (roots []*os.Root, files []file, skipped Skipped, err error) {
	for _, dir := range dirs {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return roots, nil, skipped, fmt.Errorf("cannot read %s: %w", dir, errors.Unwrap(err))
		}
		roots = append(roots, root)
		err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				skipped.Files++
				if d != nil && d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if !d.Type().IsRegular() || !wanted(path) {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				skipped.Files++
				return nil
			}
			files = append(files, file{root, path, filepath.Join(dir, path), info.Size()})
			return nil
		})
		if err != nil {
			return roots, nil, skipped, fmt.Errorf("cannot read %s: %w", dir, err)
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	// The same directory may have been named twice.
	return roots, slices.CompactFunc(files, func(a, b file) bool { return a.name == b.name }), skipped, nil
}

func closeAll(roots []*os.Root) {
	for _, r := range roots {
		r.Close()
	}
}

// open opens the log. What has taken its place meanwhile, a pipe that nobody writes into for example, is refused.
func (f file) open() (*os.File, error) {
	opened, err := f.root.OpenFile(filepath.FromSlash(f.path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := opened.Stat(); err != nil || !info.Mode().IsRegular() {
		opened.Close()
		return nil, fmt.Errorf("%s is no file", f.name)
	}
	return opened, nil
}

// document reads the whole log, of at most limit bytes.
func (f file) document(limit int64) ([]byte, error) {
	opened, err := f.open()
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	text, err := io.ReadAll(io.LimitReader(opened, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", f.name, limit)
	}
	return text, err
}

// base is the file's name without its ending.
func (f file) base() string {
	name := filepath.Base(f.path)
	return named(strings.TrimSuffix(name, filepath.Ext(name)))
}

// named is the name of a file as an identifier, without what a terminal would obey.
func named(name string) string {
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '?'
		}
		return r
	}, name[:min(len(name), maxName)])
}

func unprintable(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }
