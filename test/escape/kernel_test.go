//go:build linux

package escape

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// kernelCases attack the kernel and the namespaces.
func kernelCases() []attack {
	const rights = "a right in the first user namespace"
	list := []attack{
		{id: "jail-audit-of-sessions", group: "kernel", own: auditSessions},
		{id: "namespaces-by-clone", group: "kernel", script: "$PROBE clone", works: "$PROBE threads | grep WON; (true) & wait"},
		{id: "namespaces-by-clone3", group: "kernel", script: "$PROBE clone3", works: "$PROBE map | grep WON"},
		{id: "namespaces-by-unshare", group: "kernel", script: "$PROBE unshare"},
		{id: "namespaces-by-setns", group: "kernel", script: "$PROBE setns"},
		{id: "namespaces-by-tools", group: "kernel", script: "unshare -Urn true && echo WON"},
		{id: "nested-userns-strips-mounts", group: "kernel",
			setup: "true", weak: []string{"--ro-bind", "$P/.git/config", "$P/.git/config"},
			script:  `printf '[core]\n fsmonitor = touch EVIL\n' > .git/evil; $PROBE strip $P/.git evil config`,
			witness: "grep -q EVIL .git/config && echo WON", works: "git commit -qm more --allow-empty"},
		{id: "unmount-a-protection", group: "kernel", setup: "true", weak: []string{"--ro-bind", "$P/.git/config", "$P/.git/config"},
			script: "$PROBE unmount $P/.git/config; echo '# CHANGED' >> .git/config", witness: "grep -q CHANGED .git/config && echo WON",
			weaker: "unshare -Urm true; $PROBE unmount $P/.git/config; echo '# CHANGED' >> .git/config"},
		{id: "remount-a-protection", group: "kernel", setup: "true", weak: []string{"--ro-bind", "$P/.git/config", "$P/.git/config"},
			script: "$PROBE remount $P/.git/config; echo '# CHANGED' >> .git/config", witness: "grep -q CHANGED .git/config && echo WON"},
		{id: "uncover-by-a-copied-mount", group: "kernel", setup: "true", weak: []string{"--ro-bind", "$P/.git/config", "$P/.git/config"},
			script: "$PROBE uncover $P/.git/config", witness: "grep -q UNCOVERED .git/config && echo WON",
			forbidden: "an unlocked mount"},
		{id: "unhide-a-secret", group: "kernel", weak: []string{"--ro-bind", "/dev/null", "$P/.env"},
			script: "$PROBE unmount $P/.env; cat .env | grep CANARY && echo WON"},
		{id: "remount-the-root", group: "kernel", weak: []string{"--ro-bind", "$TOOLS", "$TOOLS"},
			script: "$PROBE remount $TOOLS; $PROBE remount /; touch $TOOLS/WRITTEN", witness: "rm $TOOLS/WRITTEN && echo WON"},
		{id: "launcher-overwritten-through-proc", group: "kernel", own: overwriteLauncher},
		{id: "supervisor-attacked-from-inside", group: "kernel", script: "$PROBE supervisor", weaker: "sh -c 'exec 3</proc/self/environ' && cat /proc/$$/environ > /dev/null && echo WON"},
		{id: "core-pattern-and-other-switches", group: "kernel",
			script: `for f in /proc/sys/kernel/core_pattern /proc/sys/fs/binfmt_misc/register /proc/sysrq-trigger /sys/kernel/uevent_helper /proc/sys/kernel/modprobe /proc/sys/vm/drop_caches; do
(: >> $f) 2>/dev/null && echo "WON $f"; done
for d in $(find / -xdev -maxdepth 3 -name release_agent 2>/dev/null) /sys/fs/cgroup/*/release_agent; do (: >> $d) 2>/dev/null && echo "WON $d"; done; true`,
			forbidden: rights},
		{id: "device-nodes", group: "kernel", setup: "true",
			script:  "mknod disk b 254 0; mknod mem c 1 1; head -c1 disk > /dev/null && echo READ; test -b disk && echo MADE",
			witness: "test -b disk -o -c mem && echo WON", forbidden: rights},
		{id: "devices-in-dev", group: "kernel", script: `ls -A /dev; for d in kvm fuse vsock mem dri vda sda net/tun loop-control vhost-vsock; do test -e /dev/$d && echo "WON $d"; done; true`,
			works: "echo x > /dev/null; head -c1 /dev/urandom >/dev/null; ls /dev/pts /dev/shm > /dev/null"},
		{id: "program-from-memory", group: "kernel", script: "$PROBE memfd $PROBE unshare", works: "$PROBE memfd /bin/echo FROM-MEMORY | grep FROM-MEMORY"},
		{id: "program-by-other-names", group: "kernel",
			script: "cp $PROBE /tmp/n && /tmp/n unshare; /proc/self/root$PROBE unshare; L=$(ls /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.* 2>/dev/null | head -1); $L /usr/bin/unshare -Ur true && echo WON; true"},
		{id: "set-user-id-program-in-the-project", group: "kernel", setup: "true",
			script:  "cp /bin/sh x && chmod 6755 x; cp /bin/sh y && setcap cap_sys_admin+ep y; true",
			witness: `test "$(id -u)" = 0 && find . -perm /6000 -name x | grep -q . && echo WON; find . -name x ! -user "$(id -u)" | grep -q . && echo WON; getcap y 2>/dev/null | grep -q cap_ && echo WON; true`,
			weaker:  "cp /bin/sh x && chmod 6755 x; cp /bin/sh y && setcap cap_sys_admin+ep y; true", forbidden: rights, works: "chmod 755 x"},
		{id: "set-group-id-program-of-roots-group", group: "kernel", own: rootsGroup},
	}
	for _, c := range []struct{ name, needs string }{
		{"io_uring_setup", ""}, {"io_uring_enter", ""}, {"io_uring_register", ""}, {"userfaultfd", ""}, {"bpf", ""}, {"perf_event_open", ""},
		{"add_key", ""}, {"request_key", ""}, {"keyctl", ""}, {"ptrace", ""}, {"process_vm_readv", ""}, {"process_vm_writev", ""}, {"pidfd_getfd", ""},
		{"kcmp", ""}, {"open_by_handle_at", ""}, {"fanotify_init", rights}, {"kexec_load", rights}, {"init_module", rights}, {"finit_module", rights},
		{"delete_module", rights}, {"acct", rights}, {"clock_settime", ""}, {"settimeofday", ""}, {"clock_adjtime", ""}, {"quotactl", ""}, {"personality", ""},
		{"syslog", rights}, {"swapon", rights}, {"reboot", rights}, {"mount", ""}, {"umount2", ""}, {"pivot_root", ""}, {"chroot", ""}, {"mount_setattr", ""},
		{"open_tree", ""}, {"move_mount", ""}, {"fsopen", ""}, {"fsmount", ""}, {"fspick", ""}, {"sethostname", ""},
	} {
		list = append(list, attack{id: "call-" + strings.ReplaceAll(c.name, "_", "-"), group: "kernel", weak: []string{"--unshare-uts"}, script: "$PROBE call " + c.name, forbidden: c.needs, absent: "ENOSYS"})
	}
	for _, s := range []struct{ name, numbers string }{
		{"packet", "17 3 768"}, {"raw", "2 3 255"}, {"raw-icmp", "2 3 1"}, {"raw-icmp6", "10 3 58"}, {"crypto", "38 5 0"}, {"xdp", "44 3 0"}, {"key", "15 3 2"}, {"bluetooth", "31 3 1"},
		{"tipc", "30 1 0"}, {"rds", "21 5 0"}, {"vsock", "40 1 0"}, {"can", "29 3 1"}, {"smc", "43 1 0"}, {"multipath-tcp", "2 1 262"}, {"sctp", "2 1 132"},
		{"netlink-netfilter", "16 3 12"}, {"netlink-xfrm", "16 3 6"}, {"netlink-audit", "16 3 9"}, {"netlink-generic", "16 3 16"}, {"netlink-diagnostics", "16 3 4"},
	} {
		list = append(list, attack{id: "socket-" + s.name, group: "kernel", weak: []string{"--unshare-net"}, script: "$PROBE socket " + s.numbers, absent: "SUPPORT",
			works: "$PROBE socket 2 1 0 | grep WON && $PROBE socket 10 2 0 | grep WON && $PROBE socket 1 1 0 | grep WON && $PROBE socket 16 3 0 | grep WON"})
	}
	return append(list,
		attack{id: "typing-into-an-own-terminal", group: "terminal", script: "$PROBE innermost", absent: "EIO"},
		attack{id: "typing-into-the-terminal-outside", group: "terminal", own: typeOutside},
		attack{id: "pasting-into-a-console", group: "terminal", script: "$PROBE paste"})
}

