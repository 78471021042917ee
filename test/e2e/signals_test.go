//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

func TestExitCodesComeOut(t *testing.T) {
	u := newUser(t)
	u.box()
	u.write("src/shop/plain.txt", "no program\n")
	for script, want := range map[string]int{
		"true": 0, "false": 1, "exit 7": 7, "nosuch": 127, "./plain.txt": 126, "kill -9 $$": 137, "kill -TERM $$": 143, "kill -HUP $$": 129,
	} {
		for _, how := range [][]string{{"exec", "box", "sh", "-c"}, {"run", "box", "--", "-c"}} {
			if out := u.bailey(append(how, script)...); out.code != want {
				t.Errorf("%q %s: exit code %d, want %d\n%s", how, script, out.code, want, out.stderr)
			}
		}
	}
	if out := u.bailey("exec", "box", "nosuch"); out.code != 127 {
		t.Errorf("a program that is not there: %d", out.code)
	}
	if out := u.bailey("exec", "box", "./plain.txt"); out.code != 126 {
		t.Errorf("a file that is no program: %d", out.code)
	}
}

func TestSignalsReachWhatRunsInside(t *testing.T) {
	u := newUser(t)
	u.box()
	const loop = "echo up; while :; do sleep 0.1; done"
	for _, c := range []struct {
		name, script string
		signals      []syscall.Signal
		want         int
	}{
		{"Ctrl-C", loop, []syscall.Signal{syscall.SIGINT}, 130},
		{"Ctrl-C, handled", "trap 'exit 5' INT; " + loop, []syscall.Signal{syscall.SIGINT}, 5},
		{"Ctrl-C twice, the second handled", "trap 'trap \"exit 6\" INT; echo first' INT; " + loop, []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, 6},
		{"the end of a job", loop, []syscall.Signal{syscall.SIGTERM}, 143},
		{"a window that is closed", loop, []syscall.Signal{syscall.SIGHUP}, 129},
		{"a signal of the user's own", "trap 'exit 8' USR1; " + loop, []syscall.Signal{syscall.SIGUSR1}, 8},
	} {
		for _, how := range [][]string{{"exec", "box", "sh", "-c"}, {"run", "box", "--", "-c"}} {
			cmd := u.command(append(how, c.script)...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(commandTime, func() { _ = cmd.Process.Kill() })
			lines := bufio.NewScanner(out)
			for _, sig := range c.signals {
				if !lines.Scan() { // "up" before the first, "first" before the second
					t.Errorf("%s, %q: it says nothing", c.name, how)
				}
				_ = cmd.Process.Signal(sig)
			}
			for lines.Scan() {
			}
			_ = cmd.Wait()
			kill.Stop()
			if got := cmd.ProcessState.ExitCode(); got != c.want {
				t.Errorf("%s, %q: exit code %d, want %d", c.name, how, got, c.want)
			}
		}
	}
}

func TestCtrlCIsAKeyInATerminal(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "main")
	u.box()
	for _, how := range []string{"bailey exec -it box sh -c ", "bailey run box -- -c "} {
		s.command("true", "") // nothing of before is on the screen
		s.line(how + shell(`trap 'trap "exit 6" INT; echo "on"ce' INT; echo "u"p; while :; do sleep 0.1; done`) + "; echo code $?")
		s.await("up")
		s.keys("C-c")
		s.await("once")
		s.keys("C-c")
		s.await("code 6")
		s.prompt()
	}
}

func TestAReaderThatGoesIsNoError(t *testing.T) {
	u := newUser(t)
	u.box()
	u.must("run", "box", "--", "-c", "seq 100000")
	if got := u.outside("bailey logs box | head -1"); got != "1\n" {
		t.Errorf("logs into head says %q", got)
	}
	word := fmt.Sprint("of-", os.Getpid())
	if got := u.outside("bailey exec box yes " + word + " | head -1"); got != word+"\n" {
		t.Errorf("yes into head says %q", got)
	}
	if !machine.Poll(10*time.Second, func() bool { return len(processes("yes", word)) == 0 }) {
		t.Error("the command inside goes on without a reader")
	}
}

func TestACommandEndsWithItsClient(t *testing.T) {
	u := newUser(t)
	u.box()
	mark := fmt.Sprint("61031.", os.Getpid()) // ours among all that run on this machine
	cmd := u.command("exec", "box", "sleep", mark)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The client has the words too, and more.
	running := func() bool { return len(processes("sleep", mark)) > len(processes("exec", "sleep", mark)) }
	if !machine.Poll(10*time.Second, running) {
		t.Fatal("the control does not see the command")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !machine.Poll(10*time.Second, func() bool { return !running() }) {
		t.Error("the command goes on without its client")
	}
}

// TestNothingInsideOutlivesAStop starts what likes to stay: ignorers of signals, daemons, orphans.
func TestNothingInsideOutlivesAStop(t *testing.T) {
	u := newUser(t)
	for round, stop := range [][]string{{"stop", "box"}, {"rm", "-f", "box"}} {
		u.box()
		mark := fmt.Sprint(61000+round, ".", os.Getpid())
		u.inside("box", "trap '' TERM HUP INT; sleep "+mark+" & setsid sleep "+mark+" & (setsid sh -c 'sleep "+mark+" & sleep "+mark+"' &) ; nohup sleep "+mark+" >/dev/null 2>&1 &")
		u.must("exec", "-d", "box", "sleep", mark)
		if !machine.Poll(10*time.Second, func() bool { return len(processes("sleep", mark)) >= 5 }) {
			t.Fatalf("the control sees %v", processes("sleep", mark))
		}
		begun := time.Now()
		u.must(stop...)
		if left := processes("sleep", mark); len(left) > 0 {
			t.Errorf("%q returned and left %v", stop, left)
		}
		t.Logf("%q took %v", stop, time.Since(begun).Round(time.Millisecond))
		if round == 0 {
			u.must("rm", "box")
		}
	}
}
