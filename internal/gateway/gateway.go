// Package gateway is how flows leave a sandbox: whatever the sandbox's wire is made of, it ends here as
// accepted connections with their original destination. The package knows no policy, resolves no name
// and dials nothing: it yields flows and the supervisor's egress judges them.
package gateway

import (
	"io"
	"net"
	"net/netip"
)

// Flow is one TCP connection that the sandbox opened. Its handshake may already be complete: whoever
// takes it may still refuse by closing with a reset (see Reset).
type Flow struct {
	net.Conn
	Dst netip.AddrPort // where the sandbox wanted to go; never believed as a place to dial
}

// Reset closes the flow so that the sandbox sees "connection reset" instead of an orderly end.
func (f Flow) Reset() error {
	if c, ok := f.Conn.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0)
	}
	return f.Close()
}

// CloseWrite passes a half-close on, where the wire has one.
func (f Flow) CloseWrite() error {
	if c, ok := f.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return f.Close()
}

// Source yields what leaves one sandbox. It decides nothing.
type Source interface {
	// Accept waits for the next TCP connection to any port but 53. After Close it returns net.ErrClosed.
	Accept() (Flow, error)
	// DNS is where the sandbox's DNS questions arrive, whatever server it addressed: datagrams, and
	// TCP connections to port 53. Answers written to the packet connection, to the address that the
	// question came with, leave from the server address that the sandbox had asked.
	DNS() (net.PacketConn, net.Listener)
	io.Closer
}

// Holder is a Source that can have the sandbox's side of a connection wait for what becomes of the other: connect
// then fails inside when it should. It depends on the kernel; without, every handshake is completed.
type Holder interface {
	Source
	// Hold has judge called for each connection that begins, in a goroutine of its own, and ends the handshake as
	// it says. It returns when the Source is closed and no judge runs any more. A connection that passes comes out
	// of Accept, from src to dst, unless its client has given up; some come unasked, when very many begin at once.
	Hold(judge func(src, dst netip.AddrPort) Verdict)
}

// Verdict is how a handshake ends. The zero value refuses.
type Verdict int

// The verdicts.
const (
	Refuse      Verdict = iota // connect fails with "connection refused"
	Unreachable                // connect fails with "no route to host"
	Pass                       // the handshake is completed, which decides nothing else
)

// Addresses of every sandbox's one link, inside 198.18.0.0/15 (RFC 2544), which is never routed on the
// internet. Each sandbox has a network namespace of its own, so all use the same.
const (
	// Gateway is our end of the link: the sandbox's default route and its DNS server.
	Gateway = "198.18.0.1"
	// Sandbox is the sandbox's end.
	Sandbox = "198.18.0.2"
	// LinkBits is the prefix length of the link.
	LinkBits = 30
	// Synthetic is the prefix that made-up DNS answers are taken from, the link excepted.
	Synthetic = "198.18.0.0/15"
)
