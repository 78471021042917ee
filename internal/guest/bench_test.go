package guest

import (
	"context"
	"io"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// A whole cold exec: a new stream, the handshake, one command and its exit status.
func BenchmarkHandshakeAndRun(b *testing.B) {
	s := newServer(b, testConfig())
	for b.Loop() {
		c, done := benchDial(b, s)
		benchRun(b, c)
		c.Close()
		<-done
	}
}

func BenchmarkHandshake(b *testing.B) {
	s := newServer(b, testConfig())
	for b.Loop() {
		c, done := benchDial(b, s)
		c.Close()
		<-done
	}
}

func BenchmarkRun(b *testing.B) {
	c := dial(b, newServer(b, testConfig()))
	for b.Loop() {
		benchRun(b, c)
	}
}

func BenchmarkOutput(b *testing.B) {
	c := dial(b, newServer(b, testConfig()))
	const size = 64 << 20
	b.SetBytes(size)
	p := begin(b, c, sh("cat /dev/zero"))
	for b.Loop() {
		if _, err := io.CopyN(io.Discard, p.Stdout, size); err != nil {
			b.Fatal(err)
		}
	}
	p.Close()
}

func benchDial(b *testing.B, s *Server) (*guestproto.Client, chan struct{}) {
	host, guest := socketPair(b)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(guest) }()
	c, err := guestproto.Dial(context.Background(), host)
	if err != nil {
		b.Fatal(err)
	}
	return c, done
}

func benchRun(b *testing.B, c *guestproto.Client) {
	p, err := c.Run(context.Background(), guestproto.Command{Argv: []string{"true"}})
	if err != nil {
		b.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		b.Fatal(exit, err)
	}
}
