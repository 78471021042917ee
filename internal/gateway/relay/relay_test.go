package relay

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
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bailey-sandbox/bailey/internal/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside is a Source on loopback: whoever dials it is a program of the sandbox.
type inside struct {
	flows   net.Listener
	packets net.PacketConn
	streams net.Listener
}

func newInside(t testing.TB) *inside {
	flows, err1 := net.Listen("tcp", "127.0.0.1:0")
	packets, err2 := net.ListenPacket("udp", "127.0.0.1:0")
	streams, err3 := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return &inside{flows, packets, streams}
}

func (s *inside) Accept() (gateway.Flow, error) {
	c, err := s.flows.Accept()
	return gateway.Flow{Conn: c, Dst: netip.MustParseAddrPort("203.0.113.7:443")}, err
}

func (s *inside) DNS() (net.PacketConn, net.Listener) { return s.packets, s.streams }
func (s *inside) Close() error                        { return s.flows.Close() }

// dial connects as a program inside does.
func (s *inside) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.flows.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// pair is a stream's two ends.
type pair func(t *testing.T) (near, far net.Conn)

func pairs() map[string]pair {
	return map[string]pair{
		"pipe": func(*testing.T) (net.Conn, net.Conn) { return net.Pipe() },
		"socket pair": func(t *testing.T) (net.Conn, net.Conn) {
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
		},
	}
}

// overEach runs test with a Source inside and the same one at the other end of each kind of stream. kill ends the
// stream as the helper's death does.
func overEach(t *testing.T, test func(t *testing.T, in *inside, src gateway.Source, kill func())) {
	for name, p := range pairs() {
		t.Run(name, func(t *testing.T) {
			near, far := p(t)
			in := newInside(t)
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(context.Background())
			go func() { ended <- Serve(ctx, near, in) }()
			src, err := Open(far)
			if err != nil {
				t.Fatal(err)
			}
			test(t, in, src, func() { near.Close() })
			src.Close()
			if err := <-ended; err != nil {
				t.Errorf("Serve: %v", err)
			}
			cancel()
		})
	}
}

// TestAThousandFlowsAtOnce has each send and receive random bytes, while one that nobody reads is stalled.
func TestAThousandFlowsAtOnce(t *testing.T) {
	overEach(t, func(t *testing.T, in *inside, src gateway.Source, _ func()) {
		stalled := in.dial(t)
		held, err := src.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer held.Reset()
		filled := make(chan error, 1)
		go func() { // far more than all the buffers on the way
			_, err := stalled.Write(make([]byte, 64<<20))
			filled <- err
		}()
		const flows = 1000
		var world, programs sync.WaitGroup
		world.Go(func() {
			for range flows {
				f, err := src.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				world.Go(func() { // sends back what came, and its hash
					got, err := io.ReadAll(f)
					if err != nil {
						t.Error(err)
					}
					sum := sha256.Sum256(got)
					_, _ = f.Write(append(got, sum[:]...))
					_ = f.CloseWrite()
					_ = f.Close()
				})
			}
		})
		for i := range flows {
			programs.Go(func() {
				c, err := net.Dial("tcp", in.flows.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				sent := make([]byte, rand.IntN(1<<17))
				_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(sent)
				_, _ = c.Write(sent)
				_ = c.(*net.TCPConn).CloseWrite()
				got, err := io.ReadAll(c)
				sum := sha256.Sum256(sent)
				if err != nil || !bytes.Equal(got, append(sent, sum[:]...)) {
					t.Errorf("flow %d of %d bytes: %d came back, %v", i, len(sent), len(got), err)
				}
			})
		}
		programs.Wait()
		world.Wait()
		select {
		case err := <-filled:
			t.Errorf("control: the stalled flow was not: %v", err)
		default:
		}
		_ = held.Reset()
		if err := <-filled; err == nil {
			t.Error("the stalled flow's bytes were taken")
		}
	})
}

// TestTheWorldEndsItsSideFirst: a half-close the other way leaves this one open.
func TestTheWorldEndsItsSideFirst(t *testing.T) {
	overEach(t, func(t *testing.T, in *inside, src gateway.Source, _ func()) {
		c := in.dial(t)
		f, err := src.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, _ = f.Write([]byte("bye"))
		_ = f.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
			t.Errorf("inside came %q, %v", got, err)
		}
		_, _ = c.Write([]byte("still here"))
		_ = c.CloseWrite()
		if got, err := io.ReadAll(f); err != nil || string(got) != "still here" {
			t.Errorf("outside came %q, %v", got, err)
		}
	})
}

