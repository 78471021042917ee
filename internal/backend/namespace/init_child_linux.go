package namespace

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/guest"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Descriptors that the child is started with.
const (
	fdControl = 3 // see controlPair
	fdLock    = 4 // the machine's lock, held until the child ends
)

// Main is the whole life of a machine's first process. It returns the process's exit code; args are what
// follows Child on the command line.
func Main(args []string) int {
	if len(args) > 0 && args[0] == "remove" {
		return removeMain(args[1:])
	}
	// Descriptors that the user's shell left open must not reach a session, nor stay here.
	if err := closeOthers(fdControl, fdLock); err != nil {
		fmt.Fprintln(os.Stderr, "cannot close inherited descriptors:", err)
		return 1
	}
	control, err := controlConn(os.NewFile(fdControl, "control"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "no control socket:", err)
		return 1
	}
	c := &child{control: control}
	sockets, err := c.setUp()
	if err != nil {
		_ = send(control, report{Error: err.Error(), Hint: sandbox.Hint(err)}.encode())
		return 1
	}
	err = send(control, report{}.encode(), sockets...)
	closeAll(sockets)
	if err != nil {
		return 1
	}
	c.serve()
	return 0
}

// child is the first process while it sets the machine up.
type child struct {
	control *net.UnixConn
	plan    plan
	trees   []*os.File // detached mounts that are not attached yet, in the order of sources
}

// setUp builds the sandbox around this process and locks it in. The order matters: all of the host that
// is needed is opened first, the gateway is built while the host's /proc is still there, and rights are
// given up last.
func (c *child) setUp() ([]*os.File, error) {
	if err := c.receivePlan(); err != nil {
		return nil, fmt.Errorf("cannot read the plan: %w", err)
	}
	spec := &c.plan.Spec
	type network struct {
		sockets []*os.File
		err     error
	}
	built := make(chan network, 1)
	go func() {
		var n network
		if spec.Network == sandbox.NetworkGateway {
			n.sockets, n.err = gateway.Build()
		}
		if n.err == nil {
			n.err = gateway.Loopback()
		}
		built <- n
	}()
	err := c.buildRoot()
	n := <-built
	if err == nil {
		err = n.err
	}
	if err == nil {
		err = forbidNamespaces()
	}
	if err == nil {
		err = c.enter()
	}
	if err == nil {
		err = lockIn(c.plan.Users)
	}
	if err != nil {
		closeAll(n.sockets)
	}
	return n.sockets, err
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
	if err := json.NewDecoder(files[0]).Decode(&c.plan); err != nil {
		return err
	}
	want := len(sources(&c.plan.Spec))
	for c.plan.Opened && len(c.trees) < want {
		_, trees, err := receive(c.control)
		if err != nil {
			return err
		}
		c.trees = append(c.trees, trees...)
	}
	return nil
}

// enter makes the new root the only one and names the host.
func (c *child) enter() error {
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	// pivot_root(2): with "." twice the old root ends up on top of the new one, and is unmounted from there.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("cannot change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot leave the host's root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return unix.Sethostname([]byte(c.plan.Spec.Hostname))
}

// serve is the guest's life: streams arrive on the control socket until the supervisor closes it or dies.
func (c *child) serve() {
	s := c.plan.Spec
	server := guest.New(guest.Config{
		User: s.User, Env: s.Env, Workdir: s.Workdir, Init: true, Users: c.plan.Users,
	}, slog.New(slog.DiscardHandler))
	for {
		_, files, err := receive(c.control)
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
	_ = server.Close()
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

// removeMain deletes directories of a machine with the rights of its user namespace. It waits until the
// namespace's ids are mapped: its parent then closes descriptor 3.
func removeMain(trees []string) int {
	if _, err := io.ReadAll(os.NewFile(3, "gate")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := removeTrees(trees); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
