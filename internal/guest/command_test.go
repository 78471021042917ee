package guest

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

func TestCommandsEndAsInAShell(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	for name, test := range map[string]struct {
		script string
		want   guestproto.Exit
	}{
		"success":            {"exit 0", guestproto.Exit{}},
		"failure":            {"exit 1", guestproto.Exit{Code: 1}},
		"the largest code":   {"exit 255", guestproto.Exit{Code: 255}},
		"killed by itself":   {"kill -KILL $$", guestproto.Exit{Code: 137, Signal: "KILL"}},
		"terminated":         {"kill -TERM $$", guestproto.Exit{Code: 143, Signal: "TERM"}},
		"hung up":            {"kill -HUP $$", guestproto.Exit{Code: 129, Signal: "HUP"}},
		"a code above 128":   {"exit 143", guestproto.Exit{Code: 143}},
		"output closed soon": {"exec >&- 2>&-; sleep 0.1; exit 7", guestproto.Exit{Code: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, exit := finish(t, begin(t, c, sh(test.script))); exit != test.want {
				t.Errorf("got %+v, want %+v", exit, test.want)
			}
		})
	}
}

func TestStreamsStayApart(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	out, errOut, _ := finish(t, begin(t, c, sh("echo one; echo two >&2")))
	if out != "one\n" || errOut != "two\n" {
		t.Errorf("stdout %q, stderr %q", out, errOut)
	}
}

func TestInputIsNullUnlessTheClientSendsSome(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	if out, _, _ := finish(t, begin(t, c, sh("cat; echo end"))); out != "end\n" {
		t.Errorf("got %q", out)
	}
	cmd := sh("cat; echo end")
	cmd.Stdin = true
	p := begin(t, c, cmd)
	io.WriteString(p.Stdin, "typed\n")
	p.Stdin.Close()
	if out, _, _ := finish(t, p); out != "typed\nend\n" {
		t.Errorf("got %q", out)
	}
}

func TestClientIsNotStuckBehindACommandThatDoesNotRead(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	cmd := sh("exec <&-; sleep 0.2; exit 3")
	cmd.Stdin = true
	p := begin(t, c, cmd)
	io.Copy(p.Stdin, io.LimitReader(zeros{}, 8<<20)) // more than all buffers on the way
	if _, _, exit := finish(t, p); exit.Code != 3 {
		t.Errorf("got %+v", exit)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestStreamsAreBinaryClean(t *testing.T) {
	const size = 64 << 20
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, guestproto.Command{Argv: []string{"cat"}, Stdin: true})
	sent, got := sha256.New(), sha256.New()
	go func() {
		r := io.LimitReader(rand.NewChaCha8([32]byte{1}), size)
		io.Copy(p.Stdin, io.TeeReader(r, sent))
		p.Stdin.Close()
	}()
	n, err := io.Copy(got, p.Stdout)
	if err != nil || n != size {
		t.Fatalf("%d bytes came back, %v", n, err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Fatal(exit, err)
	}
	if sum(sent) != sum(got) {
		t.Error("the bytes changed on the way")
	}
}

func sum(h hash.Hash) string { return string(h.Sum(nil)) }

func TestEnvironmentIsTheBaseTheUserAndTheCommand(t *testing.T) {
	t.Setenv("GUEST_SECRET", "of the guest itself")
	c := dial(t, newServer(t, testConfig()))
	cmd := guestproto.Command{Argv: []string{"env"}, Env: []string{"BASE=changed", "EXTRA=a=b\n\"c"}}
	out, _, _ := finish(t, begin(t, c, cmd))
	for _, want := range []string{"BASE=changed\n", "EXTRA=a=b\n\"c\n", "HOME=/\n", "USER=me\n", "LOGNAME=me\n", "SHELL=/bin/sh\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in %q", want, out)
		}
	}
	for _, bad := range []string{"GUEST_SECRET", "BASE=base", "TERM="} {
		if strings.Contains(out, bad) {
			t.Errorf("%q in %q", bad, out)
		}
	}
}

