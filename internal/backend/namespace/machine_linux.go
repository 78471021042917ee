package namespace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/cgroup"
	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// machine is a running sandbox, seen from the supervisor.
type machine struct {
	child *os.Process
	done  chan struct{}
	group *cgroup.Group
	disk  *disk  // nil without a limit
	dir   string // what the machine's own directories lie in
	flows gateway.Source
	log   *slog.Logger

	mu      sync.Mutex // guards writes to control
	control *net.UnixConn

	stop sync.Once

	once     sync.Once
	released error
}

// Guest implements sandbox.Machine: one end of a new socket pair goes to the child.
func (m *machine) Guest(context.Context) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(fds[1]), "stream")
	defer theirs.Close()
	defer unix.Close(fds[0])
	ours, err := controlConn(fds[0])
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := send(m.control, []byte("stream"), theirs); err != nil {
		ours.Close()
		return nil, fmt.Errorf("the sandbox is gone: %w", err)
	}
	return ours, nil
}

// Flows implements sandbox.Machine.
func (m *machine) Flows() gateway.Source { return m.flows }

// Done implements sandbox.Machine.
func (m *machine) Done() <-chan struct{} { return m.done }

// grace is how long the guest has to end its sessions in order before the kernel does it.
const grace = 3 * time.Second

// Stop implements sandbox.Machine. Closing the control socket asks the guest to end its sessions; its own
// end takes every process along, since it is their PID 1.
func (m *machine) Stop(ctx context.Context) error {
	m.stop.Do(func() {
		m.control.Close()
		if m.flows != nil {
			m.flows.Close()
		}
		_ = failpoint.Hit("machine.stopping")
		ctx, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		select {
		case <-m.done:
		case <-ctx.Done():
			m.log.Warn("the guest did not end in time and is killed")
			if err := m.child.Kill(); err != nil {
				m.log.Debug("kill", "error", err)
			}
		}
	})
	select {
	case <-m.done:
		m.once.Do(func() { m.released = errors.Join(failpoint.Hit("machine.ended"), m.release(ctx)) })
		return m.released
	case <-time.After(grace):
		return fmt.Errorf("the sandbox's first process (pid %d) does not end", m.child.Pid)
	}
}

// release gives up what a machine that has ended, or never began, holds of the host.
func (m *machine) release(ctx context.Context) error {
	var err error
	if m.disk != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err = m.disk.close(ctx)
	}
	return errors.Join(err, m.group.Remove())
}

// StateDir implements sandbox.Machine.
func (m *machine) StateDir(source string) string { return filepath.Join(m.dir, source) }

// Stats implements sandbox.Machine.
func (m *machine) Stats(context.Context) (sandbox.Stats, error) {
	select {
	case <-m.done:
		return sandbox.Stats{}, fmt.Errorf("the sandbox has ended")
	default:
	}
	return treeStats(m.child.Pid)
}