// TestWhatWasWrittenBeforeCloseArrives though the other side has not ended its own; what it sends then is refused.
func TestWhatWasWrittenBeforeCloseArrives(t *testing.T) {
	overEach(t, func(t *testing.T, in *inside, src gateway.Source, _ func()) {
		c := in.dial(t)
		f, err := src.Accept()
		if err != nil {
			t.Fatal(err)
		}
		answer := bytes.Repeat([]byte("answer"), 20000)
		go func() {
			_, _ = f.Write(answer)
			_ = f.Close()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, answer) {
			t.Errorf("inside came %d bytes, %v", len(got), err)
		}
		for err == nil { // as with TCP, the reset comes some time after the first byte
			_, err = c.Write([]byte("more"))
		}
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing ends with %v", err)
		}
	})
}

func TestResetsPassBothWays(t *testing.T) {
	overEach(t, func(t *testing.T, in *inside, src gateway.Source, _ func()) {
		for _, fromInside := range []bool{true, false} {
			c := in.dial(t)
			f, err := src.Accept()
			if err != nil {
				t.Fatal(err)
			}
			var other net.Conn = c
			if fromInside {
				_ = c.SetLinger(0)
				_ = c.Close()
				other = f
			} else {
				_ = f.Reset()
			}
			if n, err := other.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("from inside %v: read %d bytes, %v, want a reset", fromInside, n, err)
			}
			_ = f.Close()
		}
	})
}

func TestDeadlinesAreTheOnesOfConnections(t *testing.T) {
	overEach(t, func(t *testing.T, in *inside, src gateway.Source, _ func()) {
		c := in.dial(t)
		f, err := src.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Reset()
		_ = f.SetReadDeadline(time.Now())
		if _, err := f.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading ends with %v", err)
		}
		_ = f.SetReadDeadline(time.Time{})
		_, _ = c.Write([]byte("x"))
		if _, err := io.ReadFull(f, make([]byte, 1)); err != nil {
			t.Errorf("after a deadline: %v", err)
		}
		if f.Dst != netip.MustParseAddrPort("203.0.113.7:443") || f.RemoteAddr().String() != c.LocalAddr().String() {
			t.Errorf("from %v to %v", f.RemoteAddr(), f.Dst)
		}
	})
}

func TestTheHelperDies(t *testing.T) {
	overEach(t, func(t *testing.T, in *inside, src gateway.Source, kill func()) {
		c := in.dial(t)
		f, err := src.Accept()
		if err != nil {
			t.Fatal(err)
		}
		packets, streams := src.DNS()
		kill()
		if n, err := f.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("outside: read %d bytes, %v, want a reset", n, err)
		}
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("inside: read %d bytes, %v, want a reset", n, err)
		}
		if _, err := src.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("flows end with %v", err)
		}
		if _, err := streams.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("DNS connections end with %v", err)
		}
		if _, _, err := packets.ReadFrom(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("questions end with %v", err)
		}
		_ = f.Close()
	})
}

func TestFlowsAreBounded(t *testing.T) {
	near, far := net.Pipe()
	in := newInside(t)
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), near, in) }()
	src, err := Open(far)
	if err != nil {
		t.Fatal(err)
	}
	var held []gateway.Flow
	for range maxFlows - 1 { // the datagrams have a stream as well
		in.dial(t)
		f, err := src.Accept()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
	}
	beyond, err := net.Dial("tcp", in.flows.Addr().String())
	if err == nil { // else the reset was there before the dial had returned
		_, err = beyond.Read(make([]byte, 1))
		beyond.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("beyond the bound: %v, want a reset", err)
	}
	for _, f := range held {
		_ = f.Reset()
	}
	src.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestGarbage is what a helper says that somebody inside has taken over.
