package egress

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/egress/framing"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// field is one header field of HTTP/2 as a client wrote it, a false one too.
type field struct{ name, value string }

// fields reads text, one "name value" in a line, as the fields of one request.
func fields(text string) []field {
	var list []field
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		list = append(list, field{name, value})
	}
	return list
}

// send sends one request with these very fields on a new HTTP/2 connection without TLS to good.test, and returns
// the status of the answer, "" when the stream or the connection was ended instead.
func (w *web) send(list []field) string {
	conn := w.openName("good.test", 80)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range list {
		_ = encoder.WriteField(hpack.HeaderField{Name: f.name, Value: f.value})
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return ""
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}

// seeds are requests by their fields, and whether the world may see them.
func seeds() map[string]bool {
	get := ":method GET\n:scheme http\n:authority good.test\n:path /\n"
	return map[string]bool{
		get:                                 true,
		get + "host good.test\n":            true,
		get + "x-a b\nx-a c\n":              true,
		get + "te trailers\n":               true,
		get + "host evil.test\n":            false,
		get + "host\n":                      false,
		get + "transfer-encoding chunked\n": false,
		get + "connection close\n":          false,
		get + "Upper case\n":                false,
		get + "x-a b\r\nhost: evil.test\n":  false,
		get + "x a b\x00c\n":                false,
		get + ":path /admin\n":              false,
		get + ":authority evil.test\n":      false,
		get + "x-a b\n:method POST\n":       false,
		get + ":strange x\n":                false,
		":method GET\n:scheme http\n:authority evil.test\n:path /\n":                          false,
		":method GET\n:scheme http\n:authority good.test:81\n:path /\n":                       false,
		":method GET\n:scheme http\n:authority good.test@evil.test\n:path /\n":                false,
		":method GET\n:scheme http\n:authority good.test\x00.evil.test\n:path /\n":            false,
		":method GET\n:scheme http\n:authority good.test\n:path //evil.test/\n":               true,
		":method GET\n:scheme http\n:authority good.test\n:path http://evil.test/\n":          false,
		":method GET\n:scheme https\n:authority good.test\n:path /\n":                         true, // the scheme is made anew
		":method GET\n:scheme http\n:authority good.test\n:path\n":                            false,
		":method GET\n:scheme http\n:authority good.test\n:path a\n":                          false,
		":method CONNECT\n:authority good.test:80\n":                                          false,
		":method CONNECT\n:protocol websocket\n:scheme http\n:authority good.test\n:path /\n": false,
		":method TRACE\n:scheme http\n:authority good.test\n:path /\n":                        false,
		":method OPTIONS\n:scheme http\n:authority good.test\n:path *\n":                      false,
		":method G ET\n:scheme http\n:authority good.test\n:path /\n":                         false,
		":method GET\n:scheme http\n:path /\n":                                                false,
		":method GET\n:scheme http\n:path /\nhost good.test\n":                                true,
		":scheme http\n:authority good.test\n:path /\n":                                       false,
	}
}

// What HTTP/2 carries beside HTTP/1's fields cannot say two things either.
func TestHTTP2FieldsHaveOneReading(t *testing.T) {
	w := newGood(t, hello, "good.test")
	for text, want := range seeds() {
		before := w.requests()
		status := w.send(fields(text))
		if passed := w.requests() > before; passed != want || passed != (status == "200") {
			t.Errorf("%q: the world saw it: %v, want %v; status %q", text, passed, want, status)
		}
	}
}

// Whatever the fields are, what the world sees is a request for the host of the connection.
func FuzzHTTP2Fields(f *testing.F) {
	for text := range seeds() {
		f.Add(text)
	}
	w := newGood(f, hello, "good.test")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8<<10 {
			t.Skip("longer than any head that says something new")
		}
		w.t = t
		defer func() { w.t = f }()
		w.send(fields(text))
		w.mu.Lock()
		defer w.mu.Unlock()
		seen := w.seen
		w.seen = nil
		for _, r := range seen {
			if host, _, err := net.SplitHostPort(r.Host + ":80"); r.Host != "good.test" && (err != nil || host != "good.test") {
				t.Errorf("%q reached the world for %q", text, r.Host)
			}
			if r.Method == "CONNECT" || r.Method == "TRACE" || !strings.HasPrefix(r.URL.Path, "/") || strings.ContainsAny(fmt.Sprint(r.Header), "\r\n\x00") {
				t.Errorf("%q reached the world as %s %q %q", text, r.Method, r.URL, r.Header)
			}
		}
	})
}

// A connection that ends while its requests begin ends alone: what it has begun is waited for, and nothing begins after.
func TestRequestsMayBeginAsTheirConnectionEnds(t *testing.T) {
	w := newGood(t, hello, "good.test")
	for i := range 400 {
		conn := w.openName("good.test", 80)
		f := newFrames(t, conn)
		for id := range uint32(20) {
			if err := f.request(2*id+1, ":scheme", "http", ":path", "/"+strings.Repeat("a", i%7)); err != nil {
				break
			}
		}
		reset(conn)
	}
	w.wantGood()
}

func TestNoRequestBeginsAfterItsConnection(t *testing.T) {
	w := newGood(t, hello, "good.test")
	inside, program := net.Pipe()
	defer program.Close()
	target := policy.Request{Host: "good.test", Port: 80}
	f := &flow{Flow: gateway.Flow{Conn: inside}, target: target, open: &openFlow{req: target, end: func(err error) { t.Error(err) }}}
	h := w.Server.newRequests(t.Context(), f, w.Server.policy().Decide(f.target), newStream(inside, true, new(framing.Budget)), "http", true)
	serve := func() int {
		r := httptest.NewRequest(http.MethodGet, "http://good.test/", nil)
		h.ServeHTTP(httptest.NewRecorder(), r)
		return w.requests()
	}
	if n := serve(); n != 1 {
		t.Fatalf("the world saw %d requests of the open connection, want 1", n)
	}
	h.finish()
	if n := serve(); n != 1 {
		t.Errorf("the world saw a request of a connection that has ended")
	}
	if n := len(w.recorded(audit.KindRequest)); n != 1 {
		t.Errorf("%d requests are in the record, want 1", n)
	}
}
