// Package apply takes approved changes over into a directory of the user's: all of them or none. Contents are
// first laid down beside it and synchronised, then a journal is written, and only then are they exchanged with
// what is there, each in one step of the kernel's that can be taken back. Whatever happens, a later Recover
// finishes or undoes. It follows no link, writes nowhere else, and overwrites nothing that is not exactly what
// the change was made against. Which changes those are is decided elsewhere (package review).
package apply

import (
	"errors"
	"fmt"
	"io"

	"github.com/bailey-sandbox/bailey/internal/changes"
)

// Op is one path that is to change.
type Op struct {
	Path string
	Old  changes.Entry // what must be there now
	New  changes.Entry // what is there afterwards
	// Open returns the content of New, of files. It is read once, and refused if it is not what New.Digest says.
	Open func() (io.ReadCloser, error)
}

// Target is the directory that changes.
type Target struct {
	Dir      string // absolute, without links
	UID, GID int    // of what is made in it, when root applies
}

// ConflictError says which path is not as it was when the changes were shown. Nothing was applied.
type ConflictError struct {
	Path string
	Why  string
}

func (e *ConflictError) Error() string { return fmt.Sprintf("%q %s", e.Path, e.Why) }

// ErrInterrupted says that an apply has stopped halfway: Recover finishes it.
var ErrInterrupted = errors.New("an apply was interrupted")
