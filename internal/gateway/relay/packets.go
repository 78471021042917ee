package relay

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/gateway"
)

// packets is the stream of DNS datagrams as a packet connection. It waits for the helper to open it.
type packets struct {
	ended <-chan struct{}
	once  sync.Once
	ready chan struct{} // closed when the fields below are there
	conn  *conn
	read  *bufio.Reader
}

// attach says whether c is the first.
func (p *packets) attach(c *conn) (first bool) {
	p.once.Do(func() {
		p.conn, p.read, first = c, newDatagramReader(c), true
		close(p.ready)
	})
	return first
}

func (p *packets) wait() error {
	select {
	case <-p.ready:
		return nil
	case <-p.ended:
		return net.ErrClosed
	}
}

// asker is who asked, as the helper counts.
type asker uint32

func (asker) Network() string  { return "udp" }
func (a asker) String() string { return "question " + strconv.FormatUint(uint64(a), 10) }

func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	if err := p.wait(); err != nil {
		return 0, nil, err
	}
	d, err := readDatagram(p.read)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil, err
	}
	if err != nil { // what follows would make no sense
		_ = p.conn.Reset()
		return 0, nil, net.ErrClosed
	}
	return copy(b, d.data), asker(d.id), nil
}

func (p *packets) WriteTo(b []byte, to net.Addr) (int, error) {
	id, ok := to.(asker)
	if !ok || len(b) > maxDatagram {
		return 0, fmt.Errorf("relay: %d bytes for %v, who did not ask", len(b), to)
	}
	if err := p.wait(); err != nil {
		return 0, err
	}
	_, err := p.conn.Write(datagram{uint32(id), b}.encode())
	return len(b), err
}

// Close ends the stream if there is one; the session's end does the same.
func (p *packets) Close() error {
	select {
	case <-p.ready:
		return p.conn.Reset()
	default:
		return nil
	}
}

func (p *packets) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.ParseIP(gateway.Gateway), Port: 53}
}

func (p *packets) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

func (p *packets) SetReadDeadline(t time.Time) error {
	if err := p.wait(); err != nil {
		return err
	}
	return p.conn.SetReadDeadline(t)
}

func (p *packets) SetWriteDeadline(t time.Time) error {
	if err := p.wait(); err != nil {
		return err
	}
	return p.conn.SetWriteDeadline(t)
}
