package guest

import "syscall"

// child is a started process until it is reaped.
type child struct {
	pid    int
	done   chan struct{} // closed when it was reaped
	status syscall.WaitStatus
}

// spawner starts processes and learns how they end. os/exec cannot be used: as PID 1 we must wait for
// any process at all, which would steal the exit statuses that os/exec waits for.
type spawner interface {
	start(path string, argv []string, attr *syscall.ProcAttr) (*child, error)
	close()
}

// waiter is the spawner of a process that is not PID 1. It waits for its own children only.
type waiter struct{}

func (waiter) start(path string, argv []string, attr *syscall.ProcAttr) (*child, error) {
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, err
	}
	c := &child{pid: pid, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			_, err := syscall.Wait4(pid, &c.status, 0, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				c.status = 255 << 8 // somebody else took the status: an exit that nobody knows is no success
			}
			return
		}
	}()
	return c, nil
}

func (waiter) close() {}
