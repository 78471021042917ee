//go:build linux

package e2e

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// startClaude starts an interactive Claude Code in the sandbox main on a new screen, whose model answers the
// first question with FIRST-ANSWER and so on.
func startClaude(u *user) *screen {
	u.t.Helper()
	s := newScreen(u, "one")
	u.needAgent("claude")
	m := serveModel(u.t, modelapi.Say("FIRST-ANSWER"))
	s.bailey(m.run("--name", "main", "claude", ".")...)
	s.await("bypass permissions on")
	return s
}

// bailey types a command on a cleared screen, so that what shows up is new.
func (s *screen) bailey(args ...string) {
	s.u.t.Helper()
	s.line("clear")
	if !machine.Poll(screenTime, func() bool { return s.text() == "ready>" }) {
		s.u.t.Fatalf("the screen does not get clear:\n%s", s.text())
	}
	s.line(shell(append([]string{"bailey"}, args...)...))
}

func TestASessionGoesOnWithoutItsTerminal(t *testing.T) {
	u := newUser(t)
	s := startClaude(u)
	s.line("the question")
	s.await("FIRST-ANSWER")
	s.keys("C-p", "C-q")
	s.prompt()
	for _, c := range []struct {
		name  string
		leave func()
	}{
		{"detached by its keys", func() {}},
		{"its client killed by SIGHUP", func() { u.signalClient(syscall.SIGHUP) }},
		{"its client killed by SIGTERM", func() { u.signalClient(syscall.SIGTERM) }},
		{"its client killed by SIGKILL", func() {
			u.signalClient(syscall.SIGKILL)
			// The terminal is still raw: there is no Enter but the line feed.
			s.keys("C-j")
			s.tmux("send-keys", "-l", "-t", s.pane(), "stty sane; clear")
			s.keys("C-j")
		}},
		{"its window closed", func() {
			next := newScreen(u, "two")
			s.tmux("kill-session", "-t", "=one")
			s = next
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.leave()
			s.prompt()
			if got := u.must("ls", "-q"); got != "main\n" {
				t.Fatalf("running are %q", got)
			}
			s.bailey("attach", "main")
			s.await("FIRST-ANSWER")
			s.await("bypass permissions on")
		})
	}
	s.leaveClaude()
}

// signalClient sends a signal to the one client that is attached.
func (u *user) signalClient(signal syscall.Signal) {
	u.t.Helper()
	var clients []int
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		cmdline, _ := os.ReadFile(proc + "/cmdline")
		environ, _ := os.ReadFile(proc + "/environ")
		if string(cmdline) == "bailey\x00attach\x00main\x00" && strings.Contains(string(environ), "HOME="+u.home+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(proc))
			clients = append(clients, pid)
		}
	}
	if len(clients) != 1 {
		u.t.Fatalf("want one client, got %v", clients)
	}
	if err := syscall.Kill(clients[0], signal); err != nil {
		u.t.Fatal(err)
	}
}

func TestTheTerminalIsAsBeforeAfterEveryEnd(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "one")
	u.needAgent("claude")
	before := s.settings()
	for _, c := range []struct {
		name string
		end  func()
	}{
		{"the agent ends", s.leaveClaude},
		{"detached", func() { s.keys("C-p", "C-q") }},
		{"the sandbox is stopped", func() { u.must("stop", "main") }},
		{"the sandbox is removed", func() { u.must("rm", "-f", "main") }},
		{"the client is told to end", func() { u.signalClient(syscall.SIGTERM) }},
		{"the supervisor is killed", func() { u.killSupervisor("main") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := serveModel(t, modelapi.Say("FIRST-ANSWER"))
			u.must(m.run("-d", "--name", "main", "claude", ".")...)
			s.bailey("attach", "main")
			s.await("bypass permissions on")
			if s.settings() == before {
				t.Error("the control shows no difference while the agent has the terminal")
			}
			c.end()
			s.prompt()
			if got := s.settings(); got != before {
				t.Errorf("the terminal's settings were\n%s and are\n%s", before, got)
			}
			if strings.Contains(u.bailey("ls", "-aq").stdout, "main") {
				u.must("rm", "-f", "main")
			}
		})
	}
}

func TestTwoTerminalsShareASession(t *testing.T) {
	u := newUser(t)
	one := startClaude(u)
	two := newScreen(u, "two")
	two.bailey("attach", "main")
	two.await("bypass permissions on")
	one.line("typed in the first")
	for _, s := range []*screen{one, two} {
		s.await("typed in the first")
		s.await("FIRST-ANSWER")
	}
	two.line("typed in the second")
	for _, s := range []*screen{one, two} {
		s.await("typed in the second")
	}
	// One leaves, the other goes on.
	two.keys("C-p", "C-q")
	two.prompt()
	one.line("typed alone")
	one.await("typed alone")
	one.leaveClaude()
}

func TestLogsFollowWithoutTyping(t *testing.T) {
	u := newUser(t)
	s := startClaude(u)
	follow := u.command("logs", "-f", "main")
	keyboard, err := follow.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	seen := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		lines.Split(bufio.ScanWords)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "FIRST-ANSWER") {
				close(seen)
				break
			}
		}
		for lines.Scan() {
		}
		ended <- follow.Wait()
	}()
	if _, err := keyboard.Write([]byte("TYPED-AT-THE-LOG\r")); err != nil {
		t.Fatal(err)
	}
	s.line("the question")
	s.await("FIRST-ANSWER")
	receive(t, "the answer in the log", seen)
	if strings.Contains(s.text(), "TYPED-AT-THE-LOG") {
		t.Error("what was typed at the log has reached the agent")
	}
	s.leaveClaude()
	if err := receive(t, "the end of the log", ended); err != nil {
		t.Error(err)
	}
}

// receive waits for what a channel brings.
func receive[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(screenTime):
		t.Fatalf("%s does not come", what)
	}
	return v
}
