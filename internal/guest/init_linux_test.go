package guest

import (
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// serveInit is the guest as the init process of a sandbox, on the stream at its file 3. Where it is not
// PID 1 it asks for orphans, which a PID 1 gets unasked.
func serveInit() int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 3
	}
	if os.Getpid() == 1 {
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return 4
		}
	}
	conn, err := net.FileConn(os.NewFile(3, "stream")) // file 3 stays open, and without close-on-exec
	if err != nil {
		return 5
	}
	cfg := testConfig()
	cfg.Init = os.Getenv("GUEST_TEST_PLAIN") == ""
	s := New(cfg, slog.New(slog.DiscardHandler))
	s.Serve(conn)
	s.Close()
	if os.Getpid() == 1 && unix.Kill(-1, 0) == nil {
		return 6
	}
	return 0
}

// startInit runs this binary as init, or with plain as a guest that is none.
func startInit(t *testing.T, attr *syscall.SysProcAttr, plain string) *guestproto.Client {
	t.Helper()
	host, guest := socketPair(t)
	f, err := guest.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	guest.Close()
	self := exec.Command("/proc/self/exe", "-test.run=^$")
	self.Env = []string{"GUEST_TEST_ROLE=init", "GUEST_TEST_PLAIN=" + plain}
	self.ExtraFiles = []*os.File{f}
	self.SysProcAttr = attr
	err = self.Start()
	f.Close()
	if err != nil {
		host.Close()
		t.Skipf("this machine does not allow it: %v", err)
	}
	c, err := guestproto.Dial(soon(t), host)
	if err != nil {
		self.Process.Kill()
		t.Fatal(err, self.Wait())
	}
	t.Cleanup(func() {
		c.Close()
		if err := self.Wait(); err != nil {
			t.Errorf("init ended with %v", err)
		}
	})
	return c
}

// zombies counts the dead children of the guest that serves c, as a command of that guest sees them.
func zombies(t *testing.T, c *guestproto.Client) int {
	out, _, _ := finish(t, begin(t, c, sh(`cat /proc/[0-9]*/stat 2>/dev/null | grep -c "^[0-9]* (.*) Z $PPID "`)))
	n, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestInitReapsOrphans(t *testing.T) {
	for plain, reaps := range map[string]bool{"": true, "1": false} {
		c := startInit(t, nil, plain)
		// Two orphans, one of them with a session of its own.
		p := begin(t, c, sh(`(exec >&- 2>&-; sleep 0.1 &); (exec >&- 2>&-; setsid sleep 0.1 &); exit 6`))
		if _, _, exit := finish(t, p); exit.Code != 6 {
			t.Errorf("got %+v", exit)
		}
		<-time.After(300 * time.Millisecond) // they end by themselves, and nothing tells when
		if reaps {
			eventually(t, "every orphan is reaped", func() bool { return zombies(t, c) == 0 })
		} else { // the positive control
			eventually(t, "both orphans stay", func() bool { return zombies(t, c) == 2 })
		}
	}
}

func TestInitKeepsExitStatusesApart(t *testing.T) {
	c := startInit(t, nil, "")
	for i := range 50 {
		p := begin(t, c, sh(`(true &); (true &); exit `+strconv.Itoa(i)))
		if _, _, exit := finish(t, p); exit.Code != i {
			t.Fatalf("got %+v, want %d", exit, i)
		}
	}
}

func TestInitGivesChildrenOnlyTheirStandardFiles(t *testing.T) {
	for plain, sealed := range map[string]bool{"": true, "1": false} {
		c := startInit(t, nil, plain)
		// The name of file 3 is that of the stream in a guest that does not seal it, the positive control.
		out, _, _ := finish(t, begin(t, c, sh(`for f in /proc/$$/fd/*; do readlink $f; done`)))
		if strings.Contains(out, "socket:") == sealed {
			t.Errorf("sealed %v: open files are\n%s", sealed, out)
		}
	}
}

// In its own PID namespace the guest is PID 1 for the kernel too: no signal from inside ends it, and
// Close leaves nothing behind, not even what made a session of its own (serveInit looks).
func TestInitAsPID1(t *testing.T) {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	c := startInit(t, attr, "")
	script := `i=1; while [ $i -le 64 ]; do kill -$i 1 2>/dev/null; i=$((i+1)); done
		setsid sh -c 'trap "" HUP TERM; echo escaped; exec sleep 60' & sleep 60`
	p := begin(t, c, sh(script))
	readUntil(t, p, "escaped")
	if out, _, _ := finish(t, begin(t, c, sh("echo still here"))); out != "still here\n" {
		t.Errorf("got %q", out)
	}
}
