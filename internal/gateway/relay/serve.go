package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"

	"github.com/libp2p/go-yamux/v5"

	"github.com/bailey-sandbox/bailey/internal/gateway"
)

// maxAskers is how many questions may be without an answer. An answer to an older one is dropped.
const maxAskers = 1024

// Serve offers src at the other end of stream, until ctx ends or either of them is closed, which is no error. Then it
// closes both and returns when all is gone.
func Serve(ctx context.Context, stream io.ReadWriteCloser, src gateway.Source) error {
	session, err := yamux.Client(wire{stream}, config(), nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	packets, streams := src.DNS()
	s := &server{session: session, slots: make(chan struct{}, maxFlows)}
	s.wg.Go(func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-session.CloseChan():
		}
		_ = session.Close()
		_ = src.Close()
		_ = packets.Close()
		_ = streams.Close()
	})
	s.wg.Go(func() {
		defer cancel()
		s.datagrams(ctx, packets)
	})
	s.wg.Go(func() {
		defer cancel()
		s.each(ctx, kindDNS, func() (gateway.Flow, error) {
			c, err := streams.Accept()
			if err != nil {
				return gateway.Flow{}, err
			}
			dst, err := netip.ParseAddrPort(c.LocalAddr().String())
			return gateway.Flow{Conn: c, Dst: dst}, err
		})
	})
	s.each(ctx, kindFlow, src.Accept)
	cancel()
	s.wg.Wait()
	return nil
}

// server is the helper's side.
type server struct {
	session *yamux.Session
	slots   chan struct{}
	wg      sync.WaitGroup
}

// each relays what accept returns, until that fails.
func (s *server) each(ctx context.Context, k kind, accept func() (gateway.Flow, error)) {
	for {
		f, err := accept()
		if err != nil {
			return
		}
		select {
		case s.slots <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-s.slots }()
				s.relay(ctx, k, f)
			})
		default:
			_ = f.Reset()
		}
	}
}

func (s *server) relay(ctx context.Context, k kind, f gateway.Flow) {
	src, err := netip.ParseAddrPort(f.RemoteAddr().String())
	if err != nil {
		_ = f.Reset()
		return
	}
	out, err := s.open(ctx, header{k, src, f.Dst})
	if err != nil {
		_ = f.Reset()
		return
	}
	_, _, _ = gateway.Copy(ctx, f.Conn, out)
}

func (s *server) open(ctx context.Context, h header) (*conn, error) {
	stream, err := s.session.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write(h.encode()); err != nil {
		_ = stream.Reset()
		return nil, err
	}
	return &conn{Stream: stream, src: h.dst, dst: h.src}, nil
}

// datagrams passes questions on and answers back until either side ends.
func (s *server) datagrams(ctx context.Context, packets net.PacketConn) {
	any := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	out, err := s.open(ctx, header{kindDatagrams, any, any})
	if err != nil {
		return
	}
	var askers askers
	s.wg.Go(func() {
		defer packets.Close()
		answers := newDatagramReader(out)
		for {
			answer, err := readDatagram(answers)
			if err != nil {
				return
			}
			if to := askers.of(answer.id); to != nil {
				_, _ = packets.WriteTo(answer.data, to)
			}
		}
	})
	b := make([]byte, maxDatagram+1)
	for {
		n, from, err := packets.ReadFrom(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return
			}
			continue
		}
		if n > maxDatagram {
			continue
		}
		if _, err := out.Write(datagram{askers.add(from), b[:n]}.encode()); err != nil {
			return
		}
	}
}

// askers are those whose questions came last. The zero askers is empty.
type askers struct {
	mu   sync.Mutex
	next uint32
	last [maxAskers]net.Addr
}

// add returns a number for who asked.
func (a *askers) add(from net.Addr) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := a.next
	a.next++
	a.last[id%maxAskers] = from
	return id
}

// of returns who asked question id, once, and nil when others have asked so often that this is forgotten.
func (a *askers) of(id uint32) net.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if age := a.next - id; age == 0 || age > maxAskers {
		return nil
	}
	from := a.last[id%maxAskers]
	a.last[id%maxAskers] = nil
	return from
}
