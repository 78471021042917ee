package guest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// openSSH returns a function that makes commands of the real OpenSSH client, which reaches s through a
// ProxyCommand like an editor's.
func openSSH(t *testing.T, s *Server) func(args ...string) *exec.Cmd {
	client, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("the OpenSSH client is not installed")
	}
	socket := filepath.Join(tempDir(t), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.Serve(conn)
		}
	}()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(client, append([]string{"-F", "none", "-q",
			"-o", "ProxyCommand=" + self, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "GUEST_TEST_ROLE=bridge", "GUEST_TEST_SOCKET="+socket, "LC_GUEST=of the client")
		return cmd
	}
}

func TestOpenSSHClient(t *testing.T) {
	client := openSSH(t, newServer(t, testConfig()))
	for name, test := range map[string]struct {
		args  []string
		stdin string
		want  string
		code  int
	}{
		"a command":            {[]string{"sandbox", "echo", "$BASE; exit 3"}, "", "base\n", 3},
		"input and its end":    {[]string{"sandbox", "cat; echo end"}, "typed\n", "typed\nend\n", 0},
		"a login shell":        {[]string{"-T", "sandbox"}, "echo $SHELL $HOME\nexit 4\n", "/bin/sh /\n", 4},
		"environment":          {[]string{"-o", "SendEnv=LC_GUEST", "sandbox", "echo $LC_GUEST"}, "", "of the client\n", 0},
		"a terminal":           {[]string{"-tt", "sandbox", "tty >/dev/null && echo $TERM"}, "", "vt100\r\n", 0},
		"a signal":             {[]string{"sandbox", "kill -TERM $$"}, "", "", 143},
		"a command not found":  {[]string{"sandbox", "/no/such/command"}, "", "", 127},
		"a refused subsystem":  {[]string{"-s", "sandbox", "sftp"}, "", "", 255},
		"a refused forwarding": {[]string{"-W", "localhost:1", "sandbox"}, "", "", 255},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := client(test.args...)
			cmd.Env = append(cmd.Env, "TERM=vt100")
			cmd.Stdin = strings.NewReader(test.stdin)
			out, err := cmd.Output()
			if string(out) != test.want || cmd.ProcessState.ExitCode() != test.code {
				t.Errorf("got %q, %v, want %q, %d", out, err, test.want, test.code)
			}
		})
	}
}

func TestOpenSSHCarriesBytesBothWays(t *testing.T) {
	client := openSSH(t, newServer(t, testConfig()))
	cmd := client("sandbox", "cat")
	sent, got := sha256.New(), sha256.New()
	cmd.Stdin = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{2}), 64<<20), sent)
	cmd.Stdout = got
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if sum(sent) != sum(got) {
		t.Error("the bytes changed on the way")
	}
}

// plainClient is SSH without our requests, and with whatever settings a test needs.
func plainClient(t *testing.T, s *Server, cfg ssh.Config) *ssh.Client {
	host, guest := socketPair(t)
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(guest) }()
	conn, chans, reqs, err := ssh.NewClientConn(host, "", &ssh.ClientConfig{Config: cfg, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	c := ssh.NewClient(conn, chans, reqs)
	t.Cleanup(func() { c.Close(); <-served })
	return c
}

func TestRekeyingDoesNotBreakLongStreams(t *testing.T) {
	c := plainClient(t, newServer(t, testConfig()), ssh.Config{RekeyThreshold: 1 << 20})
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	sent, got := sha256.New(), sha256.New()
	session.Stdin = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{3}), 64<<20), sent)
	session.Stdout = got
	if err := session.Run("cat"); err != nil {
		t.Fatal(err)
	}
	if sum(sent) != sum(got) {
		t.Error("the bytes changed on the way")
	}
}

func TestPlainSSHWindowAndSignals(t *testing.T) {
	c := plainClient(t, newServer(t, testConfig()), ssh.Config{})
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.RequestPty("xterm", 21, 71, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("trap 'stty size; exit 6' WINCH; stty size; while :; do sleep 0.02; done"); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if line, _ := out.ReadString('\n'); line != "21 71\r\n" {
		t.Errorf("got %q", line)
	}
	if err := session.WindowChange(22, 72); err != nil {
		t.Fatal(err)
	}
	if line, _ := out.ReadString('\n'); line != "22 72\r\n" {
		t.Errorf("got %q", line)
	}
	var exit *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 6 {
		t.Errorf("got %v", err)
	}
}

// Whatever the guest is sent, it must neither panic nor stop to serve others.
func FuzzChannels(f *testing.F) {
	f.Add(guestproto.ChannelRun, []byte(`{"argv":["true"]}`), "signal", []byte("\x00\x00\x00\x04TERM"))
	f.Add(guestproto.ChannelAttach, []byte(`{"session":"a"}`), "window-change", []byte("\x00\x00\x00\x04\x00\x00\x00\x04"))
	f.Add("session", []byte{}, "pty-req", []byte{0, 0, 0, 1})
	f.Add("direct-tcpip", []byte{0}, "x", []byte{})
	cfg := testConfig()
	cfg.Env = []string{"PATH="} // so that what the fuzzer makes up is not run
	s := newServer(f, cfg)
	f.Fuzz(func(t *testing.T, channel string, extra []byte, request string, payload []byte) {
		if request == "exec" || request == "shell" || bytes.Contains(extra, []byte("/")) || len(channel)+len(extra)+len(payload) > 1000 {
			return
		}
		c := plainClient(t, s, ssh.Config{})
		ch, reqs, err := c.OpenChannel(channel, extra)
		if err == nil {
			go ssh.DiscardRequests(reqs)
			ch.SendRequest(request, true, payload)
			ch.Close()
		}
		if _, _, err := c.SendRequest(request, true, payload); err != nil {
			t.Errorf("the stream broke: %v", err)
		}
	})
}
