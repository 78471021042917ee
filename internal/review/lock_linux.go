package review

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func flock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("another apply or discard is under way")
	}
	if err != nil {
		return fmt.Errorf("cannot lock the review: %w", err)
	}
	return nil
}
