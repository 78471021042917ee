//go:build unix

// Package flock waits for flock(2) of files that are shared for moments only. Whoever needs a limit of time, or wants to
// be told that a file is taken, asks the kernel itself.
package flock

import (
	"os"

	"golang.org/x/sys/unix"
)

// Lock waits until nobody else has f locked. The lock ends with Unlock, or when f is closed.
func Lock(f *os.File) error { return wait(f, unix.LOCK_EX) }

// RLock waits until nobody has f locked but by RLock.
func RLock(f *os.File) error { return wait(f, unix.LOCK_SH) }

// Unlock gives it back.
func Unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }

func wait(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
