// Package cgroup bounds the processes of one sandbox: CPU time, memory and number of processes. As root it
// makes control groups itself, version 1 or 2; as an ordinary user it asks the user's systemd for a scope,
// the only one who may. A limit that cannot be enforced is an error, never ignored. Disk use is not a
// cgroup's business.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const (
	mountPoint = "/sys/fs/cgroup"
	parent     = "bailey" // all groups of ours lie in this one
	period     = 100_000  // microseconds, the kernel's default CPU accounting period
)

// tree is where control groups are: version 1 has one hierarchy for each controller below root, version 2 one.
type tree struct {
	root    string
	unified bool
}

// host is this machine's.
func host() tree {
	var fs unix.Statfs_t
	return tree{mountPoint, unix.Statfs(mountPoint, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC}
}

// Group is the control group of one sandbox. A nil Group limits nothing; its methods do nothing.
type Group struct {
	tree   tree
	name   string
	limits sandbox.Limits
	dirs   []string // what we made, one for each hierarchy; empty with a scope
}

// New makes a group with the given limits, or returns nil when there are none. The name is unique on the whole
// machine, whoever its user and whatever the state directory. The error wraps
// sandbox.ErrUnsupported and names the first limit that this host cannot enforce.
func New(name string, l sandbox.Limits) (*Group, error) {
	if l.CPUs == 0 && l.Memory == 0 && l.Pids == 0 {
		return nil, nil
	}
	cpus, memory, pids := Probe()
	for _, want := range []struct {
		set  bool
		flag string
		s    sandbox.Support
	}{{l.CPUs != 0, "--cpus", cpus}, {l.Memory != 0, "--memory", memory}, {l.Pids != 0, "--pids", pids}} {
		if want.set && !want.s.OK {
			return nil, fmt.Errorf("%s cannot be enforced: %s: %w", want.flag, want.s.Why, sandbox.ErrUnsupported)
		}
	}
	g := &Group{tree: host(), name: name, limits: l}
	if os.Getuid() != 0 {
		return g, nil
	}
	if err := errors.Join(g.make(), failpoint.Hit("cgroup.made")); err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	return g, nil
}

// Probe says which limits this host can enforce for the calling user, and why not.
func Probe() (cpus, memory, pids sandbox.Support) {
	controllers := map[string]sandbox.Support{}
	for _, c := range []string{"cpu", "memory", "pids"} {
		controllers[c] = probe(c)
	}
	return controllers["cpu"], controllers["memory"], controllers["pids"]
}

func probe(controller string) sandbox.Support {
	if os.Getuid() != 0 {
		switch {
		case !host().unified:
			return sandbox.No("an ordinary user needs control groups version 2, this host has version 1")
		case !hasUserSystemd():
			return sandbox.No("an ordinary user needs a running systemd user instance (loginctl enable-linger)")
		}
		return sandbox.Yes()
	}
	dir := host().hierarchy(controller)
	if dir == "" {
		return sandbox.No("the kernel has no " + controller + " controller")
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return sandbox.No(dir + " is not writable")
	}
	return sandbox.Yes()
}

func hasUserSystemd() bool {
	if _, err := exec.LookPath("busctl"); err != nil {
		return false
	}
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	if runtime == "" {
		runtime = fmt.Sprintf("/run/user/%d", os.Getuid())
	}
	_, err := os.Stat(runtime + "/systemd/private")
	return err == nil
}

// hierarchy returns the root of the hierarchy that has controller, or "".
func (t tree) hierarchy(controller string) string {
	if !t.unified {
		dir := filepath.Join(t.root, controller)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			return ""
		}
		return dir
	}
	have, err := os.ReadFile(filepath.Join(t.root, "cgroup.controllers"))
	if err != nil {
		return ""
	}
	for _, c := range strings.Fields(string(have)) {
		if c == controller {
			return t.root
		}
	}
	return ""
}

// setting is one file of a group.
type setting struct{ controller, v1, v2, value string }

func settings(l sandbox.Limits) []setting {
	var list []setting
	if l.CPUs != 0 {
		quota := strconv.Itoa(int(l.CPUs * period))
		list = append(list, setting{"cpu", "cpu.cfs_quota_us", "cpu.max", quota})
	}
	if l.Memory != 0 {
		list = append(list, setting{"memory", "memory.limit_in_bytes", "memory.max", strconv.FormatInt(l.Memory, 10)})
	}
	if l.Pids != 0 {
		list = append(list, setting{"pids", "pids.max", "pids.max", strconv.Itoa(l.Pids)})
	}
	return list
}

