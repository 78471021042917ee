package egress

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// proxied is a client like client's that sends everything to the proxy.
func (w *web) proxied(http2 bool) *http.Client {
	client := w.client(http2)
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: fmt.Sprintf("%s:%d", selfName, proxyPort)})
	return client
}

func (l *lab) openProxy() *net.TCPConn {
	l.t.Helper()
	return l.open(netip.AddrPortFrom(netip.MustParseAddr(gateway.Gateway), proxyPort))
}

// connect asks the proxy for authority and returns the connection and the status.
func (l *lab) connectTo(authority string) (*net.TCPConn, int) {
	l.t.Helper()
	conn := l.openProxy()
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		l.t.Fatal(err)
	}
	return conn, res.StatusCode
}

// What goes through the proxy is judged as if it had not.
func TestTheProxyJudgesAlike(t *testing.T) {
	for kind, how := range kinds() {
		if strings.HasPrefix(how.url, "http:") && how.http2 {
			continue // no client sends that to a proxy
		}
		t.Run(kind, func(t *testing.T) {
			w := newGood(t, hello, "good.test", "deny denied.test")
			client := w.proxied(how.http2)
			get := func(host string) (int, string) {
				t.Helper()
				req, _ := http.NewRequest("GET", strings.Replace(how.url, "good.test", host, 1)+"/a?secret", nil)
				req.Header.Set("Proxy-Authorization", "Basic c2VjcmV0")
				req.Header.Set("Proxy-Connection", "keep-alive")
				res, err := client.Do(req)
				return res.StatusCode, body(t, res, err)
			}
			for range 2 {
				if status, got := get("good.test"); status != 200 || got != "hello" {
					t.Errorf("%d %q", status, got)
				}
			}
			for host, want := range map[string]string{"evil.test": "bailey allow --method GET evil.test\n", "denied.test": "is denied by rule",
				"good.test:8080": "is for other ports", "10.0.0.5": "no rule allows GET on 10.0.0.5"} {
				if status, got := get(host); status != 403 || !strings.Contains(got, want) {
					t.Errorf("%s: %d %q", host, status, got)
				}
			}
			w.limit([]string{"POST"}, nil)
			if status, got := get("good.test"); status != 403 || !strings.Contains(got, "is for other requests") {
				t.Errorf("another method: %d %q", status, got)
			}
			for _, r := range w.seen {
				if len(r.Header["Proxy-Authorization"])+len(r.Header["Proxy-Connection"]) > 0 || r.Host != "good.test" {
					t.Errorf("the world got %s, %v", r.Host, r.Header)
				}
			}
			if resolved, dialled := w.lab.seen(); len(w.seen) != 2 || len(dialled) != len(resolved) || len(dialled) > 2 {
				t.Errorf("the world saw %d requests, was asked for %v and dialled at %v", len(w.seen), resolved, dialled)
			}
			client.CloseIdleConnections()
			count := map[string]int{}
			for _, e := range w.end() {
				count[e.Host+" "+e.Verdict+" "+string(e.Kind)]++
			}
			if count["good.test allow request"] != 2 || count["good.test allow response"] != 2 || count["good.test allow close"] == 0 ||
				count["evil.test deny request"] != 1 || count["denied.test deny request"] != 1 || count["good.test deny request"] != 2 {
				t.Errorf("events: %v", count)
			}
		})
	}
}

