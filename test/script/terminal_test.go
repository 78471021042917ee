package script

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// home is a scratch home directory with a workspace, and the environment of a user there.
func home(t *testing.T) (ws string, env []string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ws = filepath.Join(dir, "src", "shop")
	if err := os.MkdirAll(ws, 0o700); err != nil {
		t.Fatal(err)
	}
	env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TERM=xterm-256color", "SHELL=/bin/sh", "LOGNAME=ann"}
	t.Cleanup(func() {
		out, err := command(context.Background(), ws, env, "rm", "-f", "shell-shop").CombinedOutput()
		if err != nil && !strings.Contains(string(out), "no such sandbox") {
			t.Errorf("shell-shop may have outlived its test: %v: %s", err, out)
		}
	})
	return ws, env
}

func command(ctx context.Context, ws string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Args[0] = "bailey" // what testscript.Main goes by
	cmd.Dir, cmd.Env = ws, env
	return cmd
}

// screen collects what a terminal was sent.
type screen struct {
	mu   sync.Mutex
	more *sync.Cond
	text bytes.Buffer
}

func newScreen(f *os.File) *screen {
	s := &screen{}
	s.more = sync.NewCond(&s.mu)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.more.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// wait returns when text was shown.
func (s *screen) wait(t *testing.T, text string) {
	t.Helper()
	late := time.AfterFunc(20*time.Second, s.more.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(20 * time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	for !strings.Contains(s.text.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("%q was never shown, but:\n%q", text, s.text.String())
		}
		s.more.Wait()
	}
}

// terminal is a bailey command with a terminal of its own.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	keys   *os.File // the master
	tty    *os.File
	screen *screen
	before *term.State
}

func startTerminal(t *testing.T, ws string, env []string, args ...string) *terminal {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close(); _ = master.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Rows: 31, Cols: 101}); err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, keys: master, tty: slave, screen: newScreen(master)}
	x.before = x.modes()
	x.cmd = command(t.Context(), ws, env, args...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *terminal) modes() *term.State {
	x.t.Helper()
	m, err := term.GetState(int(x.tty.Fd()))
	if err != nil {
		x.t.Fatal(err)
	}
	return m
}

func (x *terminal) press(keys string) {
	x.t.Helper()
	if _, err := x.keys.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// ended waits for the command's end, and checks its exit code and that the terminal is as it was.
func (x *terminal) ended(codes ...int) {
	x.t.Helper()
	_ = x.cmd.Wait()
	if got := x.cmd.ProcessState.ExitCode(); !slices.Contains(codes, got) {
		x.t.Errorf("the exit code is %d, want one of %v; shown was %q", got, codes, x.screen.text.String())
	}
	if after := x.modes(); *after != *x.before {
		x.t.Errorf("the terminal was not restored: %+v, before %+v", after, x.before)
	}
}

func TestTheAgentHasTheTerminal(t *testing.T) {
	ws, env := home(t)
	x := startTerminal(t, ws, env, "run", "shell", ".", "--", "--norc")
	x.press("stty size\n")
	x.screen.wait(t, "31 101")
	if *x.modes() == *x.before {
		t.Error("the terminal is not raw while the agent has it") // the control of what ended checks
	}
	if err := pty.Setsize(x.keys, &pty.Winsize{Rows: 41, Cols: 121}); err != nil {
		t.Fatal(err)
	}
	x.press("until stty size | grep '41 121'; do sleep 0.05; done\n")
	x.screen.wait(t, "\r41 121\r\n")
	x.press(`sh -c 'trap "echo cau""ght; exit" INT; echo wai""ting; while :; do sleep 0.05; done'` + "\n")
	x.screen.wait(t, "waiting\r\n")
	x.press("\x03") // Ctrl-C is a key
	x.screen.wait(t, "caught\r\n")
	x.press("echo st''ill here; printf '\\033[?1049h'\n")
	x.screen.wait(t, "still here")
	x.screen.wait(t, "\x1b[?1049h")

	x.press("\x10\x11")
	x.screen.wait(t, "detached; bailey attach shell-shop")
	x.screen.wait(t, "\x1b[?1049l") // the alternative screen is left behind with the agent
	x.ended(0)

	x = startTerminal(t, ws, env, "attach", "shell-shop")
	x.screen.wait(t, "still here")
	x.press("exit 4\n")
	x.ended(4)
}

func TestTheTerminalIsRestoredWhenAClientIsTerminated(t *testing.T) {
	ws, env := home(t)
	x := startTerminal(t, ws, env, "run", "shell", ".", "--", "--norc")
	x.press("echo r''eady\n")
	x.screen.wait(t, "ready")
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.ended(128 + 15)
	out, err := command(t.Context(), ws, env, "ls").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "running  ") {
		t.Errorf("the agent did not go on: %s, %v", out, err)
	}
}

func TestTheTerminalIsRestoredWhenTheSandboxEnds(t *testing.T) {
	ws, env := home(t)
	x := startTerminal(t, ws, env, "run", "shell", ".", "--", "--norc")
	x.press("echo r''eady\n")
	x.screen.wait(t, "ready")
	if out, err := command(t.Context(), ws, env, "stop", "shell-shop").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	x.ended(128+1, 128+9) // hung up, or killed where a busy machine let the shell take too long
}

func TestSignalsAreTheAgentsWithoutATerminal(t *testing.T) {
	ws, env := home(t)
	cmd := command(t.Context(), ws, env, "run", "shell", ".", "--", "-c", "trap 'echo usr1' USR1; trap 'echo int; exit 3' INT; echo up; while :; do sleep 0.05; done")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	s := newScreen(r)
	s.wait(t, "up")
	_ = cmd.Process.Signal(syscall.SIGUSR1)
	s.wait(t, "usr1")
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("the exit code is %d", code)
	}
}

func TestTwoRunsAtOnceShareOneAgent(t *testing.T) {
	ws, env := home(t)
	var wg sync.WaitGroup
	var outs [4]string
	for i := range outs {
		wg.Go(func() {
			cmd := command(t.Context(), ws, env, "run", "shell", ".")
			cmd.Stdin = strings.NewReader("")
			if i == 0 {
				cmd.Stdin = strings.NewReader(fmt.Sprintf("sleep 1; echo from %d\n", os.Getpid()))
			}
			out, err := cmd.CombinedOutput()
			outs[i] = fmt.Sprintf("%s (%v)", out, err)
		})
	}
	wg.Wait()
	for _, out := range outs {
		if strings.Contains(out, "bailey:") {
			t.Errorf("a client failed: %s", out)
		}
	}
	out, err := command(t.Context(), ws, env, "ls", "-aq").Output()
	if err != nil || string(out) != "shell-shop\n" {
		t.Errorf("there are sandboxes %q, %v", out, err)
	}
}

func TestAKilledSupervisorIsAListedFact(t *testing.T) {
	ws, env := home(t)
	run := func(args ...string) string {
		t.Helper()
		out, err := command(t.Context(), ws, env, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("bailey %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	run("run", "shell", ".", "--", "-c", "true")
	lock, err := os.ReadFile(filepath.Join(strings.TrimPrefix(env[0], "HOME="), ".local/state/bailey/sandboxes/shell-shop/lock"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(lock), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// The kernel takes a moment to bury it.
	for deadline := time.Now().Add(10 * time.Second); ; {
		out := run("ls", "-a")
		if strings.Contains(out, "stopped") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a dead supervisor is listed as %s", out)
		}
	}
	run("start", "shell-shop")
	run("exec", "shell-shop", "true")
	run("rm", "-f", "shell-shop")
}
