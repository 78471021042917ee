//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// processes are the host's, whose command line has all of the words.
func processes(words ...string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
next:
	for _, path := range all {
		cmdline, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, w := range words {
			if !strings.Contains("\x00"+string(cmdline), "\x00"+w+"\x00") {
				continue next
			}
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// baileys are those of them that are the bailey under test: others may run on this machine.
func baileys(words ...string) []int {
	return slices.DeleteFunc(processes(words...), func(pid int) bool {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return !strings.HasPrefix(exe, os.Getenv(rootVariable)+"/")
	})
}

// signal sends sig to the one bailey that has the words.
func (u *user) signal(sig syscall.Signal, words ...string) {
	u.t.Helper()
	pids := baileys(words...)
	if len(pids) != 1 {
		u.t.Fatalf("want one process with %q, there are %v", words, pids)
	}
	if err := syscall.Kill(pids[0], sig); err != nil {
		u.t.Fatal(err)
	}
}

// takeover switches on what a full-screen program does, and says UP.
const takeover = `printf '\033[?1049h\033[?1003;1006h\033[?1h\033=\033[?25l\033[?2004h\125P'; exec sleep 1000`

func TestATerminalIsAsBeforeHoweverItIsLeft(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "main")
	before := s.settings()
	for name, leave := range map[string]func(){
		"the keys":                  func() { s.keys("C-p", "C-q") },
		"the end of the program":    func() { u.inside("box", "kill -9 $(pidof sleep)") },
		"the end of the sandbox":    func() { u.must("stop", "box") },
		"the client is told to end": func() { u.signal(syscall.SIGTERM, "run", "box") },
		"the client is hung up":     func() { u.signal(syscall.SIGHUP, "run", "box") },
		"the supervisor is killed":  func() { u.signal(syscall.SIGKILL, "supervise", "box") },
	} {
		u.box()
		s.line("clear; bailey run box -- -c " + shell(takeover))
		s.await("UP")
		if during := s.settings(); during == before || !strings.Contains(during, "alternate 1 cursor 0 mouse 1 keypad 1") {
			t.Fatalf("%s: the control shows a terminal that nobody has taken over: %s", name, during)
		}
		leave()
		s.prompt()
		if after := s.settings(); after != before {
			t.Errorf("after %s: the terminal was %s and is %s", name, before, after)
		}
		u.must("rm", "-f", "box")
	}
}

func TestAnAgentOutlivesItsWindow(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "main")
	u.box()
	s.line("bailey run box -- -c 'echo UP; exec sleep 1000'")
	s.await("\nUP")
	s.tmux("kill-session", "-t", "="+s.name)
	if !machine.Poll(10*time.Second, func() bool { return len(baileys("run", "box")) == 0 }) {
		t.Error("the client is still there")
	}
	if got := u.inside("box", "pidof sleep"); got == "" {
		t.Error("the agent has gone with the window")
	}
}

func TestTheClipboardIsOutOfReach(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "main")
	s.tmux("set-option", "-g", "set-clipboard", "on")
	u.box()
	buffers := func() string {
		out, _ := exec.Command("tmux", "-S", s.socket, "list-buffers", "-F", "#{buffer_sample}").CombinedOutput()
		return string(out)
	}
	const copied = `printf '\033]52;c;Q0FOQVJZ\a'`
	s.command(copied, "")
	if !machine.Poll(5*time.Second, func() bool { return strings.Contains(buffers(), "CANARY") }) {
		t.Fatalf("the control could not write the clipboard: %s", buffers())
	}
	s.tmux("delete-buffer")
	for _, how := range []string{"bailey exec -it box sh -c " + shell(copied), "bailey exec box sh -c " + shell(copied), "bailey run box -- -c " + shell(copied)} {
		s.command(how, "note: what runs inside tried to use your clipboard")
		if got := buffers(); strings.Contains(got, "CANARY") {
			t.Errorf("%s wrote %s", how, got)
			s.tmux("delete-buffer")
		}
	}
	s.command("bailey logs box", "end of")
	if got := buffers(); strings.Contains(got, "CANARY") {
		t.Errorf("logs wrote %s", got)
	}
}

func TestAnswersOfTheTerminalDoNotReachTheShell(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "main")
	u.box()
	// What is shown does not count: the terminal inside may echo an answer in time.
	u.write("waiting", `stty -icanon -echo min 0 time 5; echo "WAITING:$(dd bs=1000 count=1 2>/dev/null | cat -v)."; stty icanon echo`+"\n")
	const asked = `printf '\033[c\033[>c\033[>q'`
	s.command(asked+"; sh ~/waiting", "WAITING:^[[?")
	for _, how := range []string{"bailey exec -it box sh -c ", "bailey exec -t box sh -c ", "bailey exec box sh -c ", "bailey run box -- -c "} {
		s.command(how+shell(asked)+"; sh ~/waiting", "WAITING:.")
	}
}

func TestTypingIntoTheTerminalIsRefused(t *testing.T) {
	if text, err := os.ReadFile("/proc/sys/dev/tty/legacy_tiocsti"); err == nil && strings.TrimSpace(string(text)) != "1" {
		machine.Lack(t, "tiocsti", "the kernel refuses it to everybody")
	}
	if _, err := exec.LookPath("perl"); err != nil {
		machine.Lack(t, "perl", err.Error())
	}
	u := newUser(t)
	s := newScreen(u, "main")
	u.box()
	inject := func(mark string, request uint64) string {
		return fmt.Sprintf(`perl -e 'for (split //, "echo %s-\$((6*7))\n") { ioctl(STDIN, %#x, $_) or die "refused: $!\n" }'`, mark, request)
	}
	s.command(inject("CONTROL", syscall.TIOCSTI), "")
	s.await("CONTROL-42")
	for mark, request := range map[string]uint64{"PLAIN": syscall.TIOCSTI, "HIGH": 1<<32 | syscall.TIOCSTI} {
		for _, how := range []string{"bailey exec -it box sh -c ", "bailey run box -- -c "} {
			s.command(how+shell(inject(mark, request))+"; sleep 0.3", "refused: Operation not permitted")
			if got := s.text(); strings.Contains(got, mark+"-42") {
				t.Errorf("a command was typed into the terminal:\n%s", got)
			}
		}
	}
}

func TestTheWindowsSizeIsFollowed(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "main")
	u.box()
	s.line(`clear; bailey exec -it box sh -c 'trap "stty size" WINCH; stty size; while :; do sleep 0.1; done'`)
	s.await("40 120")
	s.tmux("resize-window", "-t", s.pane(), "-x", "97", "-y", "31")
	s.await("31 97")
	s.keys("C-c", "Enter")
	s.prompt()
}
