// Package beneath reads directory trees that somebody else may change at the same time, an agent above all: no
// path that it is given leads out of a tree, or through a link. It reads; what writes into such trees has
// its own rules (package apply).
package beneath

import (
	"fmt"
	"io"
	"io/fs"
)

// ReadDir lists the directory rel, in no order.
func (t *Tree) ReadDir(rel string) ([]fs.DirEntry, error) {
	d, err := t.Open(rel)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// ReadFile reads the regular file rel, which may have at most limit bytes.
func (t *Tree) ReadFile(rel string, limit int64) ([]byte, error) {
	f, err := t.Open(rel)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", rel, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
