package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/egress/framing"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// headTimeout is how long a request's head may take.
	headTimeout = 30 * time.Second
	// idleTimeout is how long a connection may be without a request. It is longer than most servers', so that
	// those decide.
	idleTimeout = 10 * time.Minute
	// maxStreamsHTTP2 is how many requests one HTTP/2 connection may have open.
	maxStreamsHTTP2 = 250
)

// serveRequests judges the requests on conn, which is f without its TLS, one by one, until it ends. Each that is
// allowed goes to f's target, over connections that nobody else uses.
func (s *Server) serveRequests(ctx context.Context, f *flow, decision policy.Decision, conn net.Conn, scheme string, http2 bool) {
	in := newStream(conn, http2)
	h := &requests{ctx: ctx, s: s, f: f, scheme: scheme, http2: http2, in: in, transports: map[bool]*http.Transport{}}
	in.malformed = h.refuseMalformed
	h.proxy = &httputil.ReverseProxy{Rewrite: h.rewrite, Transport: h, FlushInterval: -1,
		ModifyResponse: cleanResponse, ErrorHandler: h.failed, ErrorLog: log.New(io.Discard, "", 0)}
	serveHTTP(ctx, in, http2, h)
	h.running.Wait()
	h.closeIdle()
	e := f.event(decision)
	e.BytesOut, e.BytesIn = in.out.Load(), in.in.Load()
	s.recordClose(f, e, context.Cause(ctx))
}

// serveHTTP lets h answer the requests of in until that ends.
func serveHTTP(ctx context.Context, in *stream, http2 bool, h http.Handler) {
	var speaks http.Protocols
	speaks.SetHTTP1(!http2)
	speaks.SetUnencryptedHTTP2(http2) // its TLS, if any, has been taken off
	server := &http.Server{Handler: h, Protocols: &speaks, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: framing.MaxHead,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreamsHTTP2},
		DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0)}
	_ = server.Serve(&once{conn: in})
}

// requests is the HTTP handler, and the way to the target, of one connection.
type requests struct {
	ctx     context.Context // of the whole connection
	s       *Server
	f       *flow
	scheme  string
	http2   bool
	in      *stream
	proxy   *httputil.ReverseProxy
	running sync.WaitGroup

	mu         sync.Mutex
	transports map[bool]*http.Transport // by whether private addresses are open
}

// judged is what a request's context carries to the transport.
type judged struct{}

// ServeHTTP judges one request. Whatever it allows is in the record before a byte of it goes on.
func (h *requests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.running.Add(1)
	defer h.running.Done()
	began := time.Now()
	status, decision := h.judge(r)
	e := h.event(r, decision)
	if decision.Verdict != policy.Allow {
		e.Status = status
	}
	switch err := h.s.record(e); {
	case err != nil:
		writeError(w, r, http.StatusBadGateway, "bailey cannot record its decision about this request, and does not pass on what is not recorded", "")
	case decision.Verdict != policy.Allow:
		writeError(w, r, status, decision.Reason, decision.Cure)
	default:
		body := &countedBody{ReadCloser: r.Body}
		r.Body = body
		answer := &countedAnswer{ResponseWriter: w, raw: h.in.raw}
		defer func() {
			e.Kind, e.Time, e.Reason, e.Duration = audit.KindResponse, time.Time{}, "", time.Since(began)
			e.Status, e.BytesOut, e.BytesIn, e.Error = answer.status, body.n.Load(), answer.n, answer.err
			_ = h.s.record(e)
		}()
		h.proxy.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), judged{}, decision)))
	}
}

// judge asks the policy, unless r is a request that no policy could allow on this connection.
func (h *requests) judge(r *http.Request) (status int, d policy.Decision) {
	if status, reason := checkRequest(r, h.f.target, h.scheme); status != 0 {
		return status, policy.Decision{Reason: reason}
	}
	req := h.f.target
	req.Method, req.Path = r.Method, r.URL.EscapedPath()
	return http.StatusForbidden, h.approve(r, req)
}

func (h *requests) event(r *http.Request, d policy.Decision) audit.Event {
	e := h.f.event(d)
	e.Kind, e.Method, e.Path = audit.KindRequest, r.Method, r.URL.EscapedPath()
	return e
}

// refuseMalformed records what net/http only answers with 400.
func (h *requests) refuseMalformed(err error) {
	e := h.f.event(policy.Decision{Reason: err.Error()})
	e.Kind, e.Status = audit.KindRequest, http.StatusBadRequest
	_ = h.s.record(e)
}

// rewrite makes the request that goes on. ReverseProxy has removed what is for one connection only, and what
// tells of other proxies.
func (h *requests) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host = h.scheme, h.f.target.String()
	r.Out.URL.RawQuery = r.In.URL.RawQuery // as it came, not as Go would write it
	r.Out.Host = canonicalHost(r.In.Host, h.f.target)
	r.Out.Trailer = r.In.Trailer // filled when the body has ended
	delete(r.Out.Header, "Host")
	// Behind an upgrade nothing is judged, and in HTTP/2 over cleartext more requests would follow. Upgrades
	// are the client's wish only; without, it gets an ordinary answer.
	if !strings.EqualFold(r.Out.Header.Get("Upgrade"), "websocket") {
		for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
			r.Out.Header.Del(name)
		}
	}
}

// RoundTrip sends a request on, over a connection to an address that its own decision opens.
func (h *requests) RoundTrip(r *http.Request) (*http.Response, error) {
	decision, ok := r.Context().Value(judged{}).(policy.Decision)
	if !ok {
		return nil, errors.New("nobody has judged the request")
	}
	return h.transport(decision).RoundTrip(r)
}

// cleanResponse takes away what would lead the client around us.
func cleanResponse(r *http.Response) error {
	r.Header.Del("Alt-Svc")
	return nil
}

// failed answers when the target did not.
func (h *requests) failed(w http.ResponseWriter, r *http.Request, err error) {
	if a, ok := w.(*countedAnswer); ok {
		a.err = err.Error()
	}
	var denied refusal
	if errors.As(err, &denied) {
		writeError(w, r, http.StatusForbidden, denied.Reason, denied.Cure)
		return
	}
	reason := "the host's record has the reason" // which may name the host's resolver and networks
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		reason = certificate.Error()
	}
	writeError(w, r, http.StatusBadGateway, "bailey allows this request, but "+h.f.target.String()+" cannot be reached: "+reason, "")
}

type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// countedAnswer notes what the target answered.
type countedAnswer struct {
	http.ResponseWriter
	raw    func()
	status int
	n      int64
	err    string
}

// Hijack is called when the target has agreed to another protocol: from now on nobody reads requests.
func (a *countedAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err == nil {
		a.status = http.StatusSwitchingProtocols
		a.raw()
	}
	return conn, buffered, err
}

// Unwrap is how http.ResponseController finds Flush.
func (a *countedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader notes the final status; those before it are informational.
func (a *countedAnswer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *countedAnswer) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.n += int64(n)
	return n, err
}
