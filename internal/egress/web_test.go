package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/certs"
)

// web is a lab whose sandbox and world have certificates.
type web struct {
	*lab
	world *certs.Authority // signs for every host of the world

	mu   sync.Mutex
	seen []*http.Request // by the world's web servers
}

func newWeb(t testing.TB, rules ...string) *web { return newPaidWeb(t, nil, rules...) }

// newPaidWeb is newWeb with what pays for models.
func newPaidWeb(t testing.TB, purse Purse, rules ...string) *web {
	own, err1 := certs.Open(filepath.Join(t.TempDir(), "own"))
	world, err2 := certs.Open(filepath.Join(t.TempDir(), "world"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	w := &web{lab: newLab(t, rules...), world: world}
	w.CA, w.Roots, w.Purse = own, pool(world), purse
	w.start()
	return w
}

func pool(a *certs.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(a.PEM())
	return p
}

// serve puts a web server into the world: with TLS where port is 443, and the certificate for name.
func (w *web) serve(name string, port uint16, handle http.HandlerFunc) {
	w.serveAt(publicAddr, name, port, handle)
}

// serveAt is serve at an address of the host's own.
func (w *web) serveAt(addr, name string, port uint16, handle http.HandlerFunc) {
	leaf, err := w.world.Leaf(name)
	if err != nil {
		w.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var speaks http.Protocols
	speaks.SetHTTP1(true)
	speaks.SetHTTP2(true)
	speaks.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: &speaks, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{*leaf}},
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.mu.Lock()
			w.seen = append(w.seen, r)
			w.mu.Unlock()
			handle(rw, r)
		})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if port == 443 {
			_ = server.ServeTLS(ln, "", "")
		} else {
			_ = server.Serve(ln)
		}
	}()
	w.t.Cleanup(func() { _ = server.Close(); <-done })
	w.lab.mu.Lock()
	defer w.lab.mu.Unlock()
	w.hosts[netip.AddrPortFrom(netip.MustParseAddr(addr), port)] = ln.Addr().String()
}

// requests is how many requests have reached the world.
func (w *web) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// client is a program inside: it trusts what the sandbox trusts.
func (w *web) client(http2 bool) *http.Client {
	return w.clientOf(http2, &tls.Config{RootCAs: pool(w.CA)})
}

func (w *web) clientOf(http2 bool, config *tls.Config) *http.Client {
	var speaks http.Protocols
	speaks.SetHTTP1(!http2)
	speaks.SetHTTP2(http2)
	speaks.SetUnencryptedHTTP2(http2)
	t := &http.Transport{Protocols: &speaks, TLSClientConfig: config, DisableCompression: true,
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(addr)
			n, _ := net.LookupPort("tcp", port)
			var conn *net.TCPConn
			if a, err := netip.ParseAddr(host); err == nil {
				conn = w.open(netip.AddrPortFrom(a, uint16(n)))
			} else {
				conn = w.openName(host, uint16(n))
			}
			return conn, conn.SetDeadline(time.Time{}) // the client has a limit for each request
		}}
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
