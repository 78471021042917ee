package agent

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// limits bound an unpacked package. Codex, the largest seen, has 423 MB; Gemini CLI has 449 files.
type limits struct {
	entries int
	bytes   int64
}

func packageLimits() limits { return limits{entries: 50_000, bytes: 2 << 30} }

// walkTar calls put for each regular file of an npm package, with its path below the archive's first
// directory. Whatever a package cannot rightly hold is an error: npm itself drops links when it packs and
// when it unpacks. put must read content before it returns.
func walkTar(r io.Reader, max limits, put func(name string, mode fs.FileMode, content io.Reader) error) error {
	seen := map[string]bool{}
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("invalid archive: %w", err)
		}
		if n >= max.entries {
			return fmt.Errorf("more than %d entries", max.entries)
		}
		if h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == tar.TypeDir {
			continue // directories follow from the files in them
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("%q is neither file nor directory", h.Name)
		}
		if h.Size > max.bytes {
			return fmt.Errorf("more than %d bytes left at %q", max.bytes, h.Name)
		}
		max.bytes -= h.Size
		_, name, _ := strings.Cut(h.Name, "/")
		if name == "" || path.IsAbs(h.Name) || path.Clean(h.Name) != h.Name || !filepath.IsLocal(h.Name) ||
			strings.ContainsAny(h.Name, "\\\x00") {
			return fmt.Errorf("unsafe path %q", h.Name)
		}
		if seen[name] {
			return fmt.Errorf("%q appears twice", h.Name)
		}
		seen[name] = true
		mode := fs.FileMode(0o644)
		if h.Mode&0o111 != 0 {
			mode = 0o755
		}
		if err := put(name, mode, tr); err != nil {
			return err
		}
	}
}

// unpack writes the package in r below dir, which is new and empty.
func unpack(r io.Reader, dir string, max limits) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return walkTar(r, max, func(name string, mode fs.FileMode, content io.Reader) error {
		if err := mkdirs(root, path.Dir(name)); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		// Whoever runs the program inside is somebody else than whoever's umask this is.
		return errors.Join(err, f.Chmod(mode), f.Close())
	})
}

// mkdirs makes dir and its parents, each readable by all.
func mkdirs(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := root.Lstat(dir); err == nil {
		return nil // or a file, below which the next call fails
	}
	if err := mkdirs(root, path.Dir(dir)); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return root.Chmod(dir, 0o755)
}
