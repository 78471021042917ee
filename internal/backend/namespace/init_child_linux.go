package namespace

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/guest"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Descriptors that the child is started with. Both outlive its second execve.
const (
	fdControl = 3 // see controlPair
	fdLock    = 4 // the machine's lock, held until the child ends
	// From the second execve on; the numbers are out of reach of what the first program has open.
	fdGuest = 200 // the guest's configuration
	fdMover = 201 // the mover's socket
)

// Arguments that follow Child: the second program of the first process, the process that changes its
// root, and those that remove and copy a machine's layers.
const (
	stageGuest  = "guest"
	stageMove   = "move"
	stageRemove = "remove"
	stageCopy   = "copy"
)

// Main is the whole life of a machine's first process, in two programs: the first sets the sandbox up and
// locks itself in, then the second, without the first one's rights or memory, is the guest. It returns the
// process's exit code; args are what follows Child on the command line.
func Main(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case stageGuest:
			return guestMain()
		case stageMove:
			return moveMain()
		case stageRemove:
			return removeMain(args[1:])
		case stageCopy:
			return copyMain(args[1:])
		}
		return 1
	}
	// Rights belong to threads: the one that gives them up must be the one that makes the last execve.
	runtime.LockOSThread()
	// Descriptors that the user's shell left open must not reach a session, nor stay here.
	if err := closeOthers(fdControl, fdLock); err != nil {
		fmt.Fprintln(os.Stderr, "cannot close inherited descriptors:", err)
		return 1
	}
	control, err := controlConn(fdControl)
	if err != nil {
		fmt.Fprintln(os.Stderr, "no control socket:", err)
		return 1
	}
	c := &child{control: control}
	err = c.setUp()
	_ = send(control, report{Error: err.Error(), Hint: sandbox.Hint(err)}.encode())
	return 1
}

// child is the first process while it sets the machine up.
type child struct {
	control *net.UnixConn
	plan    plan
	trees   []*os.File // detached mounts that are not attached yet, in the order of sources
}

// setUp builds the sandbox around this process, locks it in and becomes the guest; it returns only when
// that fails. The order matters: all of the host that is needed is opened first, the gateway is built
// while the host's /proc is still there, and rights are given up last.
func (c *child) setUp() error {
	if err := c.receivePlan(); err != nil {
		return fmt.Errorf("cannot read the plan: %w", err)
	}
	if err := failpoint.Hit("child.planned"); err != nil {
		return err
	}
	spec := &c.plan.Spec
	mover, err := startMover()
	if err != nil {
		return err
	}
	if err := failpoint.Hit("child.mover"); err != nil {
		return err
	}
	built := make(chan error, 1)
	go func() { built <- c.buildNetwork() }()
	err = errors.Join(c.buildRoot(), failpoint.Hit("child.rooted"))
	if e := <-built; err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	config, err := memoryFile("guest", guest.Config{
		User: spec.User, Env: spec.Env, Workdir: spec.Workdir, Init: true, Users: c.plan.Users,
	})
	if err != nil {
		return err
	}
	if err := forbidNamespaces(); err != nil {
		return err
	}
	if err := shareWatches(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return err
	}
	if err := failpoint.Hit("child.named"); err != nil {
		return err
	}
	return c.becomeGuest(config, mover)
}

// buildNetwork sends the gateway's sockets to the supervisor and keeps none.
func (c *child) buildNetwork() error {
	if c.plan.Spec.Network == sandbox.NetworkGateway {
		sockets, err := gateway.Build(gateway.Without{})
		if err != nil {
			return err
		}
		if err := failpoint.Hit("child.gateway"); err != nil {
			return err
		}
		err = send(c.control, []byte("sockets"), sockets...)
		closeAll(sockets)
		if err != nil {
			return err
		}
	}
	return gateway.Loopback()
}

// next takes the next tree.
func (c *child) next() *os.File {
	tree := c.trees[0]
	c.trees = c.trees[1:]
	return tree
}

