package egress

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/bailey-sandbox/bailey/internal/egress/framing"
	"github.com/bailey-sandbox/bailey/internal/gateway"
)

// stream is a connection of the sandbox as net/http's server sees it: without TLS, counted, and for HTTP/1
// with requests only whose beginning and end are beyond doubt.
type stream struct {
	net.Conn
	requests  *framing.Reader // nil for HTTP/2, whose frames leave no doubt
	answers   *answers        // nil for HTTP/1
	malformed func(error)     // called when requests is in doubt, once, and for what HTTP/2's answers refuse
	out, in   atomic.Int64    // bytes from the sandbox, and to it
	ended     chan struct{}
	end       sync.Once
	doubt     sync.Once
}

// newStream takes what long heads hold out of heads.
func newStream(conn net.Conn, http2 bool, heads *framing.Budget) *stream {
	s := &stream{Conn: conn, ended: make(chan struct{})}
	if http2 {
		s.answers = new(answers)
	} else {
		s.requests = framing.NewReader(conn, heads)
	}
	return s
}

func (s *stream) Read(b []byte) (n int, err error) {
	if s.requests == nil {
		n, err = s.Conn.Read(b)
	} else if n, err = s.requests.Read(b); errors.Is(err, framing.ErrMalformed) {
		s.doubt.Do(func() { s.malformed(err) })
	}
	s.out.Add(int64(n))
	return n, err
}

// Write is called by one goroutine at a time: net/http's server has one that writes frames.
func (s *stream) Write(b []byte) (int, error) {
	if s.answers != nil {
		s.answers.write(b, s.malformed)
	}
	n, err := s.Conn.Write(b)
	s.in.Add(int64(n))
	return n, err
}

// raw ends the reading of requests.
func (s *stream) raw() {
	if s.requests != nil {
		s.requests.Raw()
	}
}

func (s *stream) CloseWrite() error { return gateway.Flow{Conn: s.Conn}.CloseWrite() }

func (s *stream) Close() error {
	s.end.Do(func() {
		close(s.ended)
		if s.requests != nil {
			s.requests.Close()
		}
	})
	return s.Conn.Close()
}

// once is a listener of one connection: its second Accept waits until that has ended.
type once struct {
	conn  *stream
	taken bool
}

func (o *once) Accept() (net.Conn, error) {
	if !o.taken {
		o.taken = true
		return o.conn, nil
	}
	<-o.conn.ended
	return nil, net.ErrClosed
}

func (o *once) Addr() net.Addr { return o.conn.LocalAddr() }
func (o *once) Close() error   { return nil }
