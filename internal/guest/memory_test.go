package guest

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// heap is the memory in use by this whole process, in which both ends of every stream live.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// stable returns the largest memory in use until it stops changing.
func stable() (peak int64) {
	for last, same := int64(0), 0; same < 10; {
		<-time.After(5 * time.Millisecond)
		now := heap()
		if peak = max(peak, now); max(now-last, last-now) < 64<<10 {
			same++
		} else {
			same = 0
		}
		last = now
	}
	return peak
}

// Floods are read for a while, then not at all until back-pressure has stopped the command, and then on.
// What both ends together hold meanwhile is a window, a ring and some buffers.
func TestFloodsDoNotGrowMemory(t *testing.T) {
	for name, test := range map[string]struct {
		cmd  guestproto.Command
		read int64
	}{
		"a command":              {sh("yes"), 64 << 20},
		"a command on stderr":    {sh("yes >&2"), 64 << 20},
		"a session":              {named("flood", "yes"), 64 << 20},
		"a terminal":             {terminal("yes", 24, 80), 4 << 20}, // the kernel's terminals are slow
		"one line without end":   {sh("cat /dev/zero"), 64 << 20},
		"one byte in each write": {sh("while :; do printf x; done"), 1 << 16},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, newServer(t, testConfig()))
			before := heap()
			p := begin(t, c, test.cmd)
			var from io.Reader = p.Stdout
			if name == "a command on stderr" {
				from = p.Stderr
			}
			if _, err := io.CopyN(io.Discard, from, test.read); err != nil {
				t.Fatal(err)
			}
			used := stable() - before
			t.Logf("%.1f MiB at most", float64(used)/(1<<20))
			limit := int64(16 << 20)
			if name == "one byte in each write" {
				limit = 160 << 20 // see below
			}
			if used > limit {
				t.Errorf("%d MiB are in use", used>>20)
			}
			if _, err := io.CopyN(io.Discard, from, test.read/2); err != nil {
				t.Fatal("the flood did not go on:", err)
			}
			// A session ends with the server.
		})
	}
}

// One byte in each packet is the worst that a window can hold: every packet is kept apart until it is
// read. It is a bound on what a hostile guest can make the host keep for one reader that is stuck.
func TestOneByteWritesFillNoMoreThanTheirWindow(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	before := heap()
	p := begin(t, c, sh(`i=0; while [ $i -lt 1000000 ]; do printf x; i=$((i+1)); done`))
	if _, err := p.Wait(); err != nil { // all of it is in the window then
		t.Fatal(err)
	}
	used := heap() - before
	t.Logf("%.1f MiB for 1,000,000 writes", float64(used)/(1<<20))
	if used > 80<<20 {
		t.Errorf("%d MiB are in use", used>>20)
	}
	if out, _, _ := finish(t, p); len(out) != 1000000 {
		t.Errorf("%d bytes came", len(out))
	}
}

// Clients that come and go leave neither files nor memory behind.
func TestManyClientsComeAndGo(t *testing.T) {
	if !onLinux() {
		t.Skip("needs /proc")
	}
	s := newServer(t, testConfig())
	p := begin(t, dial(t, s), named("a", "yes"))
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	go io.Copy(io.Discard, p.Stdout)
	var before int64
	var open int
	for i := range 200 {
		if i == 50 {
			before, open = heap(), files()
		}
		host, guest := socketPair(t)
		served := make(chan struct{})
		go func() { defer close(served); s.Serve(guest) }()
		c, err := guestproto.Dial(soon(t), host)
		if err != nil {
			t.Fatal(err)
		}
		q, err := c.Attach(soon(t), guestproto.Attach{Session: "a", Stdin: true})
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(io.Discard, q.Stdout, 100)
		io.Copy(q.Stdin, bytes.NewReader(make([]byte, 1000))) // the command never reads it
		host.Close()                                          // without a word
		<-served
	}
	// What a client typed last is offered to the command for a second more.
	eventually(t, "the memory is given back", func() bool { return heap()-before < 4<<20 })
	eventually(t, "the files are closed", func() bool { return files() <= open })
}
