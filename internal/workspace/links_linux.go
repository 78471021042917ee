package workspace

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Links: git looks into every directory that an index records as a repository (a gitlink), and a mere git
// status reads the configuration there. An agent writes the index, because it commits. So where an index has a
// gitlink and there was no repository at the start, there may be none until the end.

// Bounds of what an index can make a Guard do.
const (
	maxIndex = 1 << 29 // bytes
	maxLinks = 1000    // directories that are watched because of indexes
)

// errLinks: the rest of an index's gitlinks would not be watched.
var errLinks = errors.New("it records more repositories, or deeper ones, than can be watched")

// addIndex starts watching what the index records. Where a repository is by now, it is the user's.
func (g *Guard) addIndex(ix indexFile) error {
	links, err := g.links(ix)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errNoIndex) {
		return err
	}
	for _, link := range links {
		dir := filepath.Join(ix.top, link)
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			g.linked[dir] = false
		} else if err := g.forbid(ix.top, link); err != nil {
			return err
		}
	}
	g.indexes = append(g.indexes, ix)
	return nil
}

// readLinks looks at the repositories that an index records by now. An index that bailey cannot follow goes to the
// quarantine: then git has nothing staged, and nothing recorded. (Git renames an index into place. Whoever writes
// it there piece by piece can be caught at it.)
func (g *Guard) readLinks(ix indexFile, onHit func(Hit)) {
	links, err := g.links(ix)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errNoIndex) {
		return
	}
	forbidden := len(g.linked)
	for _, link := range links {
		if err == nil {
			err = g.forbid(ix.top, link)
		}
	}
	if len(g.linked) > forbidden {
		g.rescan(ix.top, onHit)
	}
	if err == nil {
		return
	}
	hit := Hit{Kind: HitUnseen, Path: ix.path, Err: err}
	if dir, err := g.watchDir(filepath.Dir(ix.path)); err == nil && dir != nil {
		hit = g.quarantine.take(dir, filepath.Base(ix.path))
	}
	onHit(hit)
}

// links returns the paths, relative to the working tree, that the index records as repositories.
func (g *Guard) links(ix indexFile) ([]string, error) {
	idx, err := readIndexFile(ix.path, ix.hash)
	if err != nil || idx.shared == "" {
		return idx.links, err
	}
	rest, err := readIndexFile(filepath.Join(filepath.Dir(ix.path), idx.shared), ix.hash)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errNoIndex) {
		return idx.links, nil // a name of zeros is for none; else git fails
	}
	return append(idx.links, rest.links...), err
}

func readIndexFile(path string, hash int) (gitIndex, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if err == unix.ELOOP {
		return gitIndex{}, errIndex
	}
	if err != nil {
		return gitIndex{}, os.NewSyscallError("openat2", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return gitIndex{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxIndex {
		return gitIndex{}, errIndex
	}
	data, err := io.ReadAll(io.LimitReader(f, maxIndex))
	if err != nil {
		return gitIndex{}, err
	}
	return readIndex(data, hash)
}

// forbid has every .git moved away in the directory that a gitlink names, however it comes to be there.
func (g *Guard) forbid(top, link string) error {
	if !filepath.IsLocal(link) {
		return errIndex
	}
	dir := filepath.Join(top, link)
	if _, decided := g.linked[dir]; decided || g.watch[dir][".git"] != (file{}) {
		return nil
	}
	var missing []string
	for d := dir; d != top; d = filepath.Dir(d) {
		if g.watch[d] == nil {
			missing = append(missing, d)
		}
	}
	if g.linkDirs+len(missing) > maxLinks {
		return errLinks
	}
	g.linkDirs += len(missing)
	for _, d := range missing {
		g.watch[d] = map[string]file{}
	}
	g.watch[dir][".git"] = file{}
	g.linked[dir] = true
	return nil
}
