package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/egress/framing"
	"github.com/bailey-sandbox/bailey/internal/gitpush"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// headTimeout is how long a request's head may take.
	headTimeout = 30 * time.Second
	// idleTimeout is how long a connection may be without a request. It is longer than most servers', so that
	// those decide.
	idleTimeout = 10 * time.Minute
	// maxRequests is how many requests one sandbox may have open. Each holds a connection outside, about 100 KiB, and
	// what is in its buffers.
	maxRequests = 512
	// maxStreamsHTTP2 is how many of them one HTTP/2 connection may have open.
	maxStreamsHTTP2 = 250
	// maxFrame is the longest HTTP/2 frame that is read, in bytes: the least that may be. Each connection holds one.
	maxFrame = 16 << 10
	// uploadBuffer is how much of one request's body is held, and uploadBuffers of all on one HTTP/2 connection. The
	// sandbox is no distance away, so more would make nothing faster.
	uploadBuffer  = 256 << 10
	uploadBuffers = 1 << 20
)

// serveRequests judges the requests on conn, which is f without its TLS, one by one, until it ends. Each that is
// allowed goes to f's target, over connections that nobody else uses. Where decision denies, none is.
func (s *Server) serveRequests(ctx context.Context, f *flow, decision policy.Decision, conn net.Conn, scheme string, http2 bool) {
	in := newStream(conn, http2, &s.heads)
	h := s.newRequests(ctx, f, decision, in, scheme, http2)
	in.malformed = h.refuseMalformed
	serveHTTP(ctx, in, http2, h)
	h.finish()
}

// newRequests is the handler of the requests to f's target in in, about which decision was made as a whole.
func (s *Server) newRequests(ctx context.Context, f *flow, decision policy.Decision, in *stream, scheme string, http2 bool) *requests {
	h := &requests{ctx: ctx, s: s, f: f, decision: decision, scheme: scheme, http2: http2, in: in, transports: map[bool]*http.Transport{}, conns: map[*outside]bool{},
		outBefore: in.out.Load(), inBefore: in.in.Load()}
	h.proxy = &httputil.ReverseProxy{Rewrite: h.rewrite, Transport: h, FlushInterval: -1,
		ModifyResponse: cleanResponse, ErrorHandler: h.failed, ErrorLog: log.New(io.Discard, "", 0)}
	return h
}

// finish waits for the last request, and records the end, or the refusal where no request has told of it.
func (h *requests) finish() {
	h.mu.Lock()
	h.finished = true
	h.mu.Unlock()
	h.running.Wait()
	h.closeOutside()
	e := h.f.event(h.decision)
	switch {
	case !h.decision.Denies():
		e.BytesOut, e.BytesIn = h.in.out.Load()-h.outBefore, h.in.in.Load()-h.inBefore
		h.s.recordClose(h.f, e, context.Cause(h.ctx))
	case !h.recorded.Load():
		_ = h.s.record(e)
	}
}

// serveHTTP lets h answer the requests of in until that ends.
func serveHTTP(ctx context.Context, in *stream, http2 bool, h http.Handler) {
	var speaks http.Protocols
	speaks.SetHTTP1(!http2)
	speaks.SetUnencryptedHTTP2(http2) // its TLS, if any, has been taken off
	server := &http.Server{Handler: h, Protocols: &speaks, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: framing.MaxHead,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreamsHTTP2, MaxReadFrameSize: maxFrame, MaxReceiveBufferPerStream: uploadBuffer,
			MaxReceiveBufferPerConnection: uploadBuffers, WriteByteTimeout: stallTimeout},
		DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0)}
	_ = server.Serve(&once{conn: in})
}

// requests is the HTTP handler, and the way to the target, of one connection, or of a part of one to a proxy.
type requests struct {
	ctx      context.Context // of the whole connection
	s        *Server
	f        *flow
	decision policy.Decision // about the connection
	scheme   string
	http2    bool
	in       *stream
	proxy    *httputil.ReverseProxy
	running  sync.WaitGroup
	recorded atomic.Bool // there is an event about a request

	outBefore, inBefore int64 // what in had carried before

	mu         sync.Mutex
	transports map[bool]*http.Transport // by whether private addresses are open
	conns      map[*outside]bool        // that are open
	finished   bool
}

// judgedKey is where a request's context has a judged for the transport.
type judgedKey struct{}

