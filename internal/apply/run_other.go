//go:build !linux

package apply

import (
	"context"
	"errors"
)

// Run needs Linux.
func Run(context.Context, string, Target, []Op) error {
	return errors.New("changes can be applied on linux only")
}

// Recover finds nothing: nothing was begun.
func Recover(string) (bool, error) { return false, nil }
