//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/test/machine"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// TestTheKeyOfTheRealClaudeStaysOutside: a model that takes the real key only is used by Claude Code, and while it works
// the key is nowhere in the sandbox, neither in a process nor in a file. The control runs the same with the key inside.
func TestTheKeyOfTheRealClaudeStaysOutside(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags []string
		found bool
	}{
		{"kept", nil, false},
		{"from the environment", nil, false},
		{"control", []string{"--credentials", "none", "-e", "ANTHROPIC_API_KEY=" + modelKey}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUser(t)
			u.ownData("claude")
			ready, proceed := filepath.Join(u.project, "ready"), filepath.Join(u.project, "go-on")
			m := serveModelTLS(u,
				modelapi.Run("env > env.txt; touch ready; while [ ! -e go-on ]; do sleep 0.1; done; rm ready go-on env.txt"),
				modelapi.Say("FINISHED-ALL"))
			switch test.name {
			case "kept":
				set := u.command("secret", "set", "--source", "age", "anthropic")
				set.Stdin = strings.NewReader(modelKey + "\n")
				if out := u.run(set); out.code != 0 {
					t.Fatalf("%+v", out)
				}
			case "from the environment":
				u.env = append(u.env, "ANTHROPIC_API_KEY="+modelKey)
			}
			args := append([]string{"run", "--name", "keep", "--allow", "host.bailey.internal:" + m.port, "-e", "ANTHROPIC_BASE_URL=" + m.url()}, test.flags...)
			cmd := u.command(append(args, "claude", ".", "--", "-p", "hi")...)
			done := make(chan result, 1)
			go func() { done <- u.run(cmd) }()
			if !machine.Poll(time.Minute, func() bool { _, err := os.Stat(ready); return err == nil }) {
				t.Fatalf("the agent does not get to its command: %+v", <-done)
			}
			places := u.sweep("keep", modelKey)
			if err := os.WriteFile(proceed, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			out := <-done
			if out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") {
				t.Errorf("%+v", out)
			}
			m.answered(t, 1)
			if !test.found && len(places) > 0 {
				t.Errorf("the real key is in %s", strings.Join(places, ", "))
			}
			if test.found && (len(places) < 3 || !strings.Contains(strings.Join(places, " "), "env.txt")) {
				t.Errorf("the sweep finds a key that is inside only in %s", strings.Join(places, ", "))
			}
		})
	}
}

// TestASupervisorThatCrashesLeavesNoCore: nothing of its memory is on the disk, although the user has Go's programs leave
// cores. The control is a program that leaves one.
func TestASupervisorThatCrashesLeavesNoCore(t *testing.T) {
	u := newUser(t)
	u.ownStore()
	u.env = append(u.env, "GOTRACEBACK=crash")
	u.keepSecret("--host", "api.example.com", "--as", "bearer", "server")
	create := exec.Command("sh", "-c", `ulimit -c unlimited && (sh -c 'kill -ABRT $$'; true) && ls && rm -f core* && exec "$0" "$@"`, u.command().Path, "run", "-d", "--name", "box", "shell", ".")
	create.Dir, create.Env = u.project, u.env
	out, err := create.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "core") {
		machine.Lack(t, "cores", "programs leave none here")
	}
	pid := u.supervisor("box")
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := unix.Kill(pid, unix.SIGABRT); err != nil { // by which programs leave a core
		t.Fatal(err)
	}
	if !machine.Poll(10*time.Second, func() bool { return unix.Kill(pid, 0) != nil }) {
		t.Fatal("the supervisor does not crash")
	}
	for _, dir := range []string{cwd, u.project, u.sandboxDir("box")} {
		cores, err := filepath.Glob(filepath.Join(dir, "core*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, core := range cores {
			if info, err := os.Lstat(core); err == nil && info.ModTime().After(before) {
				t.Errorf("left is %s", core)
			}
		}
	}
	if places := inFiles(t, realToken, u.project, filepath.Join(u.home, ".local")); len(places) > 0 {
		t.Errorf("the secret is in %v", places)
	}
	u.must("rm", "-f", "box")
}