// rootsGroup has root work in a project of somebody else's that belongs to root's group.
func rootsGroup(tr *trial) verdict {
	w, t := tr.w, tr.t
	if !w.root {
		return verdict{na: "an ordinary user's sandbox makes files of the user's own groups only"}
	}
	p := w.newProject(t, tr.id, "chown -R 65534:0 .")
	w.start(t, p)
	defer w.remove(t, p)
	const script = "cp /bin/sh x; chmod 2755 x; rm -f y; (umask 0; python3 -c \"import os; os.open('y', os.O_CREAT|os.O_WRONLY, 0o2755)\") 2>/dev/null; true"
	found := func() string { return w.outside(t, p, "find . -type f -perm /6000; rm -f x y") }
	v := verdict{control: "held"}
	w.jail(t, p, nil, script)
	if found() != "" {
		v.control = "lost"
	}
	v.ran = strings.HasPrefix(w.inside(t, p, "echo RAN\n"+script), "RAN")
	v.won = found() != ""
	if out := w.inside(t, p, "cp /bin/sh z && chmod 755 z && ./z -c 'echo WORKS'"); !strings.Contains(out, "WORKS") {
		t.Error(out)
	}
	return v
}

// auditSessions reads from outside, in the host's /proc, what every process of the sandbox may do.
func auditSessions(tr *trial) verdict {
	w := tr.w
	cmd := exec.Command(w.bailey, "exec", w.shared.box, "sh", "-c", "echo RAN; exec sleep 30 # jail-audit")
	cmd.Dir, cmd.Env = w.shared.dir, w.env
	if err := cmd.Start(); err != nil {
		tr.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	weak := exec.Command("bwrap", "--dev-bind", "/", "/", "--cap-add", "ALL", "--unshare-user", "sleep", "30")
	if err := weak.Start(); err != nil {
		tr.t.Fatal(err)
	}
	defer func() {
		_ = weak.Process.Kill()
		_ = weak.Wait()
	}()
	v := verdict{control: "held"}
	var seen int
	machine.Poll(w.patience(), func() bool { seen, v.won, v.reason = w.audit(w.shared.box); return seen >= 2 })
	v.ran = seen >= 2
	if machine.Poll(w.patience(), func() bool { return status(weak.Process.Pid)["Seccomp"] == "0" }) {
		v.control = "lost"
	}
	return v
}

// audit looks at every process of a sandbox.
func (w *world) audit(box string) (seen int, won bool, reason string) {
	procs, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range procs {
		var pid int
		_, _ = fmt.Sscanf(file, "/proc/%d/status", &pid)
		s := status(pid)
		inner := strings.Fields(s["NSpid"])
		if len(inner) < 2 || !w.below(pid, box) {
			continue
		}
		seen++
		first := inner[len(inner)-1] == "1"
		// Process 1 keeps eight rights over its own ids where it has other users to start.
		caps := s["CapEff"]
		allowed := caps == "0000000000000000" || first && caps == "00000000000004fb"
		if !allowed || s["NoNewPrivs"] != "1" || s["Seccomp"] != "2" {
			won = true
		}
		reason += fmt.Sprintf("%s: CapEff %s, NoNewPrivs %s, Seccomp %s; ", map[bool]string{true: "process 1", false: "session"}[first], strings.TrimLeft(caps, "0")+"0", s["NoNewPrivs"], s["Seccomp"])
	}
	return seen, won, strings.TrimSuffix(reason, "; ")
}

// below says whether the process descends from the supervisor of that sandbox which this run's binary is.
func (w *world) below(pid int, box string) bool {
	for p := pid; p > 1; p = number(status(p)["PPid"]) {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p))
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p))
		if exe == w.bailey && strings.HasPrefix(string(cmdline), "bailey\x00supervise\x00"+box+"\x00") {
			return true
		}
	}
	return false
}

