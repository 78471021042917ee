// Package relay carries a gateway.Source over one byte stream: a helper inside a network namespace that somebody else
// made serves a Source there, and the supervisor has it at the other end. Nothing that the helper says is believed
// beyond what any sandbox may say: where it wants to go.
//
// The streams within the stream are yamux's, which has a window and both ends for each, and resets: a flow that
// nobody reads holds up no other. Each begins with a header. There is one for DNS datagrams.
package relay

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-yamux/v5"
)

const (
	// maxFlows is how many flows one stream carries at once; those beyond are reset. Each may fill its window.
	maxFlows = 1024
	// window is how many bytes of a flow may be on their way. It is yamux's smallest.
	window = 256 << 10
	// headerTimeout is how long the header of a flow may take.
	headerTimeout = 10 * time.Second
	// linger is how long what was written last may wait to be read, after a flow was closed.
	linger = 30 * time.Second
)

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = maxFlows
	c.MaxIncomingStreams = maxFlows
	c.InitialStreamWindowSize, c.MaxStreamWindowSize = window, window
	c.EnableKeepAlive = false // a helper that is paused answers nothing, and goes on later
	c.LogOutput = io.Discard
	return c
}

// wire is the stream as yamux wants it. It has no deadlines; whoever does not want to wait closes it.
type wire struct{ io.ReadWriteCloser }

func (wire) LocalAddr() net.Addr              { return nil }
func (wire) RemoteAddr() net.Addr             { return nil }
func (wire) SetDeadline(time.Time) error      { return nil }
func (wire) SetReadDeadline(time.Time) error  { return nil }
func (wire) SetWriteDeadline(time.Time) error { return nil }

// conn is one flow on the stream, with the errors of a TCP connection and its end.
type conn struct {
	*yamux.Stream
	src, dst netip.AddrPort
	ended    atomic.Bool // the other side has ended its own
	abort    atomic.Bool
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.dst) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.src) }

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	if err == io.EOF {
		c.ended.Store(true)
	}
	return n, translate(err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Stream.Write(b)
	return n, translate(err)
}

func (c *conn) CloseWrite() error { return translate(c.Stream.CloseWrite()) }

// SetLinger with 0 makes Close a reset; there is nothing else to set.
func (c *conn) SetLinger(seconds int) error {
	c.abort.Store(seconds == 0)
	return nil
}

// Close ends both sides. As with TCP, what was written still arrives, and whoever goes on sending is reset.
func (c *conn) Close() error {
	switch {
	case c.abort.Load():
		return translate(c.Reset())
	case c.ended.Load():
		return translate(c.Stream.Close())
	}
	err := c.Stream.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(linger))
	go func() {
		for {
			n, err := c.Stream.Read(make([]byte, 1))
			if err == io.EOF {
				_ = c.Stream.Close()
				return
			}
			if n > 0 || err != nil {
				_ = c.Reset()
				return
			}
		}
	}()
	return translate(err)
}

// translate turns yamux's errors into those that connections have.
func translate(err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	case errors.Is(err, yamux.ErrStreamClosed):
		return net.ErrClosed
	}
	return syscall.ECONNRESET
}
