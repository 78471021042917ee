package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/egress/framing"
)

// wantGood says that another client of the sandbox's is served.
func (w *web) wantGood() {
	w.t.Helper()
	res, err := w.client(true).Get("http://good.test/")
	if err != nil || res.StatusCode != 200 {
		w.t.Errorf("another client gets %v, %v", res, err)
	}
	if err == nil {
		_ = res.Body.Close()
	}
}

func TestRequestsAreBounded(t *testing.T) {
	release := make(chan bool)
	var arrived sync.WaitGroup
	arrived.Add(maxRequests)
	w := newGood(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			arrived.Done()
			<-release
		}
	}, "good.test")
	for range maxRequests / 128 {
		conn := w.openName("good.test", 80)
		h2 := newFrames(t, conn)
		for i := range uint32(128) {
			if err := h2.request(2*i+1, ":scheme", "http", ":method", "POST"); err != nil {
				t.Fatal(err)
			}
		}
	}
	arrived.Wait()
	res, err := w.client(true).Get("http://good.test/")
	if got := body(t, res, err); res.StatusCode != 503 || !strings.Contains(got, "already has 512 requests open") {
		t.Errorf("%d %q", res.StatusCode, got)
	}
	close(release)
	for w.Server.requests.Load() > 0 {
		w.ask("good.test", dnsA)
	}
	w.wantGood()
	denied := 0
	for _, e := range w.end() {
		if e.Kind == audit.KindRequest && e.Verdict == "deny" && e.Status == 503 {
			denied++
		}
	}
	if denied != 1 {
		t.Errorf("%d refusals are in the record", denied)
	}
}

func TestHTTP2SaysItsLimits(t *testing.T) {
	w := newGood(t, hello, "good.test")
	settings := newFrames(t, w.openName("good.test", 80)).until(http2.FrameSettings).(*http2.SettingsFrame)
	for id, want := range map[http2.SettingID]uint32{http2.SettingMaxConcurrentStreams: maxStreamsHTTP2, http2.SettingInitialWindowSize: uploadBuffer,
		http2.SettingMaxFrameSize: maxFrame, http2.SettingMaxHeaderListSize: framing.MaxHead + 320} {
		if value, _ := settings.Value(id); value != want {
			t.Errorf("%v is %d, want %d", id, value, want)
		}
	}
}

// A flood ends its connection, or leaves nothing behind but what is read and forgotten.
func TestHTTP2FloodsAreBounded(t *testing.T) {
	const enough, some = 20_000, 2000 // frames
	field := strings.Repeat("x", 4000)
	begin := func(h2 *frames, i uint32, fields ...string) error {
		if i == 0 {
			return h2.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h2.head(fields...)})
		}
		return h2.WriteContinuation(1, false, h2.head(fields...))
	}
	for name, flood := range map[string]struct {
		reads, ends bool // the client reads the answers; the connection is ended
		send        func(h2 *frames, i uint32) error
	}{
		"pings": {false, true, func(h2 *frames, _ uint32) error { return h2.WritePing(false, [8]byte{}) }},
		"settings": {false, false, func(h2 *frames, _ uint32) error { // one answer is owed for all of them
			return h2.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
		}},
		"a head without an end": {true, true, func(h2 *frames, i uint32) error { return begin(h2, i, "x", field) }},
		"a frame that is too long": {true, true, func(h2 *frames, _ uint32) error {
			return h2.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, maxFrame+1))
		}},
		"too many streams": {true, false, func(h2 *frames, i uint32) error {
			return h2.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: h2.head(":scheme", "http", ":method", "POST"), EndHeaders: true})
		}},
		"streams that are taken back": {true, false, func(h2 *frames, i uint32) error {
			return errors.Join(h2.request(2*i+1, ":scheme", "http"), h2.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l, inside, _, finish := slow(t, true, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
			if flood.reads {
				go func() { _, _ = io.Copy(io.Discard, inside) }()
			}
			h2 := newFrames(t, inside)
			if err := h2.WritePing(true, [8]byte{}); err != nil {
				t.Fatalf("control: %v", err)
			}
			ended, most := false, int64(0)
			frames := uint32(enough)
			if flood.reads && !flood.ends {
				frames = some
			}
			for i := uint32(0); i < frames && !ended; i++ {
				ended = flood.send(h2, i) != nil
				most = max(most, l.Server.requests.Load())
			}
			if flood.ends && !ended {
				t.Errorf("the connection survives %d of them", frames)
			}
			if most > maxStreamsHTTP2 {
				t.Errorf("%d requests were open", most)
			}
			finish()
		})
	}
}

// A short head can stand for a long one: each reference to an entry of the table costs a byte.
func TestCompressedHeadsAreBounded(t *testing.T) {
	for n, want := range map[int]string{10: "200", 1000: "431"} {
		w := newGood(t, hello, "good.test")
		h2 := newFrames(t, w.openName("good.test", 80))
		var fields []string
		for range n {
			fields = append(fields, "x", strings.Repeat("x", 1000))
		}
		// The encoder sends the field once and refers to it from then on.
		block := bytes.Clone(h2.head(append([]string{":scheme", "http"}, fields...)...))
		if len(block) > 8<<10 {
			t.Fatalf("the head has %d bytes", len(block))
		}
		_ = h2.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
		if status := statusOf(h2.until(http2.FrameHeaders).(*http2.HeadersFrame)); status != want {
			t.Errorf("%d fields: %s, want %s", n, status, want)
		}
		if passed := w.requests() == 1; passed != (want == "200") {
			t.Errorf("%d fields: the world saw %d requests", n, w.requests())
		}
	}
}

// Memory for clients that are slow on purpose. Both sides are in this process, so a client's own part counts too.
func TestSlowClientsAreBounded(t *testing.T) {
	const clients, each = 1000, 100 << 10
	long := "GET / HTTP/1.1\r\nHost: good.test\r\nX: " + strings.Repeat("x", framing.MaxHead)
	tests := map[string]struct {
		port uint16
		tls  bool
		text string
	}{
		"silence":                       {80, false, ""},
		"a hello that does not end":     {443, false, "\x16\x03\x01\x3f\x00" + strings.Repeat("\x01", 15<<10)},
		"a line that does not end":      {80, false, "GET /" + strings.Repeat("a", 15<<10)},
		"a head that does not end":      {80, false, long[:framing.MaxHead-100]},
		"a head that does not end, TLS": {443, true, long[:framing.MaxHead-100]},
		"idle, TLS":                     {443, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newGood(t, hello, "good.test")
			before := held()
			var conns []net.Conn
			for range clients {
				var conn net.Conn = w.openName("good.test", tt.port)
				if tt.tls {
					c := tls.Client(conn, &tls.Config{RootCAs: pool(w.CA), ServerName: "good.test"})
					if err := c.Handshake(); err != nil {
						t.Fatal(err)
					}
					conn = c
				}
				_, _ = io.WriteString(conn, tt.text) // or it is reset, where there are too many
				conns = append(conns, conn)
			}
			w.wantGood()
			per := (held() - before) / clients
			t.Logf("%d KiB for each client", per>>10)
			if per > each {
				t.Errorf("a client holds %d bytes, want at most %d", per, each)
			}
			for _, conn := range conns {
				_ = conn.Close()
			}
			for w.Server.flows.Load() > 1 { // the last is wantGood's
				w.ask("good.test", dnsA)
			}
			if got := w.say(80, long[:20<<10]+"\r\nConnection: close\r\n\r\n"); got != "200" {
				t.Errorf("afterwards a long head gets %q", got)
			}
		})
	}
}

// held is the memory in use.
func held() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
