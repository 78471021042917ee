package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/egress/framing"
	"github.com/bailey-sandbox/bailey/internal/egress/sniff"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// proxyPort is where selfName is a proxy, for clients that insist on one. It opens nothing: what comes out of it is
// judged like a connection of the client's own.
const proxyPort = 3128

// serveProxy takes CONNECT, whose connection is a flow to where it asks for, and requests that name their hosts.
func (s *Server) serveProxy(ctx context.Context, f *flow) {
	_ = f.SetReadDeadline(time.Now().Add(firstTimeout))
	first, protocol, err := readFirst(f.Conn)
	_ = f.SetReadDeadline(time.Time{})
	conn := &replayed{Conn: f.Conn, first: first}
	switch {
	case err != nil || protocol != sniff.HTTP1:
		s.refuse(f, f.event(policy.Decision{Reason: "what came to bailey's proxy is no request of HTTP/1"}))
	case bytes.HasPrefix(first, []byte(http.MethodConnect+" ")):
		s.serveConnect(ctx, f, conn)
	default:
		s.serveForward(ctx, f, conn)
	}
}

// serveConnect serves f as the flow that it would have been without the proxy.
func (s *Server) serveConnect(ctx context.Context, f *flow, conn *replayed) {
	_ = f.SetReadDeadline(time.Now().Add(headTimeout))
	authority, rest, err := framing.ReadConnect(conn, &s.heads)
	_ = f.SetReadDeadline(time.Time{})
	var target policy.Request
	if err == nil {
		target, err = parseAuthority(authority, 0)
	}
	if err != nil {
		_ = s.record(f.proxyEvent(http.MethodConnect, err.Error()))
		page := refusalText(err.Error(), "")
		_, _ = fmt.Fprintf(f.Conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
		_ = f.CloseWrite()
		_ = f.Close()
		return
	}
	if _, err := io.WriteString(f.Conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = f.Reset()
		return
	}
	inner := &flow{Flow: gateway.Flow{Conn: f.Conn, Dst: f.Dst}, id: f.id, began: f.began, target: target}
	if len(rest) > 0 { // from a client that did not wait
		inner.Conn = &replayed{Conn: f.Conn, first: rest}
	}
	s.serveFlow(ctx, inner)
}

// serveForward judges each request on f by the host that it names itself.
func (s *Server) serveForward(ctx context.Context, f *flow, conn *replayed) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(ctx, func() { reset(f.Conn) })()
	in := newStream(conn, false, &s.heads)
	h := &forward{ctx: ctx, end: end, s: s, f: f, in: in}
	in.malformed = func(err error) { _ = s.record(f.proxyEvent("", err.Error())) }
	serveHTTP(ctx, in, false, h)
	h.leave()
}

// forward is the HTTP handler of a connection whose requests name their hosts. They come one after the other, and
// those to one host share their way to it for as long as no other host comes between.
type forward struct {
	ctx context.Context
	end context.CancelCauseFunc
	s   *Server
	f   *flow
	in  *stream
	at  *requests // to the host of the last request; nil before the first
}

func (h *forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target, err := forwardTarget(r)
	if err != nil {
		_ = h.s.record(h.f.proxyEvent(r.Method, err.Error()))
		writeError(w, r, http.StatusBadRequest, err.Error(), "")
		return
	}
	if h.at == nil || h.at.f.target != target {
		h.leave()
		h.enter(target)
	}
	h.at.ServeHTTP(w, r)
}

// enter begins what is a flow to target. Its end, when the policy denies it later, is that of the connection.
func (h *forward) enter(target policy.Request) {
	f := &flow{Flow: h.f.Flow, id: h.s.lastID.Add(1), began: time.Now(), target: target, open: &openFlow{req: target, end: h.end}}
	h.s.open.add(f.open)
	h.at = h.s.newRequests(h.ctx, f, h.s.policy().Decide(target), h.in, "http", false)
}

func (h *forward) leave() {
	if h.at == nil {
		return
	}
	h.at.finish()
	h.s.open.remove(h.at.f.open)
}

// forwardTarget is where a request to a proxy wants to go.
func forwardTarget(r *http.Request) (policy.Request, error) {
	switch {
	case r.Method == http.MethodConnect:
		return policy.Request{}, errors.New("CONNECT has to be the first request on its connection to a proxy")
	case r.URL.Scheme == "":
		return policy.Request{}, errors.New("this is a proxy: it takes CONNECT HOST:PORT, and requests for http://HOST/")
	case r.URL.Scheme != "http":
		return policy.Request{}, errors.New("this proxy takes requests for http:// only: for others, use CONNECT HOST:PORT")
	}
	return parseAuthority(r.Host, 80)
}

// parseAuthority reads HOST:PORT, as it is written to a proxy, as what a connection there would mean. Without a
// port it is otherwise, and an error where that is 0. What no connection through the gateway could mean is an error.
func parseAuthority(text string, otherwise uint16) (policy.Request, error) {
	host, digits, found := cutPort(text)
	req := policy.Request{Port: otherwise}
	if found {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || strconv.FormatUint(n, 10) != digits {
			return policy.Request{}, fmt.Errorf("%q has no port: write HOST:PORT", text)
		}
		req.Port = uint16(n)
	}
	if req.Port == 0 {
		return policy.Request{}, fmt.Errorf("%q has no port: write HOST:PORT", text)
	}
	var err error
	if _, isAddr := netip.ParseAddr(strings.Trim(host, "[]")); isAddr == nil {
		req.Addr, err = parseLiteral(host)
	} else {
		req.Host, err = hostname.Parse(host)
	}
	switch {
	case err != nil:
		return policy.Request{}, err
	case req.Host == "localhost", strings.HasSuffix(string(req.Host), ".localhost"), req.Host == "" && hostname.Classify(req.Addr) == hostname.Loopback:
		return policy.Request{}, fmt.Errorf("%s is the sandbox itself: connect to it without a proxy", host)
	case req.Host == selfName, req.Host == "" && netip.MustParsePrefix(gateway.Synthetic).Contains(req.Addr):
		return policy.Request{}, fmt.Errorf("%s is bailey's own: name the host, or connect to it without a proxy", host)
	}
	return req, nil
}

// proxyEvent is the refusal of a request that leads nowhere.
func (f *flow) proxyEvent(method, reason string) audit.Event {
	e := f.event(policy.Decision{Reason: reason})
	e.Kind, e.Method, e.Status = audit.KindRequest, method, http.StatusBadRequest
	return e
}
