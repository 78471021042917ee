package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/bailey-sandbox/bailey/internal/egress/sniff"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// firstTimeout is how long a client may take for its first bytes where they decide. Clients that connect
	// ahead of their first request wait some seconds.
	firstTimeout = time.Minute
	// serverFirst is how long a client is silent when it waits for the server to speak.
	serverFirst = 300 * time.Millisecond
)

// serveFirst lets the first bytes of f decide what happens to it. Where anything may be allowed, a client that
// is silent for wait lets its server speak first, and nothing is read any more; else it is refused. A decision that
// denies goes the same way, as far as where something would be dialled.
func (s *Server) serveFirst(ctx context.Context, f *flow, decision policy.Decision, wait time.Duration) {
	_ = f.SetReadDeadline(time.Now().Add(wait))
	first, protocol, err := readFirst(f.Conn)
	_ = f.SetReadDeadline(time.Time{})
	conn := &replayed{Conn: f.Conn, first: first}
	switch {
	case decision.Protocol == policy.Any && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF)):
		s.carry(ctx, f, decision, first)
	case decision.Verdict == policy.Ask && errors.Is(err, os.ErrDeadlineExceeded) && wait == serverFirst:
		s.serveOther(ctx, f, decision, first)
	case err != nil:
		s.refuse(f, f.event(denial(decision, "no request came on the connection to %s", f.target)))
	case protocol == sniff.TLS:
		s.serveTLS(ctx, f, decision, first)
	case protocol == sniff.HTTP1:
		s.serveRequests(ctx, f, decision, conn, "http", false)
	case protocol == sniff.HTTP2:
		s.serveRequests(ctx, f, decision, conn, "http", true)
	case decision.Protocol == policy.Any:
		s.carry(ctx, f, decision, first)
	default:
		s.serveOther(ctx, f, decision, first)
	}
}

// denial is the refusal of what came on a connection that d allows or asks about. Where d denies, it has said why already.
func denial(d policy.Decision, format string, a ...any) policy.Decision {
	if d.Denies() {
		return d
	}
	return policy.Decision{Rule: d.Rule, Reason: fmt.Sprintf(format, a...)}
}

// readFirst reads until the bytes say what they speak. It returns them also with an error.
func readFirst(conn net.Conn) ([]byte, sniff.Protocol, error) {
	first := make([]byte, 0, 512)
	for {
		if len(first) == cap(first) {
			first = append(first, 0)[:len(first)]
		}
		n, err := conn.Read(first[len(first):min(cap(first), sniff.MaxFirst)])
		first = first[:len(first)+n]
		if protocol, more := sniff.First(first); n > 0 && !more {
			return first, protocol, nil
		}
		if err != nil {
			return first, sniff.Other, err
		}
	}
}

// readHello reads the rest of a TLS client's hello, which begins with first, and returns all that was read.
func readHello(conn net.Conn, first []byte) (sniff.Hello, []byte, error) {
	read := bytes.NewBuffer(first)
	hello, err := sniff.ReadHello(io.MultiReader(bytes.NewReader(first), io.TeeReader(conn, read)))
	return hello, read.Bytes(), err
}

// isFor says whether a TLS client means target: whoever has a name for it says so, and it is the one that the
// address was made up for.
func isFor(target policy.Request, serverName string) bool {
	if target.Host == "" {
		return serverName == ""
	}
	name, err := hostname.Parse(serverName)
	return err == nil && name == target.Host
}

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(b, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}

func (r *replayed) CloseWrite() error { return gateway.Flow{Conn: r.Conn}.CloseWrite() }

func (r *replayed) SetLinger(sec int) error {
	if c, ok := r.Conn.(interface{ SetLinger(int) error }); ok {
		return c.SetLinger(sec)
	}
	return nil
}
