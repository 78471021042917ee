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
	"errors"
	"fmt"
	"log/slog"
	"os"

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

// Probe implements sandbox.Backend. It starts a machine that runs nothing and stops it again: no list of
// kernel switches tells as surely whether the walls stand here.
func (b *Backend) Probe(ctx context.Context) (sandbox.Capabilities, error) {
	caps := sandbox.Capabilities{
		Isolation: "linux namespaces, seccomp, no capabilities; the host's kernel is shared",
		Users:     usersSupport(),
	}
	caps.CPUs, caps.Memory, caps.Pids = cgroup.Probe()
	caps.Disk = sandbox.No("needs a file system with quotas; the namespace backend sets none")
	dir, err := os.MkdirTemp("", "bailey-probe-")
	if err != nil {
		return caps, fmt.Errorf("cannot make a directory to try the backend in: %w", err)
	}
	defer os.RemoveAll(dir)
	spec := sandbox.Spec{
		Name: "probe", Dir: dir, Hostname: "probe", Workdir: "/", Network: sandbox.NetworkGateway,
		User: sandbox.User{Name: "probe", UID: 1000, GID: 1000, Home: "/", Shell: "/bin/sh", HostUID: os.Getuid(), HostGID: os.Getgid()},
		Root: sandbox.Root{Lowers: []sandbox.Lower{{Source: "/usr", Target: "/usr"}}},
	}
	if os.Getuid() != 0 {
		spec.User.UID, spec.User.GID = os.Getuid(), os.Getgid()
	}
	m, err := b.Start(ctx, spec)
	if err != nil {
		return caps, errors.Join(sandbox.ErrUnsupported, err)
	}
	caps.Gateway, caps.Overlay = sandbox.Yes(), sandbox.Yes()
	return caps, errors.Join(m.Stop(ctx), b.Remove(ctx, spec.Name, dir))
}
