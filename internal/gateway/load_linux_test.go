package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/egress"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// far is where the tests' programs connect; world is what answers there.
const far = "203.0.113.7:4242"

// discarded is a record for tests about something else.
type discarded struct{}

func (discarded) Record(audit.Event) error { return nil }

// newRoad has an egress serve src until the test ends. Every connection that it dials goes to a listener that
// serves them with world; wrap is what the egress sees of them, nil for all.
func newRoad(t *testing.T, src gateway.Source, world func(*net.TCPConn), wrap func(net.Conn) net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				world(c.(*net.TCPConn))
			})
		}
	})
	rule, err := policy.ParseRule("tcp:"+far, "test")
	if err != nil {
		t.Fatal(err)
	}
	rules := &policy.Policy{Rules: []policy.Rule{rule}}
	server := &egress.Server{
		Policy:   func() *policy.Policy { return rules },
		Audit:    discarded{},
		MaxFlows: 20000,
		Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
			if err == nil && wrap != nil {
				c = wrap(c)
			}
			return c, err
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, src) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		ln.Close()
		serving.Wait()
	})
}

func dialFar(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", far)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

func descriptors(t *testing.T) int {
	t.Helper()
	runtime.GC() // the pipes of splice(2) wait for it
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestTenThousandConnections are open at the same time, and each gets its own bytes back. Where not so many files may
// be open, as many as may.
func TestTenThousandConnections(t *testing.T) {
	wanted := 10000
	if testing.Short() {
		wanted = 500
	}
	const each = 9 // two connections with two ends, a pipe for each way through, and some to spare
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	connections := min(wanted, int(limit.Cur/each))
	newRoad(t, newGateway(t, gateway.Without{}), func(c *net.TCPConn) {
		_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // which needs no pipe
		_ = c.CloseWrite()
	}, nil)
	if err := talk(0, func() {}); err != nil {
		t.Fatal(err)
	}
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	errs := make([]error, connections)
	var open, all sync.WaitGroup
	open.Add(connections)
	for i := range errs {
		all.Go(func() { errs[i] = talk(i, func() { open.Done(); open.Wait() }) })
	}
	all.Wait()
	failed := 0
	for i, err := range errs {
		if err != nil {
			if failed++; failed < 10 {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d failed", failed, connections)
	}
	// What ends, ends in a moment; what does not, hangs here.
	for runtime.NumGoroutine() > goroutines || descriptors(t) > files {
		runtime.Gosched()
	}
	if connections < wanted && failed == 0 {
		t.Skipf("%d connections at once pass; %d need %d open files, and %d are the limit", connections, wanted, wanted*each, limit.Cur)
	}
}

// talk has bytes of its own come back before and after everybody is connected.
func talk(i int, everybody func()) error {
	once := sync.OnceFunc(everybody)
	defer once()
	c, err := net.Dial("tcp", far)
	if err != nil {
		return err
	}
	defer c.Close()
	sent := make([]byte, 512)
	random := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
	for range 2 {
		_, _ = random.Read(sent)
		got := make([]byte, len(sent))
		if _, err := c.Write(sent); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if !bytes.Equal(got, sent) {
			return errors.New("other bytes came back")
		}
		once()
	}
	_ = c.(*net.TCPConn).CloseWrite()
	rest, err := io.ReadAll(c)
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes came that nobody sent", len(rest))
	}
	return err
}

// TestEveryPacketSizeCarries 64 MiB both ways.
func TestEveryPacketSizeCarries(t *testing.T) {
	size := int64(64 << 20)
	if testing.Short() {
		size = 1 << 20
	}
	for _, mtu := range []int{576, 1280, 1500, 9000, 65520} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			files, err := gateway.Build(gateway.Without{})
			if err != nil {
				t.Fatal(err)
			}
			setMTU(t, files[0], mtu)
			newRoad(t, openGateway(t, files), echo, nil)
			c := dialFar(t)
			sent := sha256.New()
			go func() {
				random := io.LimitReader(rand.NewChaCha8([32]byte{byte(mtu)}), size)
				_, _ = io.Copy(io.MultiWriter(c, sent), random)
				_ = c.CloseWrite()
			}()
			got := sha256.New()
			n, err := io.Copy(got, c) // ends after sent has, because the end comes back
			if err != nil || n != size || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
				t.Errorf("%d of %d bytes came back, %v", n, size, err)
			}
		})
	}
}