// judged is a request that may go on.
type judged struct {
	decision policy.Decision
	exchange *credential.Exchange
	pushes   bool
}

// begin says whether a request may still be served. HTTP/2's server starts the last ones of a connection also after that
// has ended, while finish waits.
func (h *requests) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.finished {
		h.running.Add(1)
	}
	return !h.finished
}

// ServeHTTP judges one request. Whatever it allows is in the record before a byte of it goes on.
func (h *requests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.begin() {
		return
	}
	defer h.running.Done()
	began := time.Now()
	req := h.asked(r)
	status, decision := h.judge(r, req) // which may take as long as a human does
	open := h.s.requests.Add(1)
	defer h.s.requests.Add(-1)
	if most := min(maxRequests, h.s.maxFlows()); decision.Verdict == policy.Allow && open > most {
		status, decision = http.StatusServiceUnavailable, policy.Decision{Reason: fmt.Sprintf("the sandbox already has %d requests open", most)}
	}
	var push *gitpush.Push
	if decision.Verdict == policy.Allow && req.Push != nil && r.Method == http.MethodPost {
		if decision, push = h.judgePush(r, req); decision.Verdict == policy.Allow {
			defer r.Body.Close()
		}
	}
	exchange, err := h.credentials(r)
	var refused *credential.Refusal
	if errors.As(err, &refused) && decision.Verdict == policy.Allow {
		status, decision = http.StatusForbidden, policy.Decision{Rule: decision.Rule, Reason: refused.Reason, Cure: refused.Cure}
	}
	if decision.Verdict == policy.Allow && h.uncounted(r) {
		status = http.StatusUpgradeRequired // on which clients send requests instead
		decision = policy.Decision{Rule: decision.Rule, Reason: "what is asked of a model in a WebSocket cannot be counted, and so it is not passed on: send requests"}
	}
	e := h.event(r, decision)
	if decision.Verdict != policy.Allow {
		e.Status = status
	} else {
		e.Credential = strings.Join(exchange.Used(), ",")
	}
	if h.decision.Denies() {
		w.Header().Set("Connection", "close") // also in HTTP/2, where it ends the connection after this answer
	}
	h.recorded.Store(true)
	switch err := h.s.record(e); {
	case err != nil:
		writeError(w, r, http.StatusBadGateway, "bailey cannot record its decision about this request, and does not pass on what is not recorded", "")
	case decision.Verdict != policy.Allow && req.Push != nil:
		refusePush(w, r, push, status, decision.Reason, decision.Cure)
	case decision.Verdict != policy.Allow:
		writeError(w, r, status, decision.Reason, decision.Cure)
	default:
		h.pass(w, r, judged{decision, exchange, req.Push != nil}, e, began)
	}
}

// pass sends an allowed request on, and records how it ended.
func (h *requests) pass(w http.ResponseWriter, r *http.Request, j judged, e audit.Event, began time.Time) {
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), judgedKey{}, j))
	defer cancel(nil)
	body := &countedBody{ReadCloser: r.Body, stall: newStall(func() { cancel(errStalled) })}
	defer body.stall.close()
	call := h.newModelCall(ctx, r, began)
	answer := &countedAnswer{ResponseWriter: w, raw: h.in.raw, call: call, stall: newStall(func() {
		cancel(errStalled)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
	})}
	defer answer.stall.close()
	// Or the answer's first byte would have HTTP/1's server close the body, whose end the transport may still read: that
	// fails, and takes the answer's connection with it. HTTP/2 has nothing to enable.
	_ = http.NewResponseController(w).EnableFullDuplex()
	defer func() {
		e.Kind, e.Time, e.Reason, e.Duration = audit.KindResponse, time.Time{}, "", time.Since(began)
		e.Status, e.BytesOut, e.BytesIn, e.Error = answer.status, body.n.Load(), answer.n, answer.err
		if context.Cause(ctx) == errStalled {
			e.Error = errStalled.Error()
		}
		if refused := j.exchange.Refused(); refused != nil {
			e.Error = refused.Reason
		}
		_ = h.s.record(e)
		call.end()
	}()
	r = r.WithContext(ctx)
	r.Body = call.body(body)
	h.proxy.ServeHTTP(answer, r)
}

