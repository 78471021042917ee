// Package all is the explicit list of backends that this binary has. Nothing else but tests imports a
// concrete backend.
package all

import (
	"log/slog"

	"github.com/bailey-sandbox/bailey/internal/backend/namespace"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Backends lists the backends, the preferred one first. self is the path of the running binary, which
// backends execute again for what must be a process of its own.
func Backends(self string, log *slog.Logger) []sandbox.Backend {
	return []sandbox.Backend{namespace.New(self, log)}
}

// Child returns what the binary does instead of its command line when its first argument is name, which
// backends use for processes of their own; nil for every other word.
func Child(name string) func(args []string) int {
	switch name {
	case namespace.Child:
		return namespace.Main
	default:
		return nil
	}
}