// setMTU sets it at both ends of the link. inGateway is a socket of the gateway's.
func setMTU(t *testing.T, inGateway *os.File, mtu int) {
	t.Helper()
	fd, err := unix.IoctlRetInt(int(inGateway.Fd()), unix.SIOCGSKNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	outside, err := netlink.NewHandleAt(netns.NsHandle(fd), nl.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	inside, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	for name, h := range map[string]*netlink.Handle{"sandbox": outside, "eth0": inside} {
		link, err := h.LinkByName(name)
		if err == nil {
			err = h.LinkSetMTU(link, mtu)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// TestHalfCloseThenALot: an upload ends, and what comes back takes longer.
func TestHalfCloseThenALot(t *testing.T) {
	size := int64(256 << 20)
	if testing.Short() {
		size = 1 << 20
	}
	newRoad(t, newGateway(t, gateway.Without{}), func(c *net.TCPConn) {
		question, err := io.ReadAll(c)
		if err != nil || string(question) != "question" {
			t.Errorf("outside came %q, %v", question, err)
		}
		_, _ = io.CopyN(c, rand.NewChaCha8([32]byte{7}), size)
	}, nil)
	c := dialFar(t)
	_, _ = c.Write([]byte("question"))
	_ = c.CloseWrite()
	got, want := sha256.New(), sha256.New()
	_, _ = io.CopyN(want, rand.NewChaCha8([32]byte{7}), size)
	if n, err := io.Copy(got, c); err != nil || n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("%d of %d bytes came, %v", n, size, err)
	}
}

func TestResetsPassThroughEverything(t *testing.T) {
	ended := make(chan error, 1)
	newRoad(t, newGateway(t, gateway.Without{}), func(c *net.TCPConn) {
		first := make([]byte, 1)
		_, _ = io.ReadFull(c, first)
		if first[0] == 'r' {
			_ = c.SetLinger(0)
			return
		}
		_, _ = c.Write(first)
		_, err := c.Read(first)
		ended <- err
	}, nil)
	c := dialFar(t)
	_, _ = c.Write([]byte("r"))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("inside: read %d bytes, %v, want a reset", n, err)
	}
	c = dialFar(t)
	_, _ = c.Write([]byte("x"))
	_, _ = io.ReadFull(c, make([]byte, 1))
	_ = c.SetLinger(0)
	_ = c.Close()
	if err := <-ended; !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("outside: reading ends with %v, want a reset", err)
	}
}

// TestBytesAreSpliced compares what this process reads and writes: both ends are in it, and what is between them
// must be the kernel's work. The control hides from the copying that a connection is one.
func TestBytesAreSpliced(t *testing.T) {
	const size = 64 << 20
	measure := func(t *testing.T, wrap func(net.Conn) net.Conn) (read int64) {
		newRoad(t, newGateway(t, gateway.Without{}), echo, wrap)
		c := dialFar(t)
		before := readSoFar(t)
		go func() {
			chunk := make([]byte, 1<<18)
			for range size / len(chunk) {
				_, _ = c.Write(chunk)
			}
			_ = c.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, struct{ io.Reader }{c}); err != nil || n != size {
			t.Fatalf("%d bytes came back, %v", n, err)
		}
		return readSoFar(t) - before
	}
	var spliced, copied int64
	t.Run("spliced", func(t *testing.T) { spliced = measure(t, nil) })
	t.Run("control", func(t *testing.T) {
		copied = measure(t, func(c net.Conn) net.Conn { return &hidden{c} })
	})
	// The program inside reads it once; the world echoes by splice.
	if spliced > size*5/4 || copied < size*2 {
		t.Errorf("%d bytes were read for %d, control: %d", spliced, size, copied)
	}
}

// hidden is a connection that keeps half-closes, and nothing else of what it is.
type hidden struct{ net.Conn }

func (h *hidden) CloseWrite() error { return h.Conn.(*net.TCPConn).CloseWrite() }

// readSoFar is how many bytes this process has read by system calls.
func readSoFar(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("the kernel does not count: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "rchar: %d", &n); err == nil {
			return n
		}
	}
	t.Fatalf("/proc/self/io has no count: %s", text)
	return 0
}
