//go:build !linux

package beneath

import (
	"io/fs"
	"os"
)

// Tree is an open directory out of which no path leads. Unlike on Linux, links within it are followed.
type Tree struct{ root *os.Root }

// Open opens the directory path.
func Open(path string) (*Tree, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Tree{root}, nil
}

// OpenOne is Open.
func OpenOne(path string) (*Tree, error) { return Open(path) }

// Close closes the tree, not what was opened in it.
func (t *Tree) Close() error { return t.root.Close() }

// Open opens the file or directory rel for reading.
func (t *Tree) Open(rel string) (*os.File, error) { return t.root.Open(rel) }

// Lstat says what rel is.
func (t *Tree) Lstat(rel string) (fs.FileInfo, error) { return t.root.Lstat(rel) }

// Readlink is the text of the link rel.
func (t *Tree) Readlink(rel string) (string, error) { return t.root.Readlink(rel) }