func TestGarbage(t *testing.T) {
	yamuxHead := func(flags byte, id byte, length byte) []byte {
		return []byte{0, 0, 0, flags, 0, 0, 0, id, 0, 0, 0, length}
	}
	unknown := append(yamuxHead(1, 1, headerSize), make([]byte, headerSize)...)
	long := append(append(yamuxHead(1, 1, headerSize+frameSize), header{kind: kindDatagrams}.encode()...), 0, 0, 0, 0, 0xff, 0xff)
	for name, text := range map[string][]byte{
		"nothing": nil, "HTTP": []byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), "zeros": make([]byte, 1<<16),
		"a stream of no kind": unknown, "a datagram that is too long": long,
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			src, err := Open(far)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, near) }()
			_, _ = near.Write(text)
			near.Close()
			if _, err := src.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("accepting ends with %v", err)
			}
			packets, _ := src.DNS()
			if _, _, err := packets.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading ends with %v", err)
			}
			src.Close()
		})
	}
}

func TestAskersAreForgotten(t *testing.T) {
	var a askers
	addr := func(i int) net.Addr { return &net.UDPAddr{Port: i} }
	first := a.add(addr(0))
	if a.of(first+1) != nil {
		t.Error("a number that was not given is known")
	}
	for i := range maxAskers {
		a.add(addr(i + 1))
	}
	if got := a.of(first); got != nil {
		t.Errorf("the oldest is still known as %v", got)
	}
	if got := a.of(first + 1); fmt.Sprint(got) != fmt.Sprint(addr(1)) {
		t.Errorf("the second is %v", got)
	}
	if got := a.of(first + 1); got != nil {
		t.Errorf("a second answer goes to %v", got)
	}
}

// BenchmarkBulk sends through a relay over a socket pair.
func BenchmarkBulk(b *testing.B) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	in := newInside(b)
	go func() { _ = Serve(b.Context(), os.NewFile(uintptr(fds[0]), "near"), in) }()
	src, err := Open(os.NewFile(uintptr(fds[1]), "far"))
	if err != nil {
		b.Fatal(err)
	}
	c, err := net.Dial("tcp", in.flows.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	f, err := src.Accept()
	if err != nil {
		b.Fatal(err)
	}
	const size = 64 << 20
	b.SetBytes(size)
	chunk := make([]byte, 1<<18)
	for b.Loop() {
		go func() {
			for range size / len(chunk) {
				_, _ = c.Write(chunk)
			}
		}()
		if _, err := io.CopyN(io.Discard, f, size); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	f.Close()
	src.Close()
}

func FuzzParseHeader(f *testing.F) {
	h := header{kindFlow, netip.MustParseAddrPort("198.18.0.2:40000"), netip.MustParseAddrPort("203.0.113.7:443")}
	f.Add(h.encode())
	f.Add(header{kind: kindDatagrams}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		h, err := parseHeader([headerSize]byte(b))
		if err != nil {
			return
		}
		again, err := parseHeader([headerSize]byte(h.encode()))
		if err != nil || again != h {
			t.Errorf("%v is read again as %v, %v", h, again, err)
		}
	})
}

func FuzzReadDatagram(f *testing.F) {
	f.Add(datagram{7, []byte("question")}.encode())
	f.Add(datagram{}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newDatagramReader(bytes.NewReader(b))
		var read []byte
		for {
			d, err := readDatagram(r)
			if err != nil {
				break
			}
			read = append(read, d.encode()...)
		}
		if !bytes.HasPrefix(b, read) {
			t.Errorf("%x is read as %x", b, read)
		}
	})
}
