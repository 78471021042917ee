package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// kinds are the ways that a request can come; each leads to the same judgement.
func kinds() map[string]struct {
	url   string
	http2 bool
} {
	return map[string]struct {
		url   string
		http2 bool
	}{
		"HTTP/1":          {"http://good.test", false},
		"HTTP/1 in TLS":   {"https://good.test", false},
		"HTTP/2 in TLS":   {"https://good.test", true},
		"HTTP/2 in clear": {"http://good.test", true},
	}
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// newGood is a lab with one web server, good.test.
func newGood(t testing.TB, handle http.HandlerFunc, rules ...string) *web {
	w := newWeb(t, rules...)
	w.named("good.test", publicAddr)
	w.serve("good.test", 80, handle)
	w.serve("good.test", 443, handle)
	return w
}

// limit makes every rule one for some requests only.
func (w *web) limit(methods, paths []string) {
	w.lab.mu.Lock()
	defer w.lab.mu.Unlock()
	p := *w.rules
	p.Rules = slices.Clone(p.Rules)
	for i := range p.Rules {
		p.Rules[i].Methods, p.Rules[i].Paths = methods, paths
	}
	w.rules = &p
}

func body(t *testing.T, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAllowedRequestsPass(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			w := newGood(t, func(rw http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				rw.Header().Set("Alt-Svc", `h3=":443"`)
				_, _ = fmt.Fprintf(rw, "%s %s %s %s", r.Method, r.URL, r.Host, got)
			}, "good.test")
			client := w.client(kind.http2)
			for range 2 {
				req, _ := http.NewRequest("POST", kind.url+"/a%2Fb//c;d?secret=1;2&x=%zz", strings.NewReader("body"))
				req.Header.Set("X-Forwarded-Host", "evil.test")
				res, err := client.Do(req)
				if got := body(t, res, err); got != "POST /a%2Fb//c;d?secret=1;2&x=%zz good.test body" {
					t.Errorf("the world got %q", got)
				}
				if res.Header.Get("Alt-Svc") != "" {
					t.Error("Alt-Svc came through")
				}
			}
			client.CloseIdleConnections()
			for _, r := range w.seen {
				for _, header := range []string{"X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via"} {
					if r.Header.Get(header) != "" {
						t.Errorf("the world got %s: %s", header, r.Header.Get(header))
					}
				}
				if (r.ProtoMajor == 2) != kind.http2 {
					t.Errorf("the world was spoken to in %s", r.Proto)
				}
			}
			var got []string
			var response audit.Event
			for _, e := range w.end() {
				if e.Verdict != "allow" || e.Host != "good.test" || e.Flow != 1 || strings.Contains(fmt.Sprint(e), "secret") {
					t.Errorf("event: %+v", e)
				}
				if e.Kind == audit.KindResponse {
					response = e
				}
				// The second request may be quicker than the return of the first one's connection.
				if e.Kind != audit.KindConnect || !slices.Contains(got, "connect") {
					got = append(got, string(e.Kind))
				}
			}
			if want := []string{"request", "connect", "response", "request", "response", "close"}; !slices.Equal(got, want) {
				t.Fatalf("events are %v, want %v", got, want)
			}
			if e := response; e.Method != "POST" || e.Path != "/a%2Fb//c;d" || e.Status != 200 || e.BytesOut != 4 || e.BytesIn == 0 || e.Duration <= 0 {
				t.Errorf("response event: %+v", e)
			}
		})
	}
}

func TestRefusedRequestsTeach(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			w := newGood(t, hello, "good.test")
			w.limit([]string{"GET"}, nil)
			client := w.client(kind.http2)
			res, err := client.Post(kind.url+"/a?secret", "text/plain", strings.NewReader("body"))
			if got := body(t, res, err); res.StatusCode != 403 || !strings.Contains(got, "no rule allows POST on good.test:") ||
				!strings.Contains(got, "\n    bailey allow --method POST good.test\n") {
				t.Errorf("%d %q", res.StatusCode, got)
			}
			req, _ := http.NewRequest("DELETE", kind.url, nil)
			req.Header.Set("Accept", "application/json")
			res, err = client.Do(req)
			var page refusalPage
			if err := json.Unmarshal([]byte(body(t, res, err)), &page); err != nil || res.StatusCode != 403 ||
				page.Error.Allow != "bailey allow --method DELETE good.test" || page.Error.Message == "" {
				t.Errorf("%d %+v, %v", res.StatusCode, page, err)
			}
			if w.requests() != 0 {
				t.Error("the world was reached")
			}
			w.wantUntouched()
			res, err = client.Get(kind.url)
			if got := body(t, res, err); got != "hello" {
				t.Errorf("control: %q", got)
			}
			client.CloseIdleConnections()
			e := w.end()[0]
			if e.Kind != audit.KindRequest || e.Verdict != "deny" || e.Method != "POST" || e.Path != "/a" || e.Status != 403 || e.Reason == "" {
				t.Errorf("event: %+v", e)
			}
		})
	}
}

