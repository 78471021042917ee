package fake

import (
	"errors"
	"fmt"
	"net"

	"github.com/bailey-sandbox/bailey/internal/gateway"
)

// source is a wire that nothing is connected to: fake machines use the host's own network.
type source struct {
	flows   net.Listener
	packets net.PacketConn
	streams net.Listener
}

func newSource() (*source, error) {
	flows, err1 := net.Listen("tcp", "127.0.0.1:0")
	packets, err2 := net.ListenPacket("udp", "127.0.0.1:0")
	streams, err3 := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("cannot make a fake network: %w", err)
	}
	return &source{flows, packets, streams}, nil
}

// Accept implements gateway.Source.
func (s *source) Accept() (gateway.Flow, error) {
	c, err := s.flows.Accept()
	if err != nil {
		return gateway.Flow{}, err
	}
	return gateway.Flow{Conn: c, Dst: c.LocalAddr().(*net.TCPAddr).AddrPort()}, nil
}

// DNS implements gateway.Source.
func (s *source) DNS() (net.PacketConn, net.Listener) { return s.packets, s.streams }

// Close implements gateway.Source.
func (s *source) Close() error {
	var errs []error
	for _, c := range []interface{ Close() error }{s.flows, s.packets, s.streams} {
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
