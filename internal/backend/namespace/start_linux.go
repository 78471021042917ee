package namespace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/cgroup"
	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Start implements sandbox.Backend.
func (b *Backend) Start(ctx context.Context, spec sandbox.Spec) (_ sandbox.Machine, err error) {
	if err := checkSpec(&spec); err != nil {
		return nil, err
	}
	lock, err := lockMachine(ctx, spec.Dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // the child holds it on
	if err := failpoint.Hit("machine.locked"); err != nil {
		return nil, err
	}
	group, err := cgroup.New(groupName(spec.Name, spec.Dir), spec.Limits)
	if err != nil {
		return nil, err
	}
	ids := mapIDs(spec.User)
	m := &machine{group: group, dir: spec.Dir, done: make(chan struct{}), log: b.log.With("sandbox", spec.Name)}
	if hasDisk(&spec) {
		if m.disk, err = openDisk(ctx, spec.Dir, spec.Limits.Disk); err != nil {
			return nil, errors.Join(err, m.release(ctx))
		}
		m.dir = m.disk.path()
	}
	if err := errors.Join(prepareDirs(m.dir, &spec, ids), failpoint.Hit("machine.dirs")); err != nil {
		return nil, errors.Join(err, m.release(ctx))
	}
	if err := m.spawn(b.self, lock, spec.User, ids); err != nil {
		return nil, errors.Join(err, m.release(ctx))
	}
	// Nothing that fails from here on may leave the child behind; nor may a cancelled context.
	stop := context.AfterFunc(ctx, func() { m.child.Kill() })
	defer func() {
		cancelled := !stop()
		if err == nil && cancelled {
			err = ctx.Err()
		}
		if err != nil {
			err = errors.Join(err, m.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := failpoint.Hit("machine.spawned"); err != nil {
		return nil, err
	}
	if ids.helper {
		if err := ids.writeWithHelpers(m.child.Pid); err != nil {
			return nil, err
		}
	}
	if err := group.Add(m.child.Pid); err != nil {
		return nil, err
	}
	if err := failpoint.Hit("machine.added"); err != nil {
		return nil, err
	}
	if err := m.handOver(spec, ids); err != nil {
		return nil, err
	}
	return m, failpoint.Hit("machine.up")
}

func checkSpec(spec *sandbox.Spec) error {
	if err := sandbox.CheckName(spec.Name); err != nil {
		return err
	}
	if spec.User.UID == 0 || spec.User.GID == 0 {
		return fmt.Errorf("the sandbox's user cannot be root: %w", sandbox.ErrContainment)
	}
	if spec.Root.Image != "" {
		return fmt.Errorf("images: the namespace backend runs on the host's own system: %w", sandbox.ErrUnsupported)
	}
	if hasDisk(spec) {
		if slices.ContainsFunc(spec.Mounts, func(m sandbox.Mount) bool { return m.Kind == sandbox.MountOverlay }) {
			return fmt.Errorf("a workspace under review cannot be limited by --disk, as it must be readable when nothing runs: %w", sandbox.ErrUnsupported)
		}
		if can := diskSupport(); !can.OK {
			return fmt.Errorf("--disk cannot be enforced: %s: %w", can.Why, sandbox.ErrUnsupported)
		}
	}
	return nil
}

// spawn starts the child in its namespaces. It does nothing yet but wait for its plan.
func (m *machine) spawn(self string, lock *os.File, user sandbox.User, ids mappings) error {
	control, theirs, err := controlPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.Command(self, Child)
	cmd.Args[0] = "bailey"
	cmd.Dir = "/"
	cmd.Env = failpoint.Environ()
	// The last one is there for its number: a process with threads, as every Go program is, waits some
	// 10 ms (an RCU grace period) when its descriptor table grows. The child's is large from the start, and
	// the first thing that it does is to close what it does not know.
	cmd.ExtraFiles = make([]*os.File, fdMover-2)
	cmd.ExtraFiles[fdControl-3], cmd.ExtraFiles[fdLock-3], cmd.ExtraFiles[fdMover-3] = theirs, lock, lock
	cmd.Stderr = os.Stderr // a panic of the child belongs in the supervisor's log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		Setsid: true,
	}
	// The child is not root, not even in its own namespace: without ambient capabilities its first
	// execve would take away what it needs to set things up.
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, c)
	}
	if ids.privileged {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user.UID), Gid: uint32(user.GID)}
	}
	if !ids.helper {
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids.uids, ids.gids
		cmd.SysProcAttr.GidMappingsEnableSetgroups = ids.privileged
	}
	if err := cmd.Start(); err != nil {
		control.Close()
		if errors.Is(err, unix.EBADF) {
			return sandbox.WithHint(fmt.Errorf("the limit of open files is too low for a sandbox: %w", err), "ulimit -n 1024")
		}
		return hintNamespaces(fmt.Errorf("cannot make the sandbox's namespaces: %w", err))
	}
	m.control, m.child = control, cmd.Process
	go func() {
		_ = cmd.Wait()
		close(m.done)
	}()
	return nil
}

// handOver gives the child its plan and waits until the sandbox stands.
func (m *machine) handOver(spec sandbox.Spec, ids mappings) error {
	var trees []*os.File
	if ids.privileged {
		var err error
		if trees, err = openSources(&spec, m.disk, ids); err != nil {
			return err
		}
		defer closeAll(trees)
	}
	memory, err := memoryFile("plan", plan{Spec: spec, Trees: len(trees), Users: ids.privileged || ids.helper})
	if err != nil {
		return err
	}
	defer memory.Close()
	if err := send(m.control, []byte("plan"), memory); err != nil {
		return m.lost(err)
	}
	if err := failpoint.Hit("machine.planned"); err != nil {
		return err
	}
	for len(trees) > 0 {
		n := min(len(trees), maxFiles)
		if err := send(m.control, []byte("trees"), trees[:n]...); err != nil {
			return m.lost(err)
		}
		trees = trees[n:]
	}
	return m.awaitReady()
}

// awaitReady takes the gateway's sockets, if there are any, and then the child's report.
func (m *machine) awaitReady() error {
	for {
		message, sockets, err := receive(m.control)
		if err != nil {
			return m.lost(err)
		}
		if len(sockets) > 0 {
			if m.flows, err = gateway.Open(sockets); err != nil {
				return err
			}
			if err := failpoint.Hit("machine.wired"); err != nil {
				return err
			}
			continue
		}
		var answer report
		if err := json.Unmarshal(message, &answer); err != nil {
			return m.lost(err)
		}
		if answer.Error == "" {
			return nil
		}
		err = fmt.Errorf("%s: %w", answer.Error, sandbox.ErrContainment)
		if answer.Hint != "" {
			err = sandbox.WithHint(err, answer.Hint)
		}
		return err
	}
}

// lost explains a child that is gone, with what stands in the supervisor's log.
func (m *machine) lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("the sandbox's first process died while it was set up: %w", sandbox.ErrContainment)
	}
	return fmt.Errorf("cannot talk to the sandbox's first process: %w", err)
}