func TestConnectCarriesOtherProtocols(t *testing.T) {
	l := newLab(t, "tcp:good.test:22", "good.test").start()
	l.named("good.test", publicAddr)
	l.host(publicAddr+":22", echo)
	conn, _ := l.connectTo("good.test:22")
	l.wantEcho(conn)
	// A client that does not wait for the answer.
	eager := l.openProxy()
	_, _ = io.WriteString(eager, "CONNECT good.test:22 HTTP/1.0\r\n\r\nhello")
	_ = eager.CloseWrite()
	if got, err := io.ReadAll(eager); err != nil || !strings.HasSuffix(string(got), "\r\n\r\nhello") {
		t.Errorf("%q, %v", got, err)
	}
	for _, port := range []int{23, 443} {
		conn, status := l.connectTo(fmt.Sprintf("good.test:%d", port))
		if status != 200 {
			t.Errorf("%d", status)
		}
		l.wantResetAfter(conn, "SSH-2.0-x\r\n")
	}
	late := l.openProxy()
	_, _ = io.WriteString(late, "CONNECT good.test:23 HTTP/1.1\r\n\r\nSSH-2.0-x\r\n")
	if _, err := io.ReadAll(late); err == nil {
		t.Error("a refusal behind early data is an orderly end")
	}
	if _, dialled := l.seen(); len(dialled) != 2 {
		t.Errorf("dialled %v", dialled)
	}
}

func TestTheProxyIsNoWayAround(t *testing.T) {
	const end = "Connection: close\r\n\r\n"
	allowed := "CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\n\r\n"
	tests := map[string]struct{ text, want string }{
		"control: CONNECT":              {allowed, "200"},
		"control: CONNECT without Host": {"CONNECT good.test:443 HTTP/1.0\r\n\r\n", "200"},
		"control: Host without port":    {"CONNECT GOOD.test.:443 HTTP/1.1\r\nHost: good.test.\r\n\r\n", "200"},
		"control: a request":            {"GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\n" + end, "200"},
		"the other Host":                {"CONNECT good.test:443 HTTP/1.1\r\nHost: evil.test\r\n\r\n", "400"},
		"two Hosts":                     {"CONNECT good.test:443 HTTP/1.1\r\nHost: good.test\r\nHost: good.test\r\n\r\n", "400"},
		"a body":                        {"CONNECT good.test:443 HTTP/1.1\r\nContent-Length: 1\r\n\r\na", "400"},
		"chunks":                        {"CONNECT good.test:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		"bare LF":                       {"CONNECT good.test:443 HTTP/1.1\n\n", "400"},
		"NUL":                           {"CONNECT evil.test\x00.good.test:443 HTTP/1.1\r\n\r\n", ""},
		"a user":                        {"CONNECT good.test@evil.test:443 HTTP/1.1\r\n\r\n", "400"},
		"no port":                       {"CONNECT good.test HTTP/1.1\r\n\r\n", "400"},
		"a path":                        {"CONNECT /good.test:443 HTTP/1.1\r\n\r\n", "400"},
		"itself":                        {"CONNECT bailey.internal:3128 HTTP/1.1\r\n\r\n", "400"},
		"its address":                   {"CONNECT 198.18.0.1:3128 HTTP/1.1\r\n\r\n", "400"},
		"a made-up address":             {"CONNECT 198.18.1.0:443 HTTP/1.1\r\n\r\n", "400"},
		"localhost":                     {"CONNECT localhost:80 HTTP/1.1\r\n\r\n", "400"},
		"below localhost":               {"CONNECT a.LOCALHOST.:80 HTTP/1.1\r\n\r\n", "400"},
		"the loopback":                  {"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n", "400"},
		"the loopback in IPv6":          {"CONNECT [::1]:80 HTTP/1.1\r\n\r\n", "400"},
		"the loopback in disguise":      {"CONNECT [::ffff:127.0.0.1]:80 HTTP/1.1\r\n\r\n", "400"},
		"a number":                      {"CONNECT 2130706433:80 HTTP/1.1\r\n\r\n", "400"},
		"a path to the proxy":           {"GET / HTTP/1.1\r\nHost: good.test\r\n" + end, "400"},
		"https":                         {"GET https://good.test/ HTTP/1.1\r\nHost: good.test\r\n" + end, "400"},
		"ftp":                           {"GET ftp://good.test/ HTTP/1.1\r\nHost: good.test\r\n" + end, "400"},
		"another Host":                  {"GET http://good.test/ HTTP/1.1\r\nHost: evil.test\r\n" + end, "400"},
		"a request to itself":           {"GET http://bailey.internal/ HTTP/1.1\r\nHost: bailey.internal\r\n" + end, "400"},
		"an address in capitals":        {"GET http://[2001:DB8::1]/ HTTP/1.1\r\nHost: [2001:DB8::1]\r\n" + end, "400"},
		"TRACE":                         {"TRACE http://good.test/ HTTP/1.1\r\nHost: good.test\r\n" + end, "405"},
		"CONNECT behind a request":      {"GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n" + "CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\n" + end, "200 400"},
		"CONNECT behind a CONNECT":      {allowed + allowed, "200 405"},
		"a TLS hello":                   {"\x16\x03\x01\x00\x05", ""},
		"HTTP/2":                        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newGood(t, hello, "good.test", "127.0.0.1:80")
			w.host("127.0.0.1:80", func(*net.TCPConn) { t.Error("the host's loopback was reached") })
			conn := w.openProxy()
			_, _ = io.WriteString(conn, tt.text)
			if strings.HasPrefix(tt.want, "200") && strings.HasPrefix(tt.text, "CONNECT") || tt.want == "" {
				_ = conn.CloseWrite()
			}
			var got []string
			for r := bufio.NewReader(conn); ; {
				method := ""
				if len(got) == 0 && strings.HasPrefix(tt.text, "CONNECT") {
					method = http.MethodConnect
				}
				res, err := http.ReadResponse(r, &http.Request{Method: method})
				if err != nil {
					break
				}
				got = append(got, res.Status[:3])
				if res.StatusCode == 200 && method == "" || strings.HasPrefix(tt.want, "4") {
					text, _ := io.ReadAll(res.Body)
					if res.StatusCode >= 400 && !strings.HasPrefix(string(text), "bailey: ") && string(text) != "400 Bad Request" {
						t.Errorf("the page is %q", text)
					}
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("answers are %q, want %q", got, tt.want)
			}
			if want := strings.Count(tt.text, "GET http://good.test/ HTTP/1.1\r\nHost: good.test"); w.requests() != want {
				t.Errorf("the world saw %d requests, want %d", w.requests(), want)
			}
			denied := 0
			for _, e := range w.end() {
				if e.Verdict == "deny" && e.Reason != "" {
					denied++
				}
			}
			if control := strings.HasPrefix(name, "control: a"); control != (denied == 0) || denied > 1 {
				t.Errorf("%d refusals are in the record", denied)
			}
		})
	}
}

