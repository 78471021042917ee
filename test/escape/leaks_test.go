//go:build linux

package escape

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what normally takes milliseconds.
func (w *world) patience() time.Duration { return 10 * time.Second }

func number(text string) (n int) {
	_, _ = fmt.Sscan(text, &n)
	return n
}

// leakCases look for the host's doors and facts.
func leakCases() []attack {
	return []attack{
		{id: "host-stream-socket", group: "ipc", own: socketCase("unix", false)},
		{id: "host-datagram-socket", group: "ipc", own: socketCase("unixgram", false)},
		{id: "host-abstract-socket", group: "ipc", own: socketCase("abstract", false)},
		{id: "host-socket-in-the-project", group: "ipc", own: socketCase("unix", true)},
		{id: "host-datagram-socket-in-the-project", group: "ipc", own: socketCase("unixgram", true)},
		{id: "host-socket-in-the-git-directory", group: "ipc", own: socketIn(".git/daemon.ipc", false)},
		{id: "host-socket-in-dependencies", group: "ipc", own: socketIn("node_modules/x/server.sock", false),
			documented: "sockets in node_modules, and those that appear after the start, can be connected to"},
		{id: "host-socket-after-the-start", group: "ipc", own: socketIn("later.sock", true),
			documented: "sockets in node_modules, and those that appear after the start, can be connected to"},
		{id: "session-buses-and-agents", group: "ipc", script: `env | grep -E '^(DBUS_|SSH_AUTH|GPG_|WAYLAND|DISPLAY|XAUTH|DOCKER_HOST|PULSE)' && echo WON
find / -xdev -type s 2>/dev/null | head; ls -A /run /run/user 2>/dev/null | grep -E 'docker|dbus|containerd|systemd|user' && echo WON; true`,
			weaker: "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/bus; export DBUS_SESSION_BUS_ADDRESS; env | grep -E '^(DBUS_)' && echo WON"},
		{id: "shared-memory-of-system-v", group: "ipc", own: systemV},
		{id: "shared-memory-and-temporary-files", group: "ipc", own: sharedFiles},
		{id: "keys-of-the-kernel", group: "ipc", script: "test -s /proc/keys -o -s /proc/key-users && echo WON; $PROBE call keyctl"},
		{id: "environment-of-every-process", group: "leak", script: "env; cat /proc/[0-9]*/environ 2>/dev/null | grep -aq HOSTSECRET && echo WON; true"},
		{id: "inherited-descriptor", group: "leak", own: inherited},
		{id: "other-processes", group: "leak", script: `ls -d /proc/[0-9]* | wc -l; test $(ls -d /proc/[0-9]* | wc -l) -gt 8 && echo WON; true`},
		{id: "facts-of-the-machine", group: "leak",
			script: `for f in cmdline config.gz kallsyms kcore keys kmsg modules partitions diskstats iomem ioports interrupts timer_list sched_debug slabinfo vmallocinfo zoneinfo schedstat swaps mdstat locks; do
test -s /proc/$f && head -c1 /proc/$f >/dev/null 2>&1 && test -n "$(head -c 200 /proc/$f | tr -d '\0' | sed 1d)$(test $f = cmdline && cat /proc/$f)" && echo "WON $f"; done
for d in firmware class block bus module kernel/debug kernel/security fs; do ls -A /sys/$d 2>/dev/null | grep -q . && echo "WON /sys/$d"; done; true`},
		{id: "names-of-the-host", group: "leak", own: hostNames},
		{id: "network-of-the-host", group: "leak", script: `n=$(sed 1,2d /proc/net/dev | grep -c .); echo "$n interfaces"; sed 1,2d /proc/net/dev | grep -vE '^ *(lo|eth0):' && echo WON; sed 1d /proc/net/unix | grep -E '/run|/tmp/\.X' && echo WON; true`,
			weaker: "sed 1d /proc/net/tcp /proc/net/unix | grep -q . && echo WON"},
		{id: "host-files-by-other-roots", group: "leak", script: "cat $HC /proc/*/root$HC /proc/*/cwd/../../elsewhere/canary /dev/fd/*/../$HC 2>/dev/null | grep -q CANARY && echo WON; true"},
		{id: "two-sandboxes-side-by-side", group: "leak", own: neighbours},
	}
}