func (g *Group) make() error {
	for _, s := range settings(g.limits) {
		root := g.tree.hierarchy(s.controller)
		if g.tree.unified {
			for _, dir := range []string{root, filepath.Join(root, parent)} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return fmt.Errorf("cannot make control group: %w", err)
				}
				if err := write(dir, "cgroup.subtree_control", "+"+s.controller); err != nil {
					return err
				}
			}
		}
		dir := filepath.Join(root, parent, g.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make control group: %w", err)
		}
		if len(g.dirs) == 0 || g.dirs[len(g.dirs)-1] != dir {
			g.dirs = append(g.dirs, dir)
		}
		file := s.v1
		if g.tree.unified {
			file = s.v2
		}
		if err := write(dir, file, s.value); err != nil {
			return err
		}
	}
	return g.boundSwap()
}

// boundSwap keeps what a memory limit pushes out of memory from filling the swap space instead. A kernel that
// does not account swap has no such file.
func (g *Group) boundSwap() error {
	if g.limits.Memory == 0 {
		return nil
	}
	file, value := "memory.memsw.limit_in_bytes", strconv.FormatInt(g.limits.Memory, 10) // with memory's
	if g.tree.unified {
		file, value = "memory.swap.max", "0"
	}
	dir := filepath.Join(g.tree.hierarchy("memory"), parent, g.name)
	if _, err := os.Stat(filepath.Join(dir, file)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return write(dir, file, value)
}

func write(dir, file, value string) error {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o600); err != nil {
		return fmt.Errorf("cannot set a limit: %w", err)
	}
	return nil
}

// Add puts a process, and all that it starts from then on, into the group.
func (g *Group) Add(pid int) error {
	if g == nil {
		return nil
	}
	for _, dir := range g.dirs {
		if err := write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	if len(g.dirs) > 0 {
		return nil
	}
	out, err := exec.Command("busctl", scopeCall(g.name, pid, g.limits)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemd gives the sandbox no scope: %v: %s: %w", err, strings.TrimSpace(string(out)), sandbox.ErrUnsupported)
	}
	return nil
}

// scopeCall is the request to the user's systemd for a transient scope with limits around pid (see
// org.freedesktop.systemd1(5)). The scope goes when its last process does.
func scopeCall(name string, pid int, l sandbox.Limits) []string {
	properties := []string{"PIDs", "au", "1", strconv.Itoa(pid)}
	n := 1
	add := func(property string, value int64) {
		properties = append(properties, property, "t", strconv.FormatInt(value, 10))
		n++
	}
	if l.CPUs != 0 {
		add("CPUQuotaPerSecUSec", int64(l.CPUs*1e6))
	}
	if l.Memory != 0 {
		add("MemoryMax", l.Memory)
		add("MemorySwapMax", 0)
	}
	if l.Pids != 0 {
		add("TasksMax", int64(l.Pids))
	}
	call := []string{"--user", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
		"org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))",
		fmt.Sprintf("bailey-%s-%d.scope", name, pid), "fail", strconv.Itoa(n)}
	return append(append(call, properties...), "0")
}

// Remove deletes the group, whose processes have ended. The kernel may take a moment to see that.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	return remove(g.dirs)
}

// Clean deletes the group of a machine that died with its supervisor.
func Clean(name string) error {
	if os.Getuid() != 0 {
		return nil // a scope goes by itself
	}
	var dirs []string
	for _, c := range []string{"cpu", "memory", "pids"} {
		if root := host().hierarchy(c); root != "" {
			dirs = append(dirs, filepath.Join(root, parent, name))
		}
	}
	return remove(dirs)
}

func remove(dirs []string) error {
	var all error
	for _, dir := range dirs {
		err := unix.Rmdir(dir)
		for try := 0; errors.Is(err, unix.EBUSY) && try < 100; try++ {
			time.Sleep(10 * time.Millisecond)
			err = unix.Rmdir(dir)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			all = errors.Join(all, fmt.Errorf("cannot remove control group %s: %w", dir, err))
		}
	}
	return all
}