func TestCommandsStartWhereTheyAreTold(t *testing.T) {
	dir := tempDir(t)
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.Workdir = dir
	c := dial(t, newServer(t, cfg))
	for dirOf, want := range map[string]string{"": dir, "sub": dir + "/sub", "/usr": "/usr"} {
		out, _, _ := finish(t, begin(t, c, guestproto.Command{Argv: []string{"pwd"}, Dir: dirOf}))
		if out != want+"\n" {
			t.Errorf("in %q: got %q, want %q", dirOf, out, want)
		}
	}
	if _, err := c.Run(soon(t), guestproto.Command{Argv: []string{"pwd"}, Dir: "none"}); err == nil || !strings.Contains(err.Error(), "no such directory") {
		t.Errorf("got %v", err)
	}
}

func TestProgramsAreFoundAsInAShell(t *testing.T) {
	dir := tempDir(t)
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("tool", "#!/bin/sh\necho tool $0\n", 0o755)
	write("plain", "#!/bin/sh\n", 0o644)
	write("orphan", "#!/no/such/interpreter\n", 0o755)
	write("junk", "\x00\x01\x02", 0o755)
	cfg := testConfig()
	cfg.Workdir = dir
	c := dial(t, newServer(t, cfg))
	own := []string{"PATH=" + dir + ":/usr/bin:/bin"}

	for name, argv0 := range map[string]string{"in PATH": "tool", "relative": "./tool", "absolute": dir + "/tool"} {
		out, _, exit := finish(t, begin(t, c, guestproto.Command{Argv: []string{argv0}, Env: own}))
		if exit.Code != 0 || !strings.HasPrefix(out, "tool") {
			t.Errorf("%s: %q, %+v", name, out, exit)
		}
	}
	for name, test := range map[string]struct {
		cmd  guestproto.Command
		code int
	}{
		"not in PATH":               {guestproto.Command{Argv: []string{"tool"}}, 127},
		"not there":                 {guestproto.Command{Argv: []string{"./none"}}, 127},
		"an empty PATH":             {guestproto.Command{Argv: []string{"sh"}, Env: []string{"PATH="}}, 127},
		"no current directory":      {guestproto.Command{Argv: []string{"tool"}, Env: []string{"PATH=:"}}, 127},
		"not executable":            {guestproto.Command{Argv: []string{"./plain"}}, 126},
		"not executable in PATH":    {guestproto.Command{Argv: []string{"plain"}, Env: own}, 126},
		"a directory":               {guestproto.Command{Argv: []string{"/usr"}}, 126},
		"a missing interpreter":     {guestproto.Command{Argv: []string{"./orphan"}}, 127},
		"no program at all":         {guestproto.Command{Argv: []string{"./junk"}}, 126},
		"an escape in its name":     {guestproto.Command{Argv: []string{"\x1b]0;x\a\n"}}, 127},
		"no command":                {guestproto.Command{}, 0},
		"a broken entry in the env": {guestproto.Command{Argv: []string{"true"}, Env: []string{"X"}}, 0},
		"detached without session":  {guestproto.Command{Argv: []string{"true"}, Detach: true}, 0},
		"too long":                  {guestproto.Command{Argv: []string{"true", strings.Repeat("x", 300<<10)}}, -1},
		"not UTF-8":                 {guestproto.Command{Argv: []string{"true", "\xff"}}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Run(soon(t), test.cmd)
			var e *guestproto.StartError
			if err == nil || errors.As(err, &e) != (test.code >= 0) || e != nil && e.Code != test.code {
				t.Errorf("got %v, want code %d", err, test.code)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("not escaped: %q", err)
			}
		})
	}
	// None of that harmed the stream.
	if _, _, exit := finish(t, begin(t, c, sh("exit 4"))); exit.Code != 4 {
		t.Errorf("got %+v", exit)
	}
}

func TestSignalsReachTheGroup(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, sh("trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"))
	readUntil(t, p, "ready")
	if err := p.Signal("USR1"); err != nil {
		t.Fatal(err)
	}
	if _, _, exit := finish(t, p); exit.Code != 9 {
		t.Errorf("got %+v", exit)
	}
}

