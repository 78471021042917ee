//go:build !linux

package workspace

import (
	"context"
	"fmt"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Guard watches the names that a Plan protects but that did not exist when it was made.
//
// Only Linux has it so far.
type Guard struct{}

// NewGuard fails with sandbox.ErrUnsupported.
func NewGuard(Plan, string) (*Guard, error) {
	return nil, fmt.Errorf("cannot guard the workspace: %w", sandbox.ErrUnsupported)
}

// Close does nothing.
func (g *Guard) Close() error { return nil }

// Run does nothing.
func (g *Guard) Run(context.Context, func(Hit)) error { return sandbox.ErrUnsupported }