// judge asks the policy, unless r is a request that no policy could allow on this connection.
func (h *requests) judge(r *http.Request, req policy.Request) (status int, d policy.Decision) {
	if status, reason := checkRequest(r, h.f.target, h.scheme); status != 0 {
		return status, policy.Decision{Reason: reason}
	}
	if !h.decision.Denies() {
		return http.StatusForbidden, h.approve(r, req)
	}
	d = h.s.policy().Decide(req)
	if !d.Denies() {
		d = policy.Decision{Rule: d.Rule, Reason: fmt.Sprintf("the connection to %s was refused, which would not happen any more: try again", h.f.target)}
		return http.StatusServiceUnavailable, d
	}
	return http.StatusForbidden, d
}

// asked is what r asks for.
func (h *requests) asked(r *http.Request) policy.Request {
	req := h.f.target
	req.Method, req.Path, req.Push = r.Method, r.URL.EscapedPath(), pushOf(r)
	return req
}

func (h *requests) event(r *http.Request, d policy.Decision) audit.Event {
	e := h.f.event(d)
	e.Kind, e.Method, e.Path = audit.KindRequest, r.Method, r.URL.EscapedPath()
	return e
}

// credentials judges what secrets, or what stands for them, a request's head has. It does so also where the request
// is denied anyway, for the alarms' sake.
func (h *requests) credentials(r *http.Request) (*credential.Exchange, error) {
	return h.s.keeper().Begin(r, credential.Target{Host: h.f.target.Host, Port: h.f.target.Port, TLS: h.scheme == "https"})
}

// refuseMalformed records what net/http only answers with 400, or in HTTP/2 with the end of a stream.
func (h *requests) refuseMalformed(err error) {
	e := h.f.event(policy.Decision{Reason: err.Error()})
	e.Kind, e.Status = audit.KindRequest, http.StatusBadRequest
	h.recorded.Store(true)
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
	if j, _ := r.In.Context().Value(judgedKey{}).(judged); j.pushes {
		r.Out.Header.Del("Accept-Encoding") // askForWhole reads the answer
	}
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
	j, ok := r.Context().Value(judgedKey{}).(judged)
	if !ok {
		return nil, errors.New("nobody has judged the request")
	}
	return j.exchange.RoundTrip(r, h.transport(j.decision))
}

// cleanResponse takes away what would lead the client around us.
func cleanResponse(r *http.Response) error {
	r.Header.Del("Alt-Svc")
	askForWhole(r)
	return nil
}

// failed answers when the target did not.
func (h *requests) failed(w http.ResponseWriter, r *http.Request, err error) {
	if a, ok := w.(*countedAnswer); ok {
		a.err = err.Error()
		if a.call != nil && a.call.refused != nil {
			a.call.refuse(w)
			return
		}
	}
	var denied refusal
	if errors.As(err, &denied) {
		writeError(w, r, http.StatusForbidden, denied.Reason, denied.Cure)
		return
	}
	var misused *credential.Refusal
	if errors.As(err, &misused) {
		writeError(w, r, http.StatusForbidden, misused.Reason, misused.Cure)
		return
	}
	var unavailable *credential.UnavailableError
	if errors.As(err, &unavailable) {
		writeError(w, r, http.StatusBadGateway, "bailey allows this request, but cannot read the secret "+unavailable.Secret+" that belongs into it: the host's record has the reason", "")
		return
	}
	reason := "the host's record has the reason" // which may name the host's resolver and networks
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		reason = certificate.Error()
	}
	writeError(w, r, http.StatusBadGateway, "bailey allows this request, but "+h.f.target.String()+" cannot be reached: "+reason, "")
}

// countedBody is stalled while nobody asks for more of it.
type countedBody struct {
	io.ReadCloser
	n     atomic.Int64
	stall *stall
}

func (b *countedBody) Read(p []byte) (int, error) {
	b.stall.stop()
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	if err == nil {
		b.stall.start()
	}
	return n, err
}

func (b *countedBody) Close() error {
	b.stall.stop()
	return b.ReadCloser.Close()
}

// countedAnswer notes what the target answered. It is stalled while a Write lasts.
type countedAnswer struct {
	http.ResponseWriter
	stall  *stall
	raw    func()
	call   *modelCall
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
	a.call.answered(status, a.Header())
	a.ResponseWriter.WriteHeader(status)
}

func (a *countedAnswer) Write(p []byte) (int, error) {
	a.stall.start()
	defer a.stall.stop()
	n, err := a.ResponseWriter.Write(p)
	a.n += int64(n)
	a.call.received(p[:n])
	return n, err
}