// ownData gives the user a data directory of their own, with the agents of the machine's cache in it.
func (u *user) ownData(agent string) {
	u.t.Helper()
	if !insideCell() { // where it was fetched before
		u.needAgent(agent)
	}
	cache, err := os.UserCacheDir()
	own := filepath.Join(u.home, ".local/share/bailey")
	if err == nil {
		err = os.MkdirAll(own, 0o700)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	from := filepath.Join(cache, "bailey-test/bailey/agents")
	if out, err := exec.Command("cp", "-al", from, own).CombinedOutput(); err != nil {
		_ = os.RemoveAll(filepath.Join(own, "agents")) // another file system
		if out2, err := exec.Command("cp", "-a", from, own).CombinedOutput(); err != nil {
			u.t.Fatalf("%s%s", out, out2)
		}
	}
	u.env = append(u.env, "XDG_DATA_HOME="+filepath.Join(u.home, ".local/share"))
}

// sweep returns every place of the running sandbox that holds secret: memory, environment and arguments of its
// processes, and every file of the project and of bailey's own directories: layers, home, logs, records.
func (u *user) sweep(name, secret string) (places []string) {
	u.t.Helper()
	var listed []struct{ Running struct{ PID int } }
	if err := json.Unmarshal([]byte(u.must("inspect", name)), &listed); err != nil || len(listed) != 1 {
		u.t.Fatalf("inspect: %v", err)
	}
	processes := below(u.t, listed[0].Running.PID)
	if len(processes) == 0 {
		u.t.Fatal("the sandbox has no processes")
	}
	for _, pid := range processes {
		dir := "/proc/" + strconv.Itoa(pid)
		for _, file := range []string{"environ", "cmdline"} {
			if data, err := os.ReadFile(filepath.Join(dir, file)); err == nil && bytes.Contains(data, []byte(secret)) {
				places = append(places, dir+"/"+file)
			}
		}
		if inMemory(dir, secret) {
			places = append(places, dir+"/mem")
		}
	}
	// The supervisor's arguments and environment are for every program of the user's to read.
	for _, file := range []string{"environ", "cmdline"} {
		path := fmt.Sprintf("/proc/%d/%s", listed[0].Running.PID, file)
		if data, err := os.ReadFile(path); err != nil || bytes.Contains(data, []byte(secret)) {
			places = append(places, path)
		}
	}
	return append(places, inFiles(u.t, secret, u.project, filepath.Join(u.home, ".local"))...)
}

// below returns the processes that descend from pid.
func below(t *testing.T, pid int) (all []int) {
	t.Helper()
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		n, numErr := strconv.Atoi(e.Name())
		if err != nil || numErr != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], n)
	}
	for next := children[pid]; len(next) > 0; {
		all = append(all, next[0])
		next = append(next[1:], children[next[0]]...)
	}
	return all
}

// inMemory reads every page of a process that has been written to. What cannot be read, because the process is closed to
// its own user, is closed to the agent too.
func inMemory(dir, secret string) bool {
	maps, err := os.ReadFile(filepath.Join(dir, "maps"))
	if err != nil {
		return false
	}
	mem, err := os.Open(filepath.Join(dir, "mem"))
	if err != nil {
		return false
	}
	defer mem.Close()
	pages, err := os.Open(filepath.Join(dir, "pagemap"))
	if err != nil {
		return false
	}
	defer pages.Close()
	const piece = 4 << 20
	buffer := make([]byte, piece)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var rights string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); n != 3 || !strings.HasPrefix(rights, "rw") {
			continue
		}
		for at := from; at < to; at += piece - int64(len(secret)) {
			if !touched(pages, at, min(at+piece, to)) {
				continue
			}
			n, _ := mem.ReadAt(buffer[:min(piece, to-at)], at)
			if bytes.Contains(buffer[:n], []byte(secret)) {
				return true
			}
		}
	}
	return false
}

// touched says whether any page of a range is there, or swapped out (proc_pid_pagemap(5)): programs reserve far more than
// they use.
func touched(pages *os.File, from, to int64) bool {
	size := int64(os.Getpagesize())
	entries := make([]byte, ((to-1)/size-from/size+1)*8)
	n, _ := pages.ReadAt(entries, from/size*8)
	if n < len(entries) {
		return true // it cannot be told
	}
	for i := 7; i < n; i += 8 {
		if entries[i]&0xc0 != 0 {
			return true
		}
	}
	return false
}

// inFiles returns the files below dirs that hold secret. Agents' programs are not read.
func inFiles(t *testing.T, secret string, dirs ...string) (places []string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() && strings.HasSuffix(path, "/share/bailey/agents") {
				return fs.SkipDir
			}
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(secret)) {
				places = append(places, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return places
}