// Each request is judged by the policy of its own moment.
func TestPolicyIsAskedAgainForEachRequest(t *testing.T) {
	w := newGood(t, hello, "good.test")
	client := w.client(true)
	res, err := client.Get("https://good.test")
	if got := body(t, res, err); got != "hello" {
		t.Errorf("control: %q", got)
	}
	w.limit([]string{"POST"}, nil)
	res, err = client.Get("https://good.test")
	if body(t, res, err); res.StatusCode != 403 || w.requests() != 1 {
		t.Errorf("%d", res.StatusCode)
	}
}

// say sends text on a connection to good.test and returns the statuses that come back.
func (w *web) say(port uint16, text string) string {
	w.t.Helper()
	var conn net.Conn = w.openName("good.test", port)
	if port == 443 {
		conn = tls.Client(conn, &tls.Config{RootCAs: pool(w.CA), ServerName: "good.test"})
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return err.Error()
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	var got []string
	for r := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return strings.Join(got, " ")
		}
		_, _ = io.Copy(io.Discard, res.Body)
		got = append(got, res.Status[:3])
		if res.Close {
			return strings.Join(got, " ")
		}
	}
}

func TestRequestsForAnotherHostAreRefused(t *testing.T) {
	const end = "Connection: close\r\n\r\n"
	tests := map[string]struct{ request, want string }{
		"control":                     {"GET / HTTP/1.1\r\nHost: good.test\r\n" + end, "200"},
		"control: capitals and a dot": {"GET / HTTP/1.1\r\nHost: GOOD.test.\r\n" + end, "200"},
		"control: two requests":       {"GET / HTTP/1.1\r\nHost: good.test\r\n\r\nGET / HTTP/1.1\r\nHost: good.test\r\n" + end, "200 200"},
		"another Host":                {"GET / HTTP/1.1\r\nHost: evil.test\r\n" + end, "421"},
		"a host below it":             {"GET / HTTP/1.1\r\nHost: a.good.test\r\n" + end, "421"},
		"another port":                {"GET / HTTP/1.1\r\nHost: good.test:81\r\n" + end, "421"},
		"an empty port":               {"GET / HTTP/1.1\r\nHost: good.test:\r\n" + end, "421"},
		"a user":                      {"GET / HTTP/1.1\r\nHost: good.test@evil.test\r\n" + end, "400"},
		"its address":                 {"GET / HTTP/1.1\r\nHost: " + publicAddr + "\r\n" + end, "421"},
		"full-width letters":          {"GET / HTTP/1.1\r\nHost: ｇood.test\r\n" + end, "400"},
		"the second request's host":   {"GET / HTTP/1.1\r\nHost: good.test\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n" + end, "200 421"},
		"absolute form":               {"GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\n" + end, "400"},
		"absolute form, both":         {"GET SCHEME://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n" + end, "421"},
		"another scheme":              {"GET ftp://good.test/ HTTP/1.1\r\nHost: good.test\r\n" + end, "400"},
		"CONNECT":                     {"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n" + end, "405"},
		"CONNECT to the host itself":  {"CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\n" + end, "405"},
		"TRACE":                       {"TRACE / HTTP/1.1\r\nHost: good.test\r\n" + end, "405"},
		"asterisk form":               {"OPTIONS * HTTP/1.1\r\nHost: good.test\r\n" + end, "400"},
		"no Host":                     {"GET / HTTP/1.0\r\n" + end, "400"},
		"two Hosts":                   {"GET / HTTP/1.1\r\nHost: good.test\r\nHost: evil.test\r\n" + end, "400"},
		"both lengths":                {"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n" + end + "0\r\n\r\n", "400"},
		"a folded header":             {"GET / HTTP/1.1\r\nHost: good.test\r\nX: a\r\n b\r\n" + end, "400"},
		"a space before the colon":    {"GET / HTTP/1.1\r\nHost: good.test\r\nX : a\r\n" + end, "400"},
	}
	for _, port := range []uint16{80, 443} {
		for name, tt := range tests {
			t.Run(fmt.Sprintf("%d, %s", port, name), func(t *testing.T) {
				w := newGood(t, hello, "good.test")
				scheme := map[uint16]string{80: "http", 443: "https"}[port]
				if got := w.say(port, strings.ReplaceAll(tt.request, "SCHEME", scheme)); got != tt.want {
					t.Errorf("answers are %q, want %q", got, tt.want)
				}
				if got, want := w.requests(), strings.Count(tt.want, "200"); got != want {
					t.Errorf("the world saw %d requests, want %d", got, want)
				}
				denied := 0
				for _, e := range w.end() {
					if e.Kind == audit.KindRequest && e.Verdict == "deny" && e.Reason != "" {
						denied++
					}
				}
				if want := strings.Count(tt.want, "4"); denied != want && !strings.HasPrefix(tt.want, "421") {
					t.Errorf("%d refusals are in the record, want %d", denied, want)
				}
			})
		}
	}
}

