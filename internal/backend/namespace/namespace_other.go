//go:build !linux

// Package namespace is the embedded backend of Linux. On other systems it says so.
package namespace

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Child is the hidden first argument with which the binary runs again as a machine's first process.
const Child = "namespace-init"

// Main is the whole life of a machine's first process, on Linux.
func Main([]string) int { return 1 }

// Backend exists to be named and refused.
type Backend struct{}

// New returns the backend.
func New(string, *slog.Logger) *Backend { return &Backend{} }

// Name implements sandbox.Backend.
func (*Backend) Name() string { return "namespace" }

// Probe implements sandbox.Backend.
func (*Backend) Probe(context.Context) (sandbox.Capabilities, error) {
	return sandbox.Capabilities{}, unsupported()
}

// Start implements sandbox.Backend.
func (*Backend) Start(context.Context, sandbox.Spec) (sandbox.Machine, error) {
	return nil, unsupported()
}

// Recover implements sandbox.Backend.
func (*Backend) Recover(context.Context, string, string) error { return nil }

// Remove implements sandbox.Backend.
func (*Backend) Remove(context.Context, string, string) error { return nil }

// Copy implements sandbox.Backend.
func (*Backend) Copy(context.Context, string, string) (int64, error) { return 0, unsupported() }

func unsupported() error {
	return fmt.Errorf("the namespace backend needs linux, this is %s: %w", runtime.GOOS, sandbox.ErrUnsupported)
}
