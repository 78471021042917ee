package guest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

func named(name, script string) guestproto.Command {
	cmd := sh(script)
	cmd.Session, cmd.Stdin = name, true
	return cmd
}

func TestSessionsOutliveTheirClientsAndAreReplayed(t *testing.T) {
	s := newServer(t, testConfig())
	c := dial(t, s)
	p := begin(t, c, named("a", `echo first; echo second >&2; while read line; do echo "got $line"; done; echo over; exit 3`))
	readUntil(t, p, "first\n")
	p.Close()
	c.Close() // with its whole stream

	c = dial(t, s)
	p = join(t, c, guestproto.Attach{Session: "a", Stdin: true})
	io.WriteString(p.Stdin, "one\n")
	if got := readUntil(t, p, "got one\n"); got != "first\ngot one\n" {
		t.Errorf("got %q", got)
	}
	p.Close() // no end of input for the session

	p = join(t, c, guestproto.Attach{Session: "a", Stdin: true})
	readUntil(t, p, "got one\n")
	io.WriteString(p.Stdin, "two\n")
	p.Stdin.Close() // but this is
	out, errOut, exit := finish(t, p)
	if out != "got two\nover\n" || errOut != "second\n" || exit.Code != 3 {
		t.Errorf("got %q, %q, %+v", out, errOut, exit)
	}
}

func TestInputTypedJustBeforeLeavingArrives(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, named("a", `read line; echo "got $line"`))
	io.WriteString(p.Stdin, "last words\n")
	p.Close()
	out, _, _ := finish(t, join(t, c, guestproto.Attach{Session: "a"}))
	if out != "got last words\n" {
		t.Errorf("got %q", out)
	}
}

func TestClientsJoinWithoutLossOrRepetition(t *testing.T) {
	const lines = 20000 // 108 kB, all of which is kept
	c := dial(t, newServer(t, testConfig()))
	var want bytes.Buffer
	for i := range lines {
		fmt.Fprintln(&want, i+1)
	}
	cmd := named("a", fmt.Sprintf("read go; seq %d", lines))
	clients := []*guestproto.Process{begin(t, c, cmd)}
	results := make(chan string)
	for range 5 {
		clients = append(clients, join(t, c, guestproto.Attach{Session: "a"}))
	}
	io.WriteString(clients[0].Stdin, "go\n")
	for range 5 { // while the output runs
		clients = append(clients, join(t, c, guestproto.Attach{Session: "a"}))
	}
	for _, p := range clients {
		go func() {
			out, _ := io.ReadAll(p.Stdout)
			results <- string(out)
		}()
	}
	for range clients {
		if got := <-results; got != want.String() {
			t.Errorf("got %d bytes, want %d", len(got), want.Len())
		}
	}
}

func TestReplayIsTheLastOutput(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, named("a", "seq 1000000; exit 2")) // 6.9 MB
	whole, _, _ := finish(t, p)
	out, _, exit := finish(t, join(t, c, guestproto.Attach{Session: "a"}))
	if exit.Code != 2 || len(out) < ringMax*9/10 || len(out) > ringMax || !strings.HasSuffix(whole, out) {
		t.Errorf("exit %+v, %d of %d bytes", exit, len(out), len(whole))
	}
}

func TestDetachedSessionsStart(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	cmd := named("a", "read line; echo $line; exit 8")
	cmd.Detach = true
	if out, _, exit := finish(t, begin(t, c, cmd)); out != "" || exit != (guestproto.Exit{}) {
		t.Errorf("got %q, %+v", out, exit)
	}
	p := join(t, c, guestproto.Attach{Session: "a", Stdin: true})
	io.WriteString(p.Stdin, "hello\n")
	if out, _, exit := finish(t, p); out != "hello\n" || exit.Code != 8 {
		t.Errorf("got %q, %+v", out, exit)
	}
}

