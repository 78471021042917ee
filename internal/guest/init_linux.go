package guest

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func newSpawner(cfg Config) spawner {
	if !cfg.Init {
		return waiter{}
	}
	sealFiles()
	r := &reaper{
		oom:      cfg.OOM,
		children: map[int]*child{},
		ended:    make(chan os.Signal, 1),
		ignored:  make(chan os.Signal, 1),
		quit:     make(chan struct{}),
		gone:     make(chan struct{}),
	}
	signal.Notify(r.ended, unix.SIGCHLD)
	// Caught and dropped rather than ignored, because what is ignored stays ignored in the children. A
	// signal that Go's runtime would die of can be sent by any process of the same user.
	signal.Notify(r.ignored, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT,
		unix.SIGBUS, unix.SIGFPE, unix.SIGUSR1, unix.SIGSEGV, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM,
		unix.SIGTERM, unix.SIGSTKFLT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGSYS)
	go r.loop()
	return r
}

// reaper is the spawner of PID 1: one place waits for everything, own children and orphans alike.
type reaper struct {
	mu       sync.Mutex // held while a process starts, so that it cannot be reaped before it is known
	children map[int]*child
	oom      *os.File

	ended, ignored chan os.Signal
	quit, gone     chan struct{}
}

func (r *reaper) start(path string, argv []string, attr *syscall.ProcAttr) (*child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := expendable(r.oom, func() (int, error) { return syscall.ForkExec(path, argv, attr) })
	if err != nil {
		return nil, err
	}
	c := &child{pid: pid, done: make(chan struct{})}
	r.children[pid] = c
	return c, nil
}

func (r *reaper) loop() {
	defer close(r.gone)
	for {
		r.reap()
		select {
		case <-r.ended: // stands for any number of ends
		case <-r.quit:
			return
		}
	}
}

func (r *reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c := r.children[pid]; c != nil {
			delete(r.children, pid)
			c.status = status
			close(c.done)
		}
	}
}

func (r *reaper) close() {
	signal.Stop(r.ended)
	signal.Stop(r.ignored)
	close(r.quit)
	<-r.gone
}

// sealFiles keeps what this process inherited (its stream, say) from its children.
func sealFiles() {
	if unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	for fd := 3; fd < 1<<16; fd++ { // a kernel before 5.11
		unix.CloseOnExec(fd)
	}
}

// killOthers ends what escaped from every session of ours by a session of its own. Only PID 1 may do
// that: kill(-1) spares it, and reaches nothing outside its namespace.
func killOthers() {
	if os.Getpid() != 1 {
		return
	}
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGKILL} {
		_ = unix.Kill(-1, sig)
		// Not everybody is our child, so that there is only asking whether anybody is left.
		for deadline := time.Now().Add(grace); unix.Kill(-1, 0) == nil && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
	}
}
