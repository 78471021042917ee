//go:build linux

package escape

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/test/machine"
)

func itoa(n int) string { return fmt.Sprint(n) }

// supervisorOf finds the process that holds the project's sandbox, or 0.
func supervisorOf(w *world, p *project) int {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range procs {
		data, _ := os.ReadFile(file)
		exe, _ := os.Readlink(filepath.Dir(file) + "/exe")
		if exe == w.bailey && strings.HasPrefix(string(data), "bailey\x00supervise\x00"+p.box+"\x00") {
			return number(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0
}

// closedCases take something away and look that nothing starts, or goes on, with less.
func closedCases() []attack {
	return []attack{
		{id: "no-user-namespaces", group: "closed", own: without(unix.CLONE_NEWUSER, "for n in user mnt; do echo 0 > /proc/sys/user/max_${n}_namespaces; done")},
		{id: "no-network-namespaces", group: "closed", own: without(unix.CLONE_NEWUSER, "echo 0 > /proc/sys/user/max_net_namespaces")},
		{id: "no-mount-namespaces", group: "closed", own: without(unix.CLONE_NEWUSER, "echo 0 > /proc/sys/user/max_mnt_namespaces")},
		{id: "no-room-for-state", group: "closed", own: without(unix.CLONE_NEWUSER|unix.CLONE_NEWNS, "mount -t tmpfs -o size=64k,mode=0700 full $HOME/.local/state && head -c 1M /dev/zero > $HOME/.local/state/fill 2>/dev/null; true")},
		{id: "limits-that-cannot-be-had", group: "closed", own: limitsRefused},
		{id: "backend-that-does-not-exist", group: "closed", own: refusedFlags("--backend", "none")},
		{id: "image-that-cannot-be-had", group: "closed", own: refusedFlags("--template", "debian:12")},
		{id: "downgrade-by-delegation", group: "closed", own: delegation},
		{id: "supervisor-killed", group: "closed", own: supervisorKilled},
	}
}

// refusedFlags asks for what does not exist: nothing may start.
func refusedFlags(flags ...string) func(*trial) verdict {
	return func(tr *trial) verdict {
		p := tr.w.newProject(tr.t, tr.id, "")
		return tr.refused(p, nil, flags)
	}
}

// refused starts a sandbox that must not start, and one that must, which is the control.
func (tr *trial) refused(p *project, wrap func(*exec.Cmd), flags []string) verdict {
	w, t := tr.w, tr.t
	v := verdict{control: "held"}
	try := func(name string, wrap func(*exec.Cmd), flags []string) string {
		cmd := exec.Command(w.bailey, append(append([]string{"run", "--name", name}, flags...), "shell", p.dir, "--", "-c", "echo STARTED")...)
		if wrap != nil {
			wrap(cmd)
		}
		return w.output(t, cmd, p)
	}
	if strings.Contains(try(p.box+"-control", nil, nil), "STARTED") {
		v.control = "lost"
	}
	out := try(p.box, wrap, flags)
	t.Log(out)
	v.ran, v.won = strings.Contains(out, "bailey: "), strings.Contains(out, "STARTED")
	for _, line := range strings.Split(out, "\n") {
		if rest, ok := strings.CutPrefix(line, "bailey: "); ok {
			v.reason = rest
		}
	}
	for _, name := range []string{p.box, p.box + "-control"} {
		_, _ = w.run(t, p, "rm", "-f", name)
	}
	return v
}

// without runs bailey in a namespace of its own in which something has been taken away first.
func without(flags uintptr, take string) func(*trial) verdict {
	return func(tr *trial) verdict {
		p := tr.w.newProject(tr.t, tr.id, "")
		v := tr.refused(p, func(cmd *exec.Cmd) {
			script := take + " || exit 99\nexec \"$0\" \"$@\""
			cmd.Args = append([]string{"sh", "-c", script, cmd.Path}, cmd.Args[1:]...)
			cmd.Path = "/bin/sh"
			one := func(id int) []syscall.SysProcIDMap {
				if id == 0 { // who may have all, and needs them
					return []syscall.SysProcIDMap{{Size: 1<<32 - 2}}
				}
				return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, UidMappings: one(os.Getuid()), GidMappings: one(os.Getgid())}
			for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
				cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, c)
			}
		}, nil)
		if !v.ran && v.control == "lost" {
			v.na = "it cannot be taken away here"
		}
		return v
	}
}

func limitsRefused(tr *trial) verdict {
	if tr.w.root {
		return verdict{na: "root can have every limit here"}
	}
	v := refusedFlags("--pids", "50")(tr)
	if v.won {
		v.na, v.won = "this user can have limits here", false
	}
	return v
}

// delegation asks, from inside, for something with weaker walls.
func delegation(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	v := verdict{control: "held"}
	args := []string{"create", "--name", p.box, "-v", filepath.Dir(w.bailey) + ":ro", "shell", p.dir}
	w.must(t, p, args...)
	defer w.remove(t, p)
	w.must(t, p, "start", p.box)
	script := fmt.Sprintf("for n in deny allow; do %s run --name inner-$n --network $n shell . -- -c 'echo INN''ER'; done; unshare -Urn true && echo INN''ER; "+
		"find / -name api.sock 2>/dev/null | grep sock && echo INN''ER; docker ps 2>/dev/null && echo INN''ER; true", w.bailey)
	if strings.Contains(w.outside(t, p, script), "INNER") {
		v.control = "lost"
	}
	for _, n := range []string{"inner-deny", "inner-allow"} {
		_, _ = w.run(t, p, "rm", "-f", n)
	}
	out := w.inside(t, p, "echo RAN\n"+script)
	t.Log(out)
	v.ran, v.won = strings.HasPrefix(out, "RAN"), strings.Contains(out, "INNER\n")
	return v
}

// supervisorKilled looks that nothing of the sandbox goes on without the host's half.
func supervisorKilled(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	w.start(t, p)
	defer w.remove(t, p)
	cmd := exec.Command(w.bailey, "exec", p.box, "sh", "-c", "trap '' HUP TERM; echo RAN; while :; do date +%s%N > counter; sleep 0.05; done")
	cmd.Dir, cmd.Env = p.dir, w.env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := verdict{control: "held"}
	n, _ := out.Read(make([]byte, 4))
	v.ran = n > 0
	counter := func() string { return w.outside(t, p, "cat counter 2>/dev/null") }
	first := counter()
	if machine.Poll(w.patience(), func() bool { return counter() != first }) {
		v.control = "lost"
	}
	w.outside(t, p, "kill -9 "+itoa(supervisorOf(w, p)))
	_ = cmd.Wait()
	// Twenty looks in a row without a change are a second.
	same, last := 0, ""
	machine.Poll(w.patience(), func() bool {
		if now := counter(); now == last { // also an empty one: it may have been killed while it was writing
			same++
		} else {
			same, last = 0, now
		}
		return same > 30
	})
	v.won = same <= 30
	w.must(t, p, "start", p.box)
	return v
}
