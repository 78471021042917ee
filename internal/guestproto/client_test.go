package guestproto

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func socketPair(t testing.TB) (net.Conn, net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "stream")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return ends[0], ends[1]
}

// hostile is a guest that says whatever a test wants it to.
type hostile struct {
	channel func(nc ssh.NewChannel)
	global  func(req *ssh.Request)
	began   func(conn ssh.Conn)
}

func (h hostile) dial(t *testing.T) *Client {
	t.Helper()
	host, guest := socketPair(t)
	_, key, _ := ed25519.GenerateKey(nil)
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(signer)
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, chans, reqs, err := ssh.NewServerConn(guest, cfg)
		if err != nil {
			return
		}
		if h.began != nil {
			go h.began(conn)
		}
		go func() {
			for req := range reqs {
				if h.global != nil {
					h.global(req)
				}
			}
		}()
		for nc := range chans {
			if h.channel != nil {
				h.channel(nc)
			}
		}
	}()
	c, err := Dial(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-served })
	return c
}

func TestARefusalIsMadeSafeToShow(t *testing.T) {
	message := "\x1b]0;owned\a\r\nbailey: all is well \u202e\x9b" + strings.Repeat("x", 100000)
	for reason, code := range map[ssh.RejectionReason]int{
		ssh.ConnectionFailed: 0, RejectStart + 126: 126, RejectStart + 127: 127, RejectStart: 0, RejectStart + 125: 0, 1<<32 - 1: 0,
	} {
		c := hostile{channel: func(nc ssh.NewChannel) { nc.Reject(reason, message) }}.dial(t)
		_, err := c.Run(t.Context(), Command{Argv: []string{"true"}})
		var e *StartError
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("reason %#x: got %v", uint32(reason), err)
		}
		if strings.ContainsAny(err.Error(), "\x1b\a\r\n\u202e\u009b") || len(err.Error()) > 600 {
			t.Errorf("not safe: %d bytes, %q", len(err.Error()), err)
		}
	}
}

func TestAnExitIsBelievedOnlyAsANumberAndAName(t *testing.T) {
	type signal struct {
		Name       string
		Core       bool
		Text, Lang string
	}
	for name, test := range map[string]struct {
		status, signal []byte
		want           Exit
		lost           bool
	}{
		"a status":           {status: ssh.Marshal(struct{ C uint32 }{7}), want: Exit{Code: 7}},
		"a signal":           {ssh.Marshal(struct{ C uint32 }{137}), ssh.Marshal(signal{Name: "KILL"}), Exit{137, "KILL"}, false},
		"no status":          {lost: true},
		"a short status":     {status: []byte{0, 0, 1}, lost: true},
		"an absurd status":   {status: ssh.Marshal(struct{ C uint32 }{1 << 31}), lost: true},
		"an escape sequence": {ssh.Marshal(struct{ C uint32 }{1}), ssh.Marshal(signal{Name: "\x1b[2J"}), Exit{Code: 1}, false},
		"a long name":        {ssh.Marshal(struct{ C uint32 }{1}), ssh.Marshal(signal{Name: strings.Repeat("A", 17)}), Exit{Code: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := hostile{channel: func(nc ssh.NewChannel) {
				ch, reqs, err := nc.Accept()
				if err != nil {
					return
				}
				go ssh.DiscardRequests(reqs)
				if test.signal != nil {
					ch.SendRequest("exit-signal", false, test.signal)
				}
				if test.status != nil {
					ch.SendRequest("exit-status", false, test.status)
				}
				ch.SendRequest("keepalive@openssh.com", false, nil)
				ch.Close()
			}}.dial(t)
			p, err := c.Run(t.Context(), Command{Argv: []string{"true"}})
			if err != nil {
				t.Fatal(err)
			}
			if exit, err := p.Wait(); exit != test.want || (err != nil) != test.lost {
				t.Errorf("got %+v, %v", exit, err)
			}
			if err := p.Close(); err != nil {
				t.Errorf("Close after the end: %v", err)
			}
			if err := p.Stdin.Close(); err != nil {
				t.Errorf("Stdin.Close after the end: %v", err)
			}
		})
	}
}

func TestTheGuestOpensNothingOnTheHost(t *testing.T) {
	refused := make(chan error, 1)
	c := hostile{began: func(conn ssh.Conn) {
		for range 100 {
			if _, _, err := conn.OpenChannel("direct-tcpip", nil); err == nil {
				refused <- errors.New("a channel was opened")
				return
			}
			if ok, _, err := conn.SendRequest("tcpip-forward", true, nil); ok || err != nil {
				refused <- fmt.Errorf("a request was answered with %v, %v", ok, err)
				return
			}
		}
		refused <- nil
	}}.dial(t)
	if err := <-refused; err != nil {
		t.Error(err)
	}
	c.Close()
}

func TestAGuestThatNeverAnswersIsNotWaitedFor(t *testing.T) {
	host, guest := socketPair(t)
	defer guest.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		io.ReadFull(guest, make([]byte, 1)) // the client has begun
		cancel()
	}()
	if _, err := Dial(ctx, host); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v", err)
	}

	asked := make(chan struct{}, 3)
	c := hostile{
		channel: func(ssh.NewChannel) { asked <- struct{}{} },
		global:  func(*ssh.Request) { asked <- struct{}{} },
	}.dial(t)
	for name, call := range map[string]func(ctx context.Context) error{
		"Run":      func(ctx context.Context) error { _, err := c.Run(ctx, Command{Argv: []string{"true"}}); return err },
		"Attach":   func(ctx context.Context) error { _, err := c.Attach(ctx, Attach{Session: "a"}); return err },
		"Sessions": func(ctx context.Context) error { _, err := c.Sessions(ctx); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnUnboundedListIsRefused(t *testing.T) {
	for payload, good := range map[string]bool{
		`[{"name":"a"}]`:                            true,
		"[" + strings.Repeat(`{},`, 64) + "{}]":     false,
		`{"name":"a"}`:                              false,
		"\x1b[2J":                                   false,
		strings.Repeat("[", 20000):                  false,
		`[{"name":"a","pid":"a"}]`:                  false,
		"[" + strings.Repeat("null,", 63) + "null]": true,
	} {
		c := hostile{global: func(req *ssh.Request) { req.Reply(true, []byte(payload)) }}.dial(t)
		if _, err := c.Sessions(t.Context()); (err == nil) != good {
			t.Errorf("%.40q: got %v", payload, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"name":"a","argv":["sh"],"exit":{"code":1,"signal":"HUP"}}]`))
	f.Add(ssh.Marshal(struct{ Code uint32 }{255}))
	f.Add([]byte("\x00\x00\x00\x04KILL\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x1b]52;c;\"\\\xff\u202e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := decodeSessions(b); err == nil && len(list) > maxSessions {
			t.Errorf("%d sessions", len(list))
		}
		if code, ok := decodeExitStatus(b); ok && (code < 0 || code > 255) {
			t.Errorf("code %d", code)
		}
		if name := decodeExitSignal(b); strings.ContainsFunc(name, func(r rune) bool { return r < '0' || r > 'Z' }) {
			t.Errorf("signal %q", name)
		}
		p := printable(string(b), 100)
		if len(p) > 100 || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e }) {
			t.Errorf("printable %q", p)
		}
	})
}
