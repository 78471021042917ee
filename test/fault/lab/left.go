//go:build linux

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// Left lists what is there of sandboxes although there should be none: entries of the state directory,
// temporary files, half-made snapshots, processes, mounts, loop devices, control groups, and changes of the workspace. It
// gives what is ending a moment to end.
func (l *Lab) Left() (left []string) {
	machine.Poll(5*time.Second, func() bool {
		left = slices.Concat(l.files(), l.processes(), l.mounts(), l.loops(), l.groups())
		return len(left) == 0
	})
	now, err := Hash(l.Workspace)
	if err != nil || now != l.before {
		left = append(left, fmt.Sprintf("the workspace has changed: %v", err))
	}
	return left
}

// files are those that nobody can explain any more.
func (l *Lab) files() (left []string) {
	home := filepath.Join(l.Dir, "home")
	state, host := filepath.Join(home, ".local/state/bailey"), filepath.Join(home, ".local/share/bailey/host")
	for dir, expected := range map[string][]string{
		home: {".local", "src"}, filepath.Join(l.Dir, "tmp"): {"x"}, state: {"lock", "sandboxes"}, filepath.Join(state, "sandboxes"): nil,
	} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !slices.Contains(expected, e.Name()) {
				left = append(left, filepath.Join(dir, e.Name()))
			}
		}
	}
	// One snapshot of the host's configuration stays for the next start, with its manifest and a lock.
	entries, _ := os.ReadDir(host)
	if len(entries) > 3 {
		left = append(left, fmt.Sprintf("%s has %v", host, entries))
	}
	return left
}

// processes are those with the lab in their environment or their mounts.
func (l *Lab) processes() (left []string) {
	for _, p := range Processes() {
		if p.PID == os.Getpid() || p.PID == os.Getppid() {
			continue
		}
		dir := filepath.Join("/proc", strconv.Itoa(p.PID))
		environ, _ := os.ReadFile(dir + "/environ")
		mounts, _ := os.ReadFile(dir + "/mountinfo")
		if strings.Contains(string(environ), "="+l.Dir+"/") || strings.Contains(string(mounts), l.Dir+"/") {
			left = append(left, fmt.Sprintf("process %d (%s)", p.PID, p.Name))
		}
	}
	return left
}

func (l *Lab) mounts() (left []string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, l.Dir+"/") {
			left = append(left, "mount "+line)
		}
	}
	return left
}

// loops are loop devices that show an image of the lab.
func (l *Lab) loops() (left []string) {
	devices, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, d := range devices {
		if file, _ := os.ReadFile(d); strings.Contains(string(file), l.Dir+"/") {
			left = append(left, fmt.Sprintf("%s: %s", d, file))
		}
	}
	return left
}

// groups are control groups with the lab's name, which is in the name of each sandbox that has limits.
func (l *Lab) groups() []string {
	left, _ := filepath.Glob("/sys/fs/cgroup/bailey/*" + l.Name() + "*")
	old, _ := filepath.Glob("/sys/fs/cgroup/*/bailey/*" + l.Name() + "*")
	return append(left, old...)
}

// Name is a name for a sandbox that no other lab uses.
func (l *Lab) Name() string { return "lab-" + strings.ToLower(filepath.Base(l.Dir)) }

// Process is a line of the process table.
type Process struct {
	PID, Parent int
	Name        string
	State       string // as in proc(5)
}

// Processes is the process table.
func Processes() (all []Process) {
	found, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range found {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		text := string(stat)
		open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		fields := strings.Fields(text[end+1:])
		pid, _ := strconv.Atoi(strings.TrimSpace(text[:open]))
		parent, _ := strconv.Atoi(fields[1])
		all = append(all, Process{pid, parent, text[open+1 : end], fields[0]})
	}
	return all
}

// Supervisor is the pid that the sandbox's lock file has, 0 when it has none.
func (l *Lab) Supervisor(name string) int {
	text, _ := os.ReadFile(filepath.Join(l.Sandbox(name), "lock"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// Children are the processes that pid has started.
func Children(pid int) (pids []int) {
	for _, p := range Processes() {
		if p.Parent == pid && p.State != "Z" {
			pids = append(pids, p.PID)
		}
	}
	return pids
}
