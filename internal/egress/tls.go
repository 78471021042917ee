package egress

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

// handshakeTimeout bounds a TLS handshake, with the sandbox and with the world.
const handshakeTimeout = 15 * time.Second

// serveTLS carries a TLS connection to the host that its client names, unread or opened. It must be the host
// that the address was made up for: the name in the hello decides at many servers which site answers.
func (s *Server) serveTLS(ctx context.Context, f *flow, decision policy.Decision, first []byte) {
	_ = f.SetReadDeadline(time.Now().Add(handshakeTimeout))
	hello, first, err := readHello(f.Conn, first)
	_ = f.SetReadDeadline(time.Time{})
	everything := decision.Protocol == policy.Any && !s.keeper().Bound(f.target.Host, f.target.Port)
	unread := !decision.Inspect && (decision.Tunnel || everything)
	deny := func(format string, a ...any) {
		s.refuse(f, f.event(denial(decision, format, a...)))
	}
	switch {
	case err != nil:
		deny("what came on the connection to %s is not TLS: %v", f.target, err)
	case !isFor(f.target, hello.ServerName):
		deny("the TLS connection to %s is for another server name", f.target)
	case decision.Tunnel && unread && hello.ECH: // where everything is allowed, nothing is gained by it
		deny("the TLS connection to %s hides the name that it is for (ECH)", f.target)
	case unread:
		s.carry(ctx, f, decision, first)
	default:
		s.inspect(ctx, f, decision, &replayed{Conn: f.Conn, first: first})
	}
}

// inspect ends the sandbox's TLS here, and serves the requests in it.
func (s *Server) inspect(ctx context.Context, f *flow, decision policy.Decision, conn *replayed) {
	deny := func(format string, a ...any) {
		s.refuse(f, f.event(denial(decision, format, a...)))
	}
	if s.CA == nil {
		deny("the requests to %s cannot be judged: there is no certificate authority to open TLS with", f.target)
		return
	}
	leaf, err := s.CA.Leaf(serverName(f.target))
	if err != nil {
		deny("the requests to %s cannot be judged: %v", f.target, err)
		return
	}
	inner := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true})
	handshake, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := inner.HandshakeContext(handshake); err != nil {
		deny("the program that connected to %s did not accept bailey's certificate: %v", f.target, err)
		return
	}
	s.serveRequests(ctx, f, decision, inner, "https", inner.ConnectionState().NegotiatedProtocol == "h2")
}
