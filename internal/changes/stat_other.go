//go:build !linux

package changes

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

func stamp(e Entry, _ fs.FileInfo) Entry { return e }

func born(*os.File) time.Time { return time.Time{} }

// Whiteout needs Linux.
func Whiteout(fs.FileInfo) bool { return false }

// Opaque needs Linux.
func Opaque(*os.File) (bool, error) { return false, errors.New("overlays need linux") }

// MakeOpaque needs Linux.
func MakeOpaque(*os.File) error { return errors.New("overlays need linux") }