// One connection, several hosts: each has its own judgement and its own way outside.
func TestForwardingChangesHosts(t *testing.T) {
	w := newWeb(t, "a.test", "b.test")
	for _, name := range []hostname.Name{"a.test", "b.test"} {
		w.named(name, publicAddr)
	}
	w.serve("a.test", 80, func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, r.Host+" "+r.RemoteAddr) })
	conn := w.openProxy()
	answers := bufio.NewReader(conn)
	say := func(host string) (int, string) {
		t.Helper()
		_, _ = fmt.Fprintf(conn, "GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n", host, host)
		res, err := http.ReadResponse(answers, nil)
		return res.StatusCode, body(t, res, err)
	}
	from := map[string]string{}
	for _, host := range []string{"a.test", "b.test", "a.test", "B.test."} {
		status, got := say(host)
		name, addr, _ := strings.Cut(got, " ")
		if status != 200 || name != strings.TrimSuffix(strings.ToLower(host), ".") || from[addr] != "" && from[addr] != name {
			t.Errorf("%s: %d %q, after %v", host, status, got, from)
		}
		from[addr] = name
	}
	if status, _ := say("evil.test"); status != 403 {
		t.Errorf("evil.test: %d", status)
	}
	_, _ = io.ReadAll(conn)
	flows := map[uint64]string{}
	for _, e := range w.end() {
		if other := flows[e.Flow]; other != "" && other != e.Host {
			t.Errorf("flow %d is to %s and %s", e.Flow, other, e.Host)
		}
		flows[e.Flow] = e.Host
		if e.Kind == audit.KindClose && e.Host == "evil.test" {
			t.Errorf("event: %+v", e)
		}
	}
	if len(flows) != 5 {
		t.Errorf("flows: %v", flows)
	}
}