func TestSessionsAreListedKilledAndForgotten(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, named("web-1.a", "sleep 60 & sleep 60"))
	var got guestproto.Session
	eventually(t, "the session is listed with its client", func() bool {
		list, err := c.Sessions(soon(t))
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		got = list[0]
		return got.Clients == 1
	})
	if got.Name != "web-1.a" || !got.Running || got.PID == 0 || got.Argv[0] != "sh" || got.TTY {
		t.Errorf("got %+v", got)
	}
	if _, err := c.Run(soon(t), named("web-1.a", "true")); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("a second session of that name: %v", err)
	}
	if err := c.Kill(soon(t), guestproto.Kill{Session: "web-1.a", Signal: "KILL"}); err != nil {
		t.Error(err)
	}
	if _, _, exit := finish(t, p); exit.Signal != "KILL" {
		t.Errorf("got %+v", exit)
	}
	for _, k := range []guestproto.Kill{{Session: "web-1.a", Signal: "KILL"}, {Session: "none", Signal: "KILL"}, {Session: "web-1.a", Signal: "NONE"}, {}} {
		if err := c.Kill(soon(t), k); err == nil {
			t.Errorf("%+v: no error", k)
		}
	}
	if _, err := c.Attach(soon(t), guestproto.Attach{Session: "none"}); err == nil {
		t.Error("attached to nothing")
	}
	// An ended name is free at once, and only the last are kept.
	for i := range keptEnded + 3 {
		for range 2 {
			finish(t, begin(t, c, named(fmt.Sprintf("s%d", i), "exit 1")))
		}
	}
	list, err := c.Sessions(soon(t))
	if err != nil || len(list) != keptEnded {
		t.Errorf("%d sessions, %v", len(list), err)
	}
	for _, l := range list {
		if l.Running || l.Exit.Code != 1 || l.Name == "s0" {
			t.Errorf("got %+v", l)
		}
	}
	for _, bad := range []string{"-a", "a b", "a/b", "\x1b", strings.Repeat("a", 65)} {
		if _, err := c.Run(soon(t), named(bad, "true")); err == nil {
			t.Errorf("session %q started", bad)
		}
	}
}

func TestTheListOfManySessionsFits(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	long := strings.Repeat("\x01", 2000)
	for i := range maxSessions {
		cmd := guestproto.Command{Argv: []string{"sh", "-c", "sleep 60", long, long, long, long, long, long, long, long}}
		cmd.Session, cmd.Detach = fmt.Sprintf("%d-%s", i, strings.Repeat("n", 60)), true
		finish(t, begin(t, c, cmd))
	}
	if _, err := c.Run(soon(t), named("more", "true")); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("got %v", err)
	}
	if list, err := c.Sessions(soon(t)); err != nil || len(list) != maxSessions {
		t.Errorf("%d sessions, %v", len(list), err)
	}
}

// A watcher that takes nothing holds the command up for the stall time and is then cut off; a client that
// reads misses nothing.
func TestStuckClientsAreCutOff(t *testing.T) {
	s := newServer(t, testConfig())
	s.stall = 300 * time.Millisecond
	const lines = 1000000 // 6.9 MB, far more than the ring and a window hold
	reader := begin(t, dial(t, s), named("a", fmt.Sprintf("read go; seq %d", lines)))
	stuck := join(t, dial(t, s), guestproto.Attach{Session: "a"})
	io.WriteString(reader.Stdin, "go\n")
	out, _, exit := finish(t, reader)
	if exit.Code != 0 || strings.Count(out, "\n") != lines || !strings.HasSuffix(out, fmt.Sprintf("\n%d\n", lines)) {
		t.Errorf("%+v, %d bytes", exit, len(out))
	}
	if _, err := stuck.Wait(); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("the stuck client was told %v", err)
	}
}

func TestSlowClientsMissNothing(t *testing.T) {
	const lines = 1000000
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, named("a", fmt.Sprintf("seq %d", lines)))
	buf, total := make([]byte, 64<<10), 0
	for {
		n, err := p.Stdout.Read(buf)
		total += n
		if err != nil {
			break
		}
		<-time.After(time.Millisecond)
	}
	if _, err := p.Wait(); err != nil || total != 6888896 {
		t.Errorf("%d bytes, %v", total, err)
	}
}

func TestClientsThatLeaveDoNotHoldTheCommand(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	cmd := named("a", "read go; seq 1000000; exit 7")
	p := begin(t, c, cmd)
	io.WriteString(p.Stdin, "go\n")
	readUntil(t, p, "1\n")
	p.Close() // in the middle of the flood, unread
	start := time.Now()
	_, _, exit := finish(t, join(t, c, guestproto.Attach{Session: "a"}))
	if exit.Code != 7 || time.Since(start) > stall {
		t.Errorf("%+v after %v", exit, time.Since(start))
	}
}
