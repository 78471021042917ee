package config

import (
	"fmt"
	"slices"
)

// Modes are what becomes of what an agent writes to a workspace, each stricter than the one before it.
func Modes() []string { return []string{"direct", "review", "clone", "read-only"} }

// Workspace is what a file says about workspaces. The zero value says nothing.
type Workspace struct {
	Mode          string   `yaml:"mode"` // "" or one of Modes
	Hide, Protect []string // path patterns, as package workspace reads them
}

func (w Workspace) check() error {
	if w.Mode != "" && !slices.Contains(Modes(), w.Mode) {
		return fmt.Errorf(" workspace: unknown mode %q: choose one of %q", w.Mode, Modes())
	}
	return nil
}

// Stricter is the stricter one of two modes.
func Stricter(a, b string) string {
	if slices.Index(Modes(), b) > slices.Index(Modes(), a) {
		return b
	}
	return a
}