func TestHTTP2AuthorityMustAgree(t *testing.T) {
	w := newGood(t, hello, "good.test")
	client := w.client(true)
	for host, want := range map[string]int{"good.test": 200, "evil.test": 421, "good.test:8443": 421} {
		req, _ := http.NewRequest("GET", "https://good.test/", nil)
		req.Host = host
		res, err := client.Do(req)
		if body(t, res, err); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, res.StatusCode, want)
		}
	}
	if w.requests() != 1 {
		t.Errorf("the world saw %d requests", w.requests())
	}
}

func TestTLSForAnotherNameIsReset(t *testing.T) {
	for rule, port := range map[string]uint16{"good.test": 443, "tunnel:good.test": 443} {
		for name, opens := range map[string]bool{"good.test": true, "GOOD.test": true, "evil.test": false, "": false} {
			t.Run(rule+", "+name, func(t *testing.T) {
				w := newGood(t, hello, rule)
				conn := tls.Client(w.openName("good.test", port), &tls.Config{ServerName: name, InsecureSkipVerify: true})
				defer conn.Close()
				err := conn.Handshake()
				if (err == nil) != opens {
					t.Errorf("handshake: %v", err)
				}
				if opens {
					return
				}
				w.wantUntouched()
				if e := w.end()[0]; e.Verdict != "deny" || !strings.Contains(e.Reason, "another server name") {
					t.Errorf("event: %+v", e)
				}
			})
		}
	}
}

func TestTunnelIsUnread(t *testing.T) {
	w := newGood(t, hello, "tunnel:good.test")
	inside := w.clientOf(true, &tls.Config{RootCAs: pool(w.world)}) // the world's own certificate comes through
	res, err := inside.Get("https://good.test/path")
	if got := body(t, res, err); got != "hello" {
		t.Errorf("%q", got)
	}
	inside.CloseIdleConnections()
	if _, err := w.client(true).Get("https://good.test/"); err == nil {
		t.Error("bailey's certificate comes through a tunnel")
	}
	for _, e := range w.end() {
		if e.Path != "" || e.Kind == audit.KindRequest {
			t.Errorf("event: %+v", e)
		}
	}
}

func TestOtherProtocolsNeedTheirOwnRule(t *testing.T) {
	for _, text := range []string{"SSH-2.0-OpenSSH_9.2\r\n", "\x00\x00\x00\x08\x04\xd2\x16\x2f", "EHLO a.test\r\n", "*1\r\n$4\r\nPING\r\n"} {
		w := newWeb(t, "good.test")
		w.named("good.test", publicAddr)
		w.host(publicAddr+":443", echo)
		w.wantResetAfter(w.openName("good.test", 443), text)
		w.wantUntouched()
		w.setRules("tcp:good.test:443")
		conn := w.openName("good.test", 443)
		_, _ = io.WriteString(conn, text)
		_ = conn.CloseWrite()
		if got, err := io.ReadAll(conn); err != nil || string(got) != text {
			t.Errorf("control: %q, %v", got, err)
		}
		if e := w.end()[0]; e.Verdict != "deny" || !strings.Contains(e.Reason, "neither TLS nor HTTP") {
			t.Errorf("event: %+v", e)
		}
	}
}