// socketCase has a host program listen, and counts who came: the sandbox may not be among them.
func socketCase(kind string, inProject bool) func(*trial) verdict {
	return func(tr *trial) verdict {
		w := tr.w
		p := w.newProject(tr.t, tr.id, "")
		name := filepath.Join(w.dir, "s"+tr.id)
		if inProject {
			name = filepath.Join(p.dir, "server.sock")
		}
		came := listen(tr, kind, &name)
		w.start(tr.t, p)
		defer w.remove(tr.t, p)
		return knock(tr, p, kind, name, came)
	}
}

// socketIn is for a socket of a host's program at a place in the project, before or after the start.
func socketIn(place string, late bool) func(*trial) verdict {
	return func(tr *trial) verdict {
		w := tr.w
		p := w.newProject(tr.t, "s", "mkdir -p "+filepath.Dir(place)) // a short name: sockets' paths are
		defer func() { _ = os.RemoveAll(p.dir) }()
		name := filepath.Join(p.dir, place)
		if late {
			w.start(tr.t, p)
			defer w.remove(tr.t, p)
		}
		came := listen(tr, "unix", &name)
		if !late {
			w.start(tr.t, p)
			defer w.remove(tr.t, p)
		}
		v := knock(tr, p, "unix", name, came)
		if v.won {
			v.reason = tr.documented
		}
		return v
	}
}

// listen answers with what counts the callers. A path too long for the host's own listener is reached shorter.
func listen(tr *trial, kind string, name *string) (came func() int) {
	calls := make(chan struct{}, 100)
	listenAt := *name
	if kind == "abstract" {
		listenAt = "@escape-" + fmt.Sprint(os.Getpid())
		*name = listenAt[1:]
	} else if dir, err := os.Open(filepath.Dir(*name)); err == nil {
		defer dir.Close()
		listenAt = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(*name))
	}
	if kind == "unixgram" {
		c, err := net.ListenPacket("unixgram", listenAt)
		if err != nil {
			tr.t.Fatal(err)
		}
		tr.t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 100)
			for {
				if _, _, err := c.ReadFrom(buf); err != nil {
					return
				}
				calls <- struct{}{}
			}
		}()
	} else {
		l, err := net.Listen("unix", listenAt)
		if err != nil {
			tr.t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		tr.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				calls <- struct{}{}
				c.Close()
			}
		}()
	}
	return func() int {
		n := 0
		for {
			select {
			case <-calls:
				n++
			case <-time.After(200 * time.Millisecond): // a caller that came is counted by then
				return n
			}
		}
	}
}

func knock(tr *trial, p *project, kind, name string, came func() int) verdict {
	v := verdict{control: "held"}
	// From the directory itself, so that no path is too long.
	script := "$PROBE " + kind + " " + name
	if kind != "abstract" {
		script = fmt.Sprintf("cd '%s' && $PROBE %s %s", filepath.Dir(name), kind, filepath.Base(name))
	}
	tr.t.Log(tr.w.jail(tr.t, p, nil, script))
	if came() > 0 {
		v.control = "lost"
	}
	out := tr.w.inside(tr.t, p, "echo RAN\n"+script)
	tr.t.Log(out)
	v.ran, v.won = strings.HasPrefix(out, "RAN"), came() > 0
	v.reason = tr.explain(v, out)
	return v
}

func systemV(tr *trial) verdict {
	const key = 0x65736361
	id, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o666)
	if err != nil {
		return verdict{na: "the host can make no such memory: " + err.Error()}
	}
	defer func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) }()
	return tr.both(fmt.Sprint("$PROBE sysv ", key), "WON")
}

// both runs a script in the control and inside, and looks for a word in what each prints.
func (tr *trial) both(script, word string) verdict {
	v := verdict{control: "held"}
	if strings.Contains(tr.w.jail(tr.t, tr.w.shared, tr.weak, script), word) {
		v.control = "lost"
	}
	out := tr.w.inside(tr.t, tr.w.shared, "echo RAN\n"+script)
	tr.t.Log(out)
	v.ran, v.won = strings.HasPrefix(out, "RAN"), strings.Contains(out, word)
	v.reason = tr.explain(v, out)
	return v
}