func TestUsersAreRefusedUnlessAllowed(t *testing.T) {
	other := "12345:54321"
	c := dial(t, newServer(t, testConfig()))
	_, err := c.Run(soon(t), guestproto.Command{Argv: []string{"id"}, User: other})
	if err == nil || !strings.Contains(err.Error(), "no other user") {
		t.Errorf("got %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("the positive control needs root to become somebody else")
	}
	cfg := testConfig()
	cfg.Users = true
	c = dial(t, newServer(t, cfg))
	cmd := sh("id -u; id -g; id -G; echo $HOME; echo yes >/dev/stdout")
	cmd.User = other
	out, errOut, _ := finish(t, begin(t, c, cmd))
	if out != "12345\n54321\n54321\n/\nyes\n" {
		t.Errorf("got %q, %q", out, errOut)
	}
}

func TestZeroConfigRunsNothing(t *testing.T) {
	c := dial(t, newServer(t, Config{}))
	if _, err := c.Run(soon(t), sh("true")); err == nil {
		t.Error("a command ran without a user")
	}
}

// A command's client goes in three ways: it closes the channel, the stream, or the stream breaks.
func TestCommandsEndWithTheirClient(t *testing.T) {
	// The grandchild ignores what it is asked, and in the last case is in a process group of its own.
	const stubborn = `trap '' HUP TERM; echo $$; while :; do sleep 0.05; done`
	for name, script := range map[string]string{
		"the leader":                   stubborn,
		"a grandchild":                 `sh -c "$1" & wait`,
		"a grandchild of a job's own":  `set -m; sh -c "$1" & wait`,
		"a grandchild that is stopped": `sh -c "echo \$\$; kill -STOP \$\$" & wait`,
	} {
		for how, leave := range map[string]func(c *guestproto.Client, p *guestproto.Process, conn net.Conn){
			"channel": func(_ *guestproto.Client, p *guestproto.Process, _ net.Conn) { p.Close() },
			"client":  func(c *guestproto.Client, _ *guestproto.Process, _ net.Conn) { c.Close() },
			"stream":  func(_ *guestproto.Client, _ *guestproto.Process, conn net.Conn) { conn.Close() },
		} {
			t.Run(name+" with the "+how, func(t *testing.T) {
				t.Parallel()
				s := newServer(t, testConfig())
				host, guest := socketPair(t)
				c := dialOn(t, s, host, guest)
				p := begin(t, c, guestproto.Command{Argv: []string{"sh", "-c", script, "sh", stubborn}})
				pid := pidIn(t, readUntil(t, p, "\n"))
				if !alive(pid) {
					t.Fatal("the process never ran")
				}
				leave(c, p, host)
				eventually(t, "the process ends", func() bool { return !alive(pid) })
			})
		}
	}
}

func TestBackgroundProcessesOutliveTheirCommand(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	start := time.Now()
	// It holds stdout open, which must neither delay the command's end nor lose what is in the pipe.
	out, _, exit := finish(t, begin(t, c, sh(`trap '' HUP; sleep 60 & echo $!; exit 5`)))
	pid := pidIn(t, out)
	if exit.Code != 5 || time.Since(start) > 10*time.Second {
		t.Errorf("%+v after %v", exit, time.Since(start))
	}
	if !alive(pid) {
		t.Error("the background process was killed")
	}
	if p, err := os.FindProcess(pid); err == nil {
		p.Kill()
	}
}

func TestCloseEndsEverything(t *testing.T) {
	s := newServer(t, testConfig())
	c := dial(t, s)
	const stubborn = `trap '' HUP TERM; echo $$; while :; do sleep 0.05; done`
	plain := begin(t, c, sh(stubborn))
	cmd := sh(stubborn)
	cmd.Session = "kept"
	session := begin(t, c, cmd)
	var pids []int
	for _, p := range []*guestproto.Process{plain, session} {
		pids = append(pids, pidIn(t, readUntil(t, p, "\n")))
	}
	begin(t, c, guestproto.Command{Argv: []string{"yes"}}) // whose client does not read
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
	for _, p := range []*guestproto.Process{plain, session} {
		if exit, err := p.Wait(); err != nil || exit.Signal != "KILL" {
			t.Errorf("the client was told %+v, %v", exit, err)
		}
	}
	if _, err := c.Run(soon(t), sh("true")); err == nil {
		t.Error("a command ran after Close")
	}
}

// tempDir is a directory that another user may enter, with its symbolic links resolved.
func tempDir(t *testing.T) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
