//go:build linux

package fault

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/test/fault/lab"
	"github.com/bailey-sandbox/bailey/test/machine"
)

func TestAClientWhoseSandboxIsKilled(t *testing.T) {
	for _, c := range []struct {
		name string
		kill func(t *testing.T, l *lab.Lab) int
	}{
		{"with its supervisor", func(t *testing.T, l *lab.Lab) int { return supervisor(t, l, "box") }},
		{"with its first process", func(t *testing.T, l *lab.Lab) int {
			children := lab.Children(supervisor(t, l, "box"))
			if len(children) != 1 {
				t.Fatalf("the supervisor has the children %v", children)
			}
			return children[0]
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			must(t, l, "create", "--name", "box", "shell", ".")
			master, slave, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			defer slave.Close()
			before := termios(t, slave)
			cmd := l.Command(nil, "run", "box", "--", "-c", "echo the agent is there; exec sleep 1000")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			screen := &screen{}
			go func() { _, _ = io.Copy(screen, master) }()
			if !machine.Poll(10*time.Second, func() bool { return strings.Contains(screen.text(), "the agent is there") }) {
				t.Fatalf("on the screen is %q", screen.text())
			}
			if reflect.DeepEqual(termios(t, slave), before) {
				t.Error("the terminal is not raw: the test can show nothing")
			}
			if err := syscall.Kill(c.kill(t, l), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			_ = cmd.Wait()
			if code := lab.ExitCode(cmd.ProcessState); code != 125 {
				t.Errorf("exit code %d", code)
			}
			if !machine.Poll(5*time.Second, func() bool { return strings.Contains(screen.text(), "bailey: lost the agent in box") }) {
				t.Errorf("on the screen is %q", screen.text())
			}
			if after := termios(t, slave); !reflect.DeepEqual(after, before) {
				t.Errorf("the terminal was left as %+v, it was %+v", after, before)
			}
			// A supervisor whose machine has died is there for a moment longer.
			if !machine.Poll(5*time.Second, func() bool { all, err := l.Status(); return err == nil && all["box"] == "stopped" }) {
				t.Error("it is not said to be stopped")
			}
			must(t, l, "start", "box")
			must(t, l, "exec", "box", "true")
		})
	}
}

func termios(t *testing.T, tty *os.File) *unix.Termios {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// screen keeps what was written.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}
