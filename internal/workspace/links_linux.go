package workspace

import (
	"errors"
	"io"
	"os"
	"path/filepath"
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
	g.leases.probe(filepath.Dir(ix.path), "HEAD")
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
// quarantine: then git has nothing staged, and nothing recorded. Git renames an index into place. Whoever
// writes it where it is, is not git, and loses it too.
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
	g.takeIndex(ix, err, onHit)
}

// takeIndex moves an index away because of err.
func (g *Guard) takeIndex(ix indexFile, err error, onHit func(Hit)) {
	hit := Hit{Kind: HitUnseen, Path: ix.path, Err: err}
	if dir, err := g.watchDir(filepath.Dir(ix.path)); err == nil && dir != nil {
		hit = g.quarantine.take(dir, filepath.Base(ix.path))
	}
	g.leases.release(ix.path) // not before: somebody may wait for it, to write
	onHit(hit)
}

// keepIndexes moves indexes away that somebody wants to write in place.
func (g *Guard) keepIndexes(onHit func(Hit)) {
	for _, path := range g.leases.broken() {
		for _, ix := range g.indexes {
			if filepath.Dir(ix.path) == filepath.Dir(path) {
				g.takeIndex(ix, errWriter, onHit)
			}
		}
		g.leases.release(path)
	}
}

// links returns the paths, relative to the working tree, that the index records as repositories.
func (g *Guard) links(ix indexFile) ([]string, error) {
	idx, err := g.readIndexFile(ix.path, ix.hash)
	if err != nil || idx.shared == "" {
		return idx.links, err
	}
	rest, err := g.readIndexFile(filepath.Join(filepath.Dir(ix.path), idx.shared), ix.hash)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errNoIndex) {
		return idx.links, nil // a name of zeros is for none; else git fails
	}
	return append(idx.links, rest.links...), err
}

func (g *Guard) readIndexFile(path string, hash int) (gitIndex, error) {
	f, err := g.leases.open(path)
	if err != nil {
		return gitIndex{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err != nil {
		return gitIndex{}, err
	}
	if len(data) > maxIndex {
		return gitIndex{}, errIndex
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