func TestRecheckEndsWhatTheProxyForwards(t *testing.T) {
	w := newWeb(t, "a.test", "b.test")
	w.named("a.test", publicAddr)
	w.serve("a.test", 80, hello)
	conn := w.openProxy()
	_, _ = io.WriteString(conn, "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if got := body(t, res, err); got != "hello" {
		t.Fatalf("control: %q", got)
	}
	w.setRules("a.test")
	w.Recheck()
	w.setRules("b.test")
	w.Recheck()
	w.wantReset(conn)
	events := w.end()
	if e := events[len(events)-1]; e.Kind != audit.KindClose || !strings.HasPrefix(e.Error, "the policy has changed: ") {
		t.Errorf("event: %+v", e)
	}
	if len(w.Server.open.flows) != 0 {
		t.Error("the ended flow is still known")
	}
}

// CONNECT in what goes to a host is a request like another, also where a tunnel leads there.
func TestNoConnectInsideATunnel(t *testing.T) {
	w := newGood(t, hello, "good.test")
	raw, _ := w.connectTo("good.test:443")
	conn := tls.Client(raw, &tls.Config{RootCAs: pool(w.CA), ServerName: "good.test"})
	_, _ = io.WriteString(conn, "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\nConnection: close\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if body(t, res, err); res.StatusCode != 405 || w.requests() != 0 {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestParseAuthority(t *testing.T) {
	for text, want := range map[string]policy.Request{
		"Good.test.:443":    {Host: "good.test", Port: 443},
		"good.test":         {Host: "good.test", Port: 80},
		"bücher.test:1":     {Host: "xn--bcher-kva.test", Port: 1},
		"93.184.215.14:443": {Addr: netip.MustParseAddr(publicAddr), Port: 443},
		"[2001:db8::1]:443": {Addr: netip.MustParseAddr("2001:db8::1"), Port: 443},
		"[2001:db8::1]":     {Addr: netip.MustParseAddr("2001:db8::1"), Port: 80},
	} {
		if got, err := parseAuthority(text, 80); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ":80", "a.test:", "a.test:0", "a.test:65536", "a.test:+80", "a.test:080", "a.test:80:80", "[a.test]:80", "[1.2.3.4]:80",
		"2001:db8::1", "2001:db8::1:80", "[2001:db8::1", "[2001:DB8::1]:80", "[fe80::1%25eth0]:80", "[::ffff:1.2.3.4]:80", "1.2.3:80", "0x7f.1:80", "127.9.9.9:80",
		"198.19.255.255:80", "bailey.internal:443", "BAILEY.internal.:80", "x.localhost:80", "a_b.test:80", "a b:80"} {
		if got, err := parseAuthority(text, 80); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if got, err := parseAuthority("good.test", 0); err == nil {
		t.Errorf("without a port: %v", got)
	}
}

func FuzzParseAuthority(f *testing.F) {
	for _, text := range []string{"a.test:80", "[2001:db8::1]:443", "1.2.3.4:5", "localhost:80", "a.test\x00.b:80"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		req, err := parseAuthority(text, 80)
		if err != nil {
			return
		}
		if again, err := parseAuthority(req.String(), 0); err != nil || again != req || (req.Host == "") == !req.Addr.IsValid() {
			t.Fatalf("%q is %v, which is %v, %v", text, req, again, err)
		}
		if !meansTarget(req.String(), req) {
			t.Fatalf("%q is %v, which does not mean itself", text, req)
		}
	})
}