func sharedFiles(tr *trial) verdict {
	names := map[string]string{}
	for _, dir := range []string{"/dev/shm", "/tmp", "/var/tmp"} {
		f, err := os.CreateTemp(dir, "escape-")
		if err != nil {
			continue
		}
		fmt.Fprintln(f, "CANARY")
		f.Close()
		tr.t.Cleanup(func() { os.Remove(f.Name()); os.Remove(f.Name() + "-back") })
		names[dir] = f.Name()
	}
	script := ""
	for _, n := range names {
		script += "grep CANARY " + n + "; touch " + n + "-back; "
	}
	v := tr.both(script, "CANARY")
	for _, n := range names {
		// The control made it; the sandbox may not have touched it since.
		if err := os.Remove(n + "-back"); err != nil {
			v.control = "held"
		}
	}
	tr.w.inside(tr.t, tr.w.shared, script)
	for _, n := range names {
		if _, err := os.Lstat(n + "-back"); err == nil {
			v.won = true
		}
	}
	return v
}

// inherited starts bailey with the host's root directory open, as in CVE-2024-21626.
func inherited(tr *trial) verdict {
	w, t := tr.w, tr.t
	slash, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer slash.Close()
	p := w.newProject(t, tr.id, "")
	v := verdict{control: "held"}
	with := func(argv ...string) string {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.ExtraFiles = []*os.File{nil, nil, nil, nil, slash}
		return w.output(t, cmd, p)
	}
	if strings.Contains(with("bwrap", "--dev-bind", "/", "/", w.tools+"/probe", "descriptors"), "leads to") {
		v.control = "lost"
	}
	defer w.remove(t, p)
	with(w.bailey, "create", "--name", p.box, "-v", w.tools+":"+w.tools+":ro", "shell", p.dir)
	with(w.bailey, "start", p.box)
	agent := with(w.bailey, "run", p.box, "--", "-c", "echo RAN; "+w.tools+"/probe descriptors")
	session := with(w.bailey, "exec", p.box, "sh", "-c", "echo RAN; "+w.tools+"/probe descriptors")
	t.Log(agent, session)
	v.ran = strings.Contains(agent, "RAN") && strings.Contains(session, "RAN")
	v.won = strings.Contains(agent+session, "open:")
	v.reason = tr.explain(v, agent)
	return v
}

func hostNames(tr *trial) verdict {
	host, err := os.Hostname()
	if err != nil {
		tr.t.Fatal(err)
	}
	id, _ := os.ReadFile("/etc/machine-id")
	words := []string{"_apt", "messagebus"}
	if host != "localhost" {
		words = append(words, host)
	}
	if len(id) > 8 {
		words = append(words, strings.TrimSpace(string(id)))
	}
	pattern := "(^|[^a-z])(" + strings.Join(words, "|") + ")([^a-z]|$)"
	return tr.both("cat /etc/hostname /etc/hosts /etc/passwd /etc/group /etc/machine-id /proc/sys/kernel/hostname /etc/resolv.conf 2>/dev/null | grep -E '"+pattern+"' && echo WON; true", "WON")
}

// neighbours has one sandbox listen on everything and another look for it.
func neighbours(tr *trial) verdict {
	w, t := tr.w, tr.t
	a := w.newProject(t, tr.id+"-a", "echo A-CANARY > private")
	w.start(t, a)
	defer w.remove(t, a)
	address := strings.TrimSpace(w.inside(t, a, "hostname -I 2>/dev/null || ip -o -4 addr show eth0 | awk '{print $4}' | cut -d/ -f1"))
	cmd := exec.Command(w.bailey, "exec", a.box, "sh", "-c", "perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(LocalPort=>8099,Listen=>5,ReuseAddr=>1) or die; $|=1; print \"UP\\n\"; while($c=$s->accept){print $c \"A-CANARY\\n\"; close $c}'")
	cmd.Dir, cmd.Env = a.dir, w.env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if n, _ := out.Read(make([]byte, 3)); n == 0 {
		return verdict{na: "nothing can listen inside without perl"}
	}
	addr := "127.0.0.1"
	if f := strings.Fields(address); len(f) > 0 {
		addr = f[0]
	}
	script := fmt.Sprintf("perl -MIO::Socket::INET -e 'for(\"%s\",\"127.0.0.1\",\"198.18.0.1\"){$s=IO::Socket::INET->new(PeerAddr=>$_,PeerPort=>8099,Timeout=>1); print <$s> if $s}'; cat %s/private; grep -l A-CANARY /proc/*/cmdline; true", addr, a.dir)
	v := verdict{control: "held"}
	if strings.Contains(w.inside(t, a, script), "A-CANARY") {
		v.control = "lost"
	}
	got := w.inside(t, w.shared, "echo RAN\n"+script)
	t.Log(got)
	v.ran, v.won = strings.HasPrefix(got, "RAN"), strings.Contains(strings.ReplaceAll(got, "cat: ", ""), "A-CANARY\n")
	return v
}