func TestServersThatSpeakFirst(t *testing.T) {
	greet := func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello"); echo(c) }
	for name, rules := range map[string]*policy.Policy{
		"by a tcp rule": nil, "by default": {Default: policy.Allow},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, "tcp:good.test:25")
			w.named("good.test", publicAddr)
			w.host(publicAddr+":25", greet)
			if rules != nil {
				w.lab.mu.Lock()
				w.rules = rules
				w.lab.mu.Unlock()
			}
			conn := w.openName("good.test", 25)
			got := make([]byte, 5)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
				t.Fatalf("%q, %v", got, err)
			}
			w.wantEcho(conn)
		})
	}
}

func TestByDefaultAllowed(t *testing.T) {
	w := newGood(t, hello)
	w.lab.mu.Lock()
	w.rules = &policy.Policy{Default: policy.Allow}
	w.lab.mu.Unlock()
	res, err := w.clientOf(true, &tls.Config{RootCAs: pool(w.world)}).Get("https://good.test/")
	if got := body(t, res, err); got != "hello" {
		t.Errorf("TLS: %q", got)
	}
	if got := w.say(80, "GET / HTTP/1.1\r\nHost: good.test\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n"); got != "200 421" {
		t.Errorf("answers: %s", got)
	}
	w.host(publicAddr+":7", echo)
	w.wantEcho(w.openName("good.test", 7))
}

func TestUpstreamCertificatesAreChecked(t *testing.T) {
	w := newWeb(t, "good.test", "wrong.test")
	for _, name := range []string{"wrong.test", "good.test"} {
		w.named("wrong.test", publicAddr)
		w.named("good.test", publicAddr)
		w.serve("good.test", 443, hello)
		// Whatever the client inside checks.
		res, err := w.clientOf(true, &tls.Config{InsecureSkipVerify: true}).Get("https://" + name + "/")
		got := body(t, res, err)
		if wrong := name == "wrong.test"; wrong != (res.StatusCode == 502) || wrong && !strings.Contains(got, "certificate is valid for good.test") {
			t.Errorf("%s: %d %q", name, res.StatusCode, got)
		}
	}
	if w.requests() != 1 {
		t.Errorf("the world saw %d requests", w.requests())
	}
}

func TestFailuresAreHonest(t *testing.T) {
	w := newWeb(t, "dead.test", "unknown.test", "inside.test")
	w.named("dead.test", publicAddr)
	w.named("inside.test", "10.0.0.1")
	for name, want := range map[string]int{"dead.test": 502, "unknown.test": 502, "inside.test": 403} {
		res, err := w.client(false).Get("http://" + name + "/")
		if got := body(t, res, err); res.StatusCode != want || !strings.HasPrefix(got, "bailey: ") || strings.Contains(got, "no such host") {
			t.Errorf("%s: %d %q", name, res.StatusCode, got)
		}
	}
}

// By whatever door they come.
func TestRequestsThatCannotBeRecordedAreDenied(t *testing.T) {
	for name, kind := range kinds() {
		for door, open := range map[string]func(*web, bool) *http.Client{"directly": (*web).client, "by the proxy": (*web).proxied} {
			if door != "directly" && kind.http2 && strings.HasPrefix(kind.url, "http:") {
				continue // no client sends that to a proxy
			}
			t.Run(name+", "+door, func(t *testing.T) {
				w := newGood(t, hello, "good.test")
				w.fill(errors.New("disk full"))
				res, err := open(w, kind.http2).Get(kind.url)
				if got := body(t, res, err); res.StatusCode != 502 || w.requests() != 0 {
					t.Errorf("%d %q, and the world saw %d", res.StatusCode, got, w.requests())
				}
				w.fill(nil)
				res, err = open(w, kind.http2).Get(kind.url)
				if got := body(t, res, err); got != "hello" {
					t.Errorf("control: %q", got)
				}
			})
		}
	}
}

// Both ways are streams: the answer begins before the request has ended, and goes on after it.
func TestStreamsAreNotHeldUp(t *testing.T) {
	for name, kind := range kinds() {
		if !kind.http2 {
			continue // HTTP/1 clients send first
		}
		t.Run(name, func(t *testing.T) {
			w := newGood(t, func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Trailer", "Grpc-Status")
				rw.WriteHeader(200)
				_ = http.NewResponseController(rw).Flush()
				for in := bufio.NewScanner(r.Body); in.Scan(); {
					_, _ = fmt.Fprintf(rw, "%s back\n", in.Text())
					_ = http.NewResponseController(rw).Flush()
				}
				rw.Header().Set("Grpc-Status", "0")
			}, "good.test")
			r, send := io.Pipe()
			req, _ := http.NewRequest("POST", kind.url, r)
			res, err := w.client(true).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewReader(res.Body)
			for i := range 3 {
				_, _ = fmt.Fprintf(send, "%d\n", i)
				if got, err := answers.ReadString('\n'); got != fmt.Sprintf("%d back\n", i) {
					t.Fatalf("%q, %v", got, err)
				}
			}
			_ = send.Close()
			if _, err := io.ReadAll(answers); err != nil || res.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("the end: %v, trailer %v", err, res.Trailer)
			}
			_ = res.Body.Close()
		})
	}
}

