package egress

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// maxAnswerHead is the largest head of an answer, in bytes.
	maxAnswerHead = 256 << 10
	// downloadBuffer is how much of one answer is held for a client that does not read, over HTTP/2, where it bounds
	// the speed as well: 40 MB/s at 50 ms. DownloadBuffers is the same for all answers on one connection.
	downloadBuffer  = 2 << 20
	downloadBuffers = 16 << 20
)

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
			if err != nil {
				return nil, err
			}
			return h.keep(conn)
		},
		// Whatever the client inside checks: the host's roots, and the name that was judged.
		TLSClientConfig:        &tls.Config{ServerName: serverName(h.f.target), RootCAs: h.s.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    handshakeTimeout,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true, // the body stays as it is
		MaxResponseHeaderBytes: maxAnswerHead,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: downloadBuffer, MaxReceiveBufferPerConnection: downloadBuffers,
			MaxReadFrameSize: maxFrame, WriteByteTimeout: stallTimeout},
	}
	return h.transports[d.Private]
}

// outside is a connection to the target that ends with the sandbox's.
type outside struct {
	net.Conn
	of *requests
}

func (h *requests) keep(conn net.Conn) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.finished {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	o := &outside{conn, h}
	h.conns[o] = true
	return o, nil
}

func (o *outside) Close() error {
	o.of.mu.Lock()
	delete(o.of.conns, o)
	o.of.mu.Unlock()
	return o.Conn.Close()
}

// closeOutside ends the connections to the target. The transports would keep those that have just become idle for a
// while, and a sandbox that opens and closes connections would make that many.
func (h *requests) closeOutside() {
	h.mu.Lock()
	transports, conns := slices.Collect(maps.Values(h.transports)), slices.Collect(maps.Keys(h.conns))
	h.mu.Unlock()
	for _, t := range transports {
		t.CloseIdleConnections()
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

// serverName is target as certificates name it.
func serverName(target policy.Request) string {
	if target.Host == "" {
		return target.Addr.String()
	}
	return string(target.Host)
}
