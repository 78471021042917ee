//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// screen is a terminal window with a shell in it, whose prompt is "ready>". tmux draws what a person would
// see, which for a full-screen program is far from what it writes.
type screen struct {
	u      *user
	socket string
	name   string
	ended  int // commands
}

// screenTime is how long something may take to appear: the agents need seconds to start.
const screenTime = 30 * time.Second

func newScreen(u *user, name string) *screen {
	u.t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		machine.Lack(u.t, "tmux", err.Error())
	}
	s := &screen{u: u, socket: filepath.Join(u.home, "../tmux"), name: name}
	args := []string{"-f", "/dev/null", "new-session", "-d", "-s", name, "-x", "120", "-y", "40", "env", "-i"}
	args = append(args, u.env...)
	s.tmux(append(args, "TERM=screen-256color", "PS1=ready> ", "sh")...)
	u.t.Cleanup(func() {
		if u.t.Failed() {
			last, _ := exec.Command("tmux", "-S", s.socket, "capture-pane", "-p", "-t", s.pane()).Output()
			u.t.Logf("the screen %s:\n%s", name, bytes.TrimRight(last, "\n"))
		}
		_ = exec.Command("tmux", "-S", s.socket, "kill-session", "-t", "="+name).Run()
	})
	s.prompt()
	s.line("cd " + shell(u.project))
	return s
}

func (s *screen) tmux(args ...string) string {
	s.u.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.u.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// pane names the screen for tmux, by its whole name.
func (s *screen) pane() string { return "=" + s.name + ":" }

// text is what is on the screen now, without the empty lines at its end.
func (s *screen) text() string {
	return strings.TrimRight(s.tmux("capture-pane", "-p", "-t", s.pane()), "\n")
}

// await waits until the screen shows want.
func (s *screen) await(want string) {
	s.u.t.Helper()
	if !machine.Poll(screenTime, func() bool { return strings.Contains(s.text(), want) }) {
		s.u.t.Fatalf("the screen does not show %q:\n%s", want, s.text())
	}
}

// prompt waits until the shell waits for a command.
func (s *screen) prompt() {
	s.u.t.Helper()
	last := func() string { text := s.text(); return text[strings.LastIndexByte(text, '\n')+1:] }
	if !machine.Poll(screenTime, func() bool { return last() == "ready>" }) {
		s.u.t.Fatalf("the shell does not come back:\n%s", s.text())
	}
}

// line types text and Enter. Programs that draw an input line need to see the two apart.
func (s *screen) line(text string) {
	s.u.t.Helper()
	s.tmux("send-keys", "-l", "-t", s.pane(), text)
	s.keys("Enter")
}

// paste types a text that the program shows the end of, and waits until it does: an Enter that comes with the
// text is taken for a part of it.
func (s *screen) paste(text string) {
	s.u.t.Helper()
	s.tmux("send-keys", "-l", "-t", s.pane(), text)
	s.await(text[len(text)-6:])
}

// leaveClaude has Claude Code end, and waits for the shell. While the menu of its commands opens it may not take
// an Enter, so it gets one as often as a person would press it.
func (s *screen) leaveClaude() {
	s.u.t.Helper()
	s.tmux("send-keys", "-l", "-t", s.pane(), "/exit")
	s.await("/exit")
	left := func() bool { return strings.HasSuffix(s.text(), "ready>") }
	if !machine.Poll(screenTime, func() bool {
		s.keys("Enter")
		return machine.Poll(time.Second, left)
	}) {
		s.u.t.Fatalf("the agent does not end:\n%s", s.text())
	}
	s.tmux("send-keys", "-t", s.pane(), "clear", "Enter") // an Enter too many has only made another prompt
	s.prompt()
}

// command types a command on an empty screen, and waits for its end. The screen must then show want.
func (s *screen) command(line, want string) {
	s.u.t.Helper()
	s.ended++
	s.line(fmt.Sprintf("clear; %s; echo end of $((%d+1))", line, s.ended)) // what is typed is not what is printed
	s.await(fmt.Sprintf("end of %d", s.ended+1))
	s.prompt()
	if got := s.text(); !strings.Contains(got, want) {
		s.u.t.Errorf("after %s the screen does not show %q:\n%s", line, want, got)
	}
}

// keys presses keys by tmux's names.
func (s *screen) keys(names ...string) {
	s.u.t.Helper()
	s.tmux(append([]string{"send-keys", "-t", s.pane()}, names...)...)
}

// settings is what stty says of the terminal, which must have a shell waiting.
func (s *screen) settings() string {
	s.u.t.Helper()
	tty := strings.TrimSpace(s.tmux("display-message", "-p", "-t", s.pane(), "#{pane_tty}"))
	out, err := exec.Command("stty", "-F", tty, "-g").CombinedOutput()
	if err != nil {
		s.u.t.Fatalf("stty: %v: %s", err, out)
	}
	modes := s.tmux("display-message", "-p", "-t", s.pane(), "alternate #{alternate_on} cursor #{cursor_flag} mouse #{mouse_any_flag} keypad #{keypad_cursor_flag}")
	return strings.TrimSpace(string(out)) + " " + strings.TrimSpace(modes)
}

// shell quotes words for a shell's command line.
func shell(words ...string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}
