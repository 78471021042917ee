package guest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// TestMain plays other programs too: some tests start this binary again.
func TestMain(m *testing.M) {
	switch os.Getenv("GUEST_TEST_ROLE") {
	case "init":
		os.Exit(serveInit())
	case "bridge":
		os.Exit(bridge(os.Getenv("GUEST_TEST_SOCKET")))
	}
	goleak.VerifyTestMain(m)
}

// me is the user that the tests run as, root or not.
func me() sandbox.User {
	return sandbox.User{Name: "me", UID: os.Geteuid(), GID: os.Getegid(), Home: "/", Shell: "/bin/sh"}
}

func testConfig() Config {
	return Config{User: me(), Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "BASE=base"}, Workdir: "/"}
}

func newServer(t testing.TB, cfg Config) *Server {
	s := New(cfg, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.Close() })
	return s
}

// socketPair returns both ends of a stream like the one that a backend makes.
func socketPair(t testing.TB) (net.Conn, net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "stream")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return ends[0], ends[1]
}

func dial(t testing.TB, s *Server) *guestproto.Client {
	t.Helper()
	host, guest := socketPair(t)
	return dialOn(t, s, host, guest)
}

func dialOn(t testing.TB, s *Server, host, guest net.Conn) *guestproto.Client {
	t.Helper()
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(guest) }()
	c, err := guestproto.Dial(soon(t), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-served })
	return c
}

// soon bounds what should take no time but must not hang the tests.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func begin(t testing.TB, c *guestproto.Client, cmd guestproto.Command) *guestproto.Process {
	t.Helper()
	p, err := c.Run(soon(t), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func join(t testing.TB, c *guestproto.Client, a guestproto.Attach) *guestproto.Process {
	t.Helper()
	p, err := c.Attach(soon(t), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func sh(script string) guestproto.Command {
	return guestproto.Command{Argv: []string{"sh", "-c", script}}
}

// finish reads everything and waits.
func finish(t testing.TB, p *guestproto.Process) (stdout, stderr string, exit guestproto.Exit) {
	t.Helper()
	var out, errOut bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(&out, p.Stdout) })
	wg.Go(func() { io.Copy(&errOut, p.Stderr) })
	wg.Wait()
	exit, err := p.Wait()
	if err != nil {
		t.Fatalf("Wait: %v (stdout %q, stderr %q)", err, out.String(), errOut.String())
	}
	return out.String(), errOut.String(), exit
}

// readUntil reads p's stdout until it has seen text, and returns all it read.
func readUntil(t testing.TB, p *guestproto.Process, text string) string {
	t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { p.Close() })
	defer timer.Stop()
	var got []byte
	one := make([]byte, 4096)
	for !strings.Contains(string(got), text) {
		n, err := p.Stdout.Read(one)
		got = append(got, one[:n]...)
		if err != nil {
			t.Fatalf("waiting for %q: %v after %q", text, err, got)
		}
	}
	return string(got)
}

// eventually polls for what happens outside our reach, such as the end of somebody else's process.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return os.IsNotExist(err) && !onLinux() && syscall.Kill(pid, 0) == nil
	}
	_, ended, err := parseStat(stat)
	return err == nil && !ended
}

func onLinux() bool { _, err := os.Stat("/proc/self/stat"); return err == nil }

// pidIn reads the pid that a script printed on its first line.
func pidIn(t testing.TB, line string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid < 2 {
		t.Fatalf("no pid in %q", line)
	}
	return pid
}

// bridge joins stdio to a Unix socket, like the ProxyCommand of a real client.
func bridge(socket string) int {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 1
	}
	go func() {
		io.Copy(conn, os.Stdin)
		conn.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(os.Stdout, conn)
	return 0
}