func (c *child) receivePlan() error {
	_, files, err := receive(c.control)
	if err != nil {
		return err
	}
	defer closeAll(files)
	if len(files) != 1 {
		return fmt.Errorf("%d files instead of 1", len(files))
	}
	if err := readMemoryFile(files[0], &c.plan); err != nil {
		return err
	}
	for len(c.trees) < c.plan.Trees {
		_, trees, err := receive(c.control)
		if err != nil {
			return err
		}
		c.trees = append(c.trees, trees...)
	}
	return nil
}

// becomeGuest gives up what the set-up needed and runs this program again as the guest.
func (c *child) becomeGuest(config, mover *os.File) error {
	// First out of the way, since either may sit on the other's place.
	var aside [2]int
	for i, f := range []*os.File{config, mover} {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, fdMover+1)
		if err != nil {
			return err
		}
		aside[i] = fd
	}
	for i, fd := range []int{fdGuest, fdMover} {
		if err := unix.Dup3(aside[i], fd, 0); err != nil {
			return err
		}
	}
	for _, fd := range []uintptr{fdControl, fdLock} {
		if _, err := unix.FcntlInt(fd, unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	user := c.plan.Spec.User
	// Files that the agent makes get the group too: a set-group-id program of root's group is no better.
	if err := lockIn(c.plan.Users, user.HostUID == 0 || user.HostGID == 0); err != nil {
		return err
	}
	if err := failpoint.Hit("child.locked-in"); err != nil {
		return err
	}
	err := unix.Exec("/proc/self/exe", []string{"bailey", Child, stageGuest}, failpoint.Environ())
	return fmt.Errorf("cannot start the guest: %w", err)
}

// guestMain is the guest's life: streams arrive on the control socket until the supervisor closes it or dies.
func guestMain() int {
	// Opened while this process's files in /proc are still its own.
	oom, err := os.OpenFile("/proc/self/oom_score_adj", os.O_WRONLY, 0)
	if err != nil {
		return 1
	}
	// Not dumpable: no process of the same user may look at this one's memory, descriptors or program.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 1
	}
	unix.CloseOnExec(fdLock)
	control, err := controlConn(fdControl)
	if err != nil {
		return 1
	}
	unix.Close(fdControl)
	var config guest.Config
	err = readMemoryFile(os.NewFile(fdGuest, "guest"), &config)
	if err == nil {
		err = failpoint.Hit("guest.begun")
	}
	if err == nil {
		err = moveIn(os.NewFile(fdMover, "mover"))
	}
	if err == nil {
		err = failpoint.Hit("guest.moved")
	}
	if err != nil {
		_ = send(control, report{Error: "cannot start the guest: " + err.Error()}.encode())
		return 1
	}
	config.OOM = oom
	server := guest.New(config, slog.New(slog.DiscardHandler))
	if err := send(control, report{}.encode()); err != nil {
		return 1
	}
	for {
		_, files, err := receive(control)
		if err != nil {
			break
		}
		for _, f := range files {
			conn, err := net.FileConn(f)
			f.Close()
			if err == nil {
				go func() { _ = server.Serve(conn) }()
			}
		}
	}
	_ = failpoint.Hit("guest.ending")
	_ = server.Close()
	return 0
}

// closeOthers closes every descriptor above 2 but keep and the Go runtime's own, which are of types that
// no parent hands down by accident.
func closeOthers(keep ...int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
next:
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil || fd < 3 {
			continue
		}
		for _, k := range keep {
			if fd == k {
				continue next
			}
		}
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(target, "anon_inode:[eventpoll]") || strings.HasPrefix(target, "anon_inode:[eventfd]") {
			continue // the directory that was just read, or the runtime's poller
		}
		unix.Close(fd)
	}
	for _, k := range keep {
		unix.CloseOnExec(k)
	}
	return nil
}