func TestServerSentEventsAreNotHeldUp(t *testing.T) {
	for _, url := range []string{"http://good.test", "https://good.test"} {
		more := make(chan bool)
		w := newGood(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			for range 3 {
				_, _ = io.WriteString(rw, "data: x\n\n")
				_ = http.NewResponseController(rw).Flush()
				<-more
			}
		}, "good.test")
		res, err := w.client(false).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := io.ReadFull(res.Body, make([]byte, len("data: x\n\n"))); err != nil {
				t.Fatal(err)
			}
			more <- true
		}
		_ = res.Body.Close()
	}
}

func TestUpgrades(t *testing.T) {
	handle := func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			hello(rw, r)
			return
		}
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_, _ = io.Copy(conn, buffered)
	}
	for _, port := range []uint16{80, 443} {
		for protocol, upgrades := range map[string]bool{"websocket": true, "h2c": false} {
			t.Run(fmt.Sprintf("%d, %s", port, protocol), func(t *testing.T) {
				w := newGood(t, handle, "good.test")
				var conn net.Conn = w.openName("good.test", port)
				if port == 443 {
					conn = tls.Client(conn, &tls.Config{RootCAs: pool(w.CA), ServerName: "good.test"})
				}
				defer conn.Close()
				_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAAA\r\n\r\n", protocol)
				r := bufio.NewReader(conn)
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if !upgrades {
					if got := body(t, res, err); res.StatusCode != 200 || got != "hello" {
						t.Errorf("%d %q", res.StatusCode, got)
					}
					return
				}
				if res.StatusCode != 101 {
					t.Fatalf("%d", res.StatusCode)
				}
				frame := bytes.Repeat([]byte("\x81\x05hello\r\n\r\n"), 10000)
				go func() { _, _ = conn.Write(frame) }()
				if got, err := io.ReadAll(io.LimitReader(r, int64(len(frame)))); err != nil || !bytes.Equal(got, frame) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
	}
}

func TestRequestsToAnAddress(t *testing.T) {
	w := newWeb(t, publicAddr)
	w.serve(publicAddr, 443, hello)
	w.serve(publicAddr, 80, hello)
	for _, scheme := range []string{"http", "https"} {
		res, err := w.client(false).Get(scheme + "://" + publicAddr + "/")
		if got := body(t, res, err); got != "hello" {
			t.Errorf("%s: %q", scheme, got)
		}
		req, _ := http.NewRequest("GET", scheme+"://"+publicAddr+"/", nil)
		req.Host = "good.test"
		res, err = w.client(false).Do(req)
		if body(t, res, err); res.StatusCode != 421 {
			t.Errorf("%s, a name for the address: %d", scheme, res.StatusCode)
		}
	}
	conn := tls.Client(w.open(netip.MustParseAddrPort(publicAddr+":443")), &tls.Config{ServerName: "good.test", InsecureSkipVerify: true})
	if err := conn.Handshake(); err == nil {
		t.Error("a server name of the sandbox's choice is taken for an address")
	}
}

// A program that goes away takes its request along.
func TestTheEndInsideEndsTheRequest(t *testing.T) {
	ended := make(chan bool, 1)
	w := newGood(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(200)
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		ended <- true
	}, "good.test")
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://good.test/", nil)
	res, err := w.client(false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = res.Body.Close()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the request goes on")
	}
}

func TestWithoutAnAuthorityTLSIsRefused(t *testing.T) {
	w := newGood(t, hello, "good.test")
	res, err := w.client(false).Get("https://good.test/")
	if got := body(t, res, err); got != "hello" {
		t.Errorf("control: %q", got)
	}
	bare := newLab(t, "good.test").start()
	conn := tls.Client(bare.openName("good.test", 443), &tls.Config{ServerName: "good.test", InsecureSkipVerify: true})
	if err := conn.Handshake(); err == nil {
		t.Error("it is passed on")
	}
	bare.wantUntouched()
}
