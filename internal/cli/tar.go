package cli

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

// maxEntries bounds how many files one copy out of a sandbox may make.
const maxEntries = 1 << 20

// unpack writes the archive r, which comes from a sandbox and is hostile, below root. Nothing is written
// outside of it and nothing existing is written through: a name that exists is replaced if it is a file
// and refused otherwise. Links come last, so that no entry of the archive passes through one. left
// names what was not unpacked, and why.
func unpack(root *os.Root, r io.Reader) (left []string, err error) {
	type link struct{ name, target string }
	var links []link
	archive := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return left, fmt.Errorf("cannot read what the sandbox sent: %w", err)
		}
		if n >= maxEntries {
			return left, fmt.Errorf("cannot copy more than %d files at once", maxEntries)
		}
		name, ok := safeName(h.Name)
		if !ok {
			left = append(left, h.Name+": the name leads elsewhere")
			continue
		}
		if sparse(h) {
			left = append(left, h.Name+": a sparse file")
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = makeDir(root, name)
		case tar.TypeReg:
			err = writeFile(root, name, fs.FileMode(h.Mode)&0o755|0o600, archive)
		case tar.TypeSymlink:
			if !linkStays(name, h.Linkname) {
				left = append(left, h.Name+": a link out of what is copied")
				continue
			}
			links = append(links, link{name, h.Linkname})
		default:
			left = append(left, h.Name+": neither a file, a directory nor a symbolic link")
			continue
		}
		if err != nil {
			return left, fmt.Errorf("cannot write %s: %w", name, err)
		}
	}
	for _, l := range links {
		if err := root.Symlink(l.target, l.name); err != nil {
			left = append(left, fmt.Sprintf("%s: %v", l.name, err))
		}
	}
	return left, nil
}

// sparse reports files of which a few bytes may stand for exabytes of zeros. The tar inside makes none unless
// it is told to.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// safeName accepts relative names that stay below where they start.
func safeName(name string) (string, bool) {
	if strings.ContainsRune(name, 0) || path.IsAbs(name) {
		return "", false
	}
	clean := path.Clean(name)
	return clean, clean != "." && filepath.IsLocal(clean)
}

// linkStays reports whether a link at name to target stays within the copied tree, which is the first
// element of name.
func linkStays(name, target string) bool {
	if path.IsAbs(target) || target == "" || strings.ContainsRune(target, 0) {
		return false
	}
	top, _, nested := strings.Cut(name, "/")
	resolved := path.Join(path.Dir(name), target)
	return nested && (resolved == top || strings.HasPrefix(resolved, top+"/"))
}

func makeDir(root *os.Root, name string) error {
	err := root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if info, statErr := root.Lstat(name); statErr != nil || !info.IsDir() {
			return errors.New("something that is no directory is in the way")
		}
		return nil
	}
	return err
}

func writeFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	info, err := root.Lstat(name)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return errors.New("something that is no file is in the way")
	case err == nil:
		if err := root.Remove(name); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// pack writes source, a file or a directory of the user's own, as an archive. Links are archived as such.
func pack(w io.Writer, source string) error {
	archive := tar.NewWriter(w)
	abs, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	base := filepath.Dir(abs)
	err = filepath.WalkDir(abs, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(base, p)
		if err != nil {
			return err
		}
		return packOne(archive, p, rel, info)
	})
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", source, err)
	}
	return archive.Close()
}

func packOne(archive *tar.Writer, p, rel string, info fs.FileInfo) error {
	var target string
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		var err error
		if target, err = os.Readlink(p); err != nil {
			return err
		}
	case !info.IsDir() && !info.Mode().IsRegular():
		return nil // a socket or the like has no content to copy
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	// Inside, files belong to who unpacks them; the host's user names are nobody's business there.
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = filepath.ToSlash(rel), 0, 0, "", ""
	if err := archive.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(archive, f)
	return err
}