// status reads /proc/PID/status.
func status(pid int) map[string]string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	fields := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		key, value, _ := strings.Cut(line, ":")
		fields[key] = strings.TrimSpace(value)
	}
	return fields
}

// overwriteLauncher has the attacker wait for processes that run our program while the host starts some
// (CVE-2019-5736). The control's launcher is a copy of it that runs as the same user in plain sight.
func overwriteLauncher(tr *trial) verdict {
	w, t := tr.w, tr.t
	sum := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(data))
	}
	before := sum(w.bailey)
	v := verdict{control: "held"}
	launcher := filepath.Join(w.dir, "launcher")
	w.outside(t, w.shared, "cp /bin/sleep "+launcher)
	clean := sum(launcher)
	w.jail(t, w.shared, nil, launcher+" 0.5 & $PROBE executables 3s "+launcher+"; wait")
	if sum(launcher) != clean {
		v.control = "lost"
	}
	done := make(chan string)
	go func() { done <- w.inside(t, w.shared, "echo RAN; $PROBE executables 3s /bin/bailey") }()
	for ended := false; !ended; {
		select {
		case out := <-done:
			v.ran, ended = strings.HasPrefix(out, "RAN\n"), true
			v.reason = tr.explain(v, out)
		default:
			w.must(t, w.shared, "exec", w.shared.box, "true")
		}
	}
	v.won = sum(w.bailey) != before
	return v
}
