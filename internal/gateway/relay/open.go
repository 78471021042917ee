package relay

import (
	"io"
	"net"
	"time"

	"github.com/libp2p/go-yamux/v5"

	"github.com/bailey-sandbox/bailey/internal/gateway"
)

// Open returns the Source that somebody serves at the other end of stream. It ends with the stream, and closes it:
// flows are then reset, and Accept returns net.ErrClosed.
func Open(stream io.ReadWriteCloser) (gateway.Source, error) {
	session, err := yamux.Server(wire{stream}, config(), nil)
	if err != nil {
		return nil, err
	}
	s := &source{session: session, flows: make(chan *conn), dns: make(chan *conn), slots: make(chan struct{}, maxFlows)}
	s.packets = &packets{ended: session.CloseChan(), ready: make(chan struct{})}
	go s.dispatch()
	return s, nil
}

// source is the supervisor's side.
type source struct {
	session *yamux.Session
	flows   chan *conn
	dns     chan *conn
	packets *packets
	slots   chan struct{} // of streams that nobody has taken yet
}

// dispatch accepts until the session ends.
func (s *source) dispatch() {
	for {
		stream, err := s.session.AcceptStream()
		if err != nil {
			return
		}
		s.slots <- struct{}{}
		go func() {
			s.begin(stream)
			<-s.slots
		}()
	}
}

// begin reads a stream's header and offers it to whom it is for.
func (s *source) begin(stream *yamux.Stream) {
	var b [headerSize]byte
	_ = stream.SetReadDeadline(time.Now().Add(headerTimeout))
	_, err := io.ReadFull(stream, b[:])
	_ = stream.SetReadDeadline(time.Time{})
	var h header
	if err == nil {
		h, err = parseHeader(b)
	}
	if err != nil {
		_ = stream.Reset()
		return
	}
	c := &conn{Stream: stream, src: h.src, dst: h.dst}
	if h.kind == kindDatagrams {
		if !s.packets.attach(c) { // there is one already
			_ = stream.Reset()
		}
		return
	}
	to := s.flows
	if h.kind == kindDNS {
		to = s.dns
	}
	select {
	case to <- c:
	case <-s.session.CloseChan():
	}
}

func (s *source) Accept() (gateway.Flow, error) {
	select {
	case c := <-s.flows:
		return gateway.Flow{Conn: c, Dst: c.dst}, nil
	case <-s.session.CloseChan():
		return gateway.Flow{}, net.ErrClosed
	}
}

func (s *source) DNS() (net.PacketConn, net.Listener) { return s.packets, listener{s} }

func (s *source) Close() error { return s.session.Close() }

// listener yields DNS connections. Closing it closes all: everything is one stream.
type listener struct{ *source }

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dns:
		return c, nil
	case <-l.session.CloseChan():
		return nil, net.ErrClosed
	}
}

func (listener) Addr() net.Addr { return dnsAddr() }

func dnsAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(gateway.Gateway), Port: 53} }
