//go:build !linux

package workspace

import "os"

// beneath is an open directory tree out of which no path leads. Unlike on Linux, links within it are
// followed.
type beneath struct{ root *os.Root }

func openBeneath(path string) (*beneath, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &beneath{root}, nil
}

func (b *beneath) Close() error { return b.root.Close() }

// Open opens the file or directory rel for reading.
func (b *beneath) Open(rel string) (*os.File, error) { return b.root.Open(rel) }
