// Package namespace is the embedded backend: Linux namespaces, an overlay over the host's own system,
// seccomp and, where the host allows them, cgroups. It needs no privilege and no daemon.
//
// A machine is one child process of the supervisor, this binary run again in new namespaces, which sets
// everything up, locks itself in and then is the guest's PID 1. The files whose names end in _child live
// in that process; the others in the supervisor. What the agent may reach is decided by the Spec alone;
// no policy lives here.
package namespace

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/bailey-sandbox/bailey/internal/cgroup"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Backend starts machines out of Linux namespaces.
type Backend struct {
	self string // the binary to run again; /proc/self/exe survives its deletion (go run)
	log  *slog.Logger
}

// New returns the backend. self is the path of a binary whose first argument Child leads to Main.
func New(self string, log *slog.Logger) *Backend { return &Backend{self: self, log: log} }

// Name implements sandbox.Backend.
func (b *Backend) Name() string { return "namespace" }

// Probe implements sandbox.Backend. It reads the switches that are known to forbid user namespaces; whether
// the walls really stand here only a start can tell, which is what bailey doctor does.
func (b *Backend) Probe(context.Context) (sandbox.Capabilities, error) {
	caps := sandbox.Capabilities{
		Isolation: "linux namespaces, seccomp, no capabilities; the host's kernel is shared",
		Users:     usersSupport(),
		Disk:      diskSupport(),
		Gateway:   sandbox.Yes(),
		Overlay:   sandbox.Yes(),
	}
	caps.CPUs, caps.Memory, caps.Pids = cgroup.Probe()
	if hint := forbidden(); hint != "" && !privileged() {
		return caps, sandbox.WithHint(fmt.Errorf("user namespaces are switched off: %w", sandbox.ErrUnsupported), hint)
	}
	return caps, nil
}
