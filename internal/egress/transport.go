package egress

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

// maxAnswerHead is the largest head of an answer, in bytes.
const maxAnswerHead = 256 << 10

// transport is the way to the target for a request that d allows. It speaks what the sandbox's connection speaks,
// or HTTP/1 where the target has no HTTP/2. There are two, so that a request that only a rule for public
// addresses allows never travels on a connection that another one has opened to a private address.
func (h *requests) transport(d policy.Decision) *http.Transport {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.transports[d.Private]; t != nil {
		return t
	}
	var speaks http.Protocols
	speaks.SetHTTP1(!h.http2 || h.scheme == "https")
	speaks.SetHTTP2(h.http2)
	speaks.SetUnencryptedHTTP2(h.http2)
	h.transports[d.Private] = &http.Transport{
		Protocols: &speaks,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			// The transport's context outlives the request, for the next one's sake, but not the connection.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(h.ctx, cancel)()
			conn, _, err := h.s.dial(ctx, h.f, d)
			return conn, err
		},
		// Whatever the client inside checks: the host's roots, and the name that was judged.
		TLSClientConfig:        &tls.Config{ServerName: serverName(h.f.target), RootCAs: h.s.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    handshakeTimeout,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true, // the body stays as it is
		MaxResponseHeaderBytes: maxAnswerHead,
	}
	return h.transports[d.Private]
}

// closeIdle gives up the connections that no request uses, and keeps others from becoming idle.
func (h *requests) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.transports {
		t.CloseIdleConnections()
	}
}

// serverName is target as certificates name it.
func serverName(target policy.Request) string {
	if target.Host == "" {
		return target.Addr.String()
	}
	return string(target.Host)
}
