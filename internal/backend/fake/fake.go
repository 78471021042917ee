// Package fake is a backend for tests: its machines are guest agents in the same process, which run commands
// on the host as the current user. It isolates NOTHING and mounts nothing, so nothing but tests may import
// it. It passes the conformance suite but for what it declares to lack.
package fake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/guest"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Backend starts fake machines.
type Backend struct{ log *slog.Logger }

// New returns the fake backend.
func New(log *slog.Logger) *Backend { return &Backend{log} }

// Name implements sandbox.Backend.
func (*Backend) Name() string { return "fake" }

// Probe implements sandbox.Backend.
func (*Backend) Probe(context.Context) (sandbox.Capabilities, error) {
	no := sandbox.No("the fake backend isolates nothing")
	return sandbox.Capabilities{
		Isolation: "none: commands run on the host (tests only)",
		CPUs:      no, Memory: no, Pids: no, Disk: no, Users: no, Overlay: no,
		Gateway: sandbox.Yes(),
	}, nil
}

// Start implements sandbox.Backend.
func (b *Backend) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if spec.Limits != (sandbox.Limits{}) {
		return nil, fmt.Errorf("cannot limit a fake machine: %w", sandbox.ErrUnsupported)
	}
	for _, m := range spec.Mounts {
		if m.Kind == sandbox.MountState {
			if err := os.MkdirAll(filepath.Join(spec.Dir, m.Source), 0o700); err != nil {
				return nil, err
			}
		}
	}
	user := spec.User
	user.UID, user.GID = os.Getuid(), os.Getgid() // nobody else can be had without privileges
	m := &machine{
		dir:   spec.Dir,
		guest: guest.New(guest.Config{User: user, Env: spec.Env, Workdir: spec.Workdir}, b.log),
		done:  make(chan struct{}),
	}
	if spec.Network == sandbox.NetworkGateway {
		source, err := newSource()
		if err != nil {
			_ = m.guest.Close()
			return nil, err
		}
		m.flows = source
	}
	return m, nil
}

// Recover implements sandbox.Backend. A fake machine ends with its process.
func (*Backend) Recover(context.Context, string, string) error { return nil }

// Remove implements sandbox.Backend. A fake machine keeps nothing.
func (*Backend) Remove(context.Context, string, string) error { return nil }

// Copy implements sandbox.Backend. A fake machine keeps directories of plain files.
func (*Backend) Copy(_ context.Context, from, to string) (int64, error) {
	return 0, os.CopyFS(to, os.DirFS(from))
}

type machine struct {
	dir    string
	guest  *guest.Server
	flows  gateway.Source // nil without a network
	serves sync.WaitGroup
	done   chan struct{}

	mu      sync.Mutex
	stopped bool
}

// Guest implements sandbox.Machine.
func (m *machine) Guest(context.Context) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, errors.New("the machine has ended")
	}
	host, inside, err := socketpair()
	if err != nil {
		return nil, err
	}
	m.serves.Go(func() { _ = m.guest.Serve(inside) })
	return host, nil
}

// Flows implements sandbox.Machine.
func (m *machine) Flows() gateway.Source { return m.flows }

// StateDir implements sandbox.Machine.
func (m *machine) StateDir(source string) string { return filepath.Join(m.dir, source) }

// Stats implements sandbox.Machine.
func (m *machine) Stats(context.Context) (sandbox.Stats, error) {
	return sandbox.Stats{Processes: 1}, nil
}

// Stop implements sandbox.Machine.
func (m *machine) Stop(context.Context) error {
	m.mu.Lock()
	first := !m.stopped
	m.stopped = true
	m.mu.Unlock()
	if !first {
		<-m.done
		return nil
	}
	err := m.guest.Close()
	m.serves.Wait()
	if m.flows != nil {
		err = errors.Join(err, m.flows.Close())
	}
	close(m.done)
	return err
}

// Done implements sandbox.Machine.
func (m *machine) Done() <-chan struct{} { return m.done }

// socketpair is a stream between this process and itself, with half-close as between two.
func socketpair() (a, b net.Conn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "guest")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
		}
		conns[i] = c
	}
	return conns[0], conns[1], nil
}
