package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// wantOne says that the record has this one event beside refused questions.
func (l *lab) wantOne(kind audit.Kind, method, path, reason string) {
	l.t.Helper()
	var found []audit.Event
	for _, e := range l.end() {
		if e.Kind != audit.KindDNS {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		l.t.Fatalf("events: %+v", found)
	}
	if e := found[0]; e.Kind != kind || e.Verdict != "deny" || e.Method != method || e.Path != path || !strings.Contains(e.Reason, reason) {
		l.t.Errorf("event: %+v", e)
	}
}

func TestRefusedConnectionsTeach(t *testing.T) {
	tests := map[string]struct {
		rule, host string // the host with the port, where it is none of the usual
		want, cure string
	}{
		"an unknown name":    {"good.test", "evil.test", "no rule allows POST on evil.test:", "bailey allow --method POST evil.test"},
		"another port":       {"good.test", "good.test:8080", "rule \"good.test\" (test) is for other ports", "bailey allow --method POST good.test:8080"},
		"a denied name":      {"deny evil.test", "evil.test", "is denied by rule \"evil.test\" (test)", ""},
		"a raw address":      {"good.test", publicAddr, "no rule allows POST on " + publicAddr, "bailey allow --method POST " + publicAddr},
		"a place inside":     {"good.test", "10.0.0.5", "no rule allows POST on 10.0.0.5", "bailey allow --method POST 10.0.0.5"},
		"an address of ours": {"good.test", "198.18.77.7:8080", "no rule allows POST on 198.18.77.7:8080", ""},
	}
	for kind, how := range kinds() {
		for name, tt := range tests {
			t.Run(kind+", "+name, func(t *testing.T) {
				w := newWeb(t, tt.rule)
				url := strings.Replace(how.url, "good.test", tt.host, 1) + "/a?secret"
				client := w.client(how.http2)
				res, err := client.Post(url, "text/plain", strings.NewReader("body"))
				got := body(t, res, err)
				if res.StatusCode != 403 || !strings.Contains(got, tt.want) || strings.Contains(got, "\n    "+tt.cure+"\n") != (tt.cure != "") {
					t.Errorf("%d %q", res.StatusCode, got)
				}
				w.wantUntouched()
				client.CloseIdleConnections()
				w.wantOne(audit.KindRequest, "POST", "/a", tt.want)
			})
		}
	}
}

func TestRefusedConnectionsTeachPrograms(t *testing.T) {
	for kind, how := range kinds() {
		t.Run(kind, func(t *testing.T) {
			w := newGood(t, hello)
			client := w.client(how.http2)
			for range 2 { // the first answer ends its connection in an orderly way
				req, _ := http.NewRequest("GET", how.url, nil)
				req.Header.Set("Accept", "application/json")
				res, err := client.Do(req)
				var page refusalPage
				if err := json.Unmarshal([]byte(body(t, res, err)), &page); err != nil || res.StatusCode != 403 || page.Error.Allow != "bailey allow --method GET good.test" {
					t.Errorf("%d %+v, %v", res.StatusCode, page, err)
				}
			}
			w.wantUntouched()
			w.setRules("good.test")
			res, err := client.Get(how.url)
			if got := body(t, res, err); got != "hello" {
				t.Errorf("control: %q", got)
			}
		})
	}
}

// What is no request for the refused host is reset, as ever, and recorded once.
func TestWhatCannotBeTaughtIsReset(t *testing.T) {
	hello := func(name string) string {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() { _ = tls.Client(theirs, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake() }()
		b := make([]byte, 4096)
		n, _ := ours.Read(b)
		return string(b[:n])
	}
	tests := map[string]struct {
		port uint16
		text string
	}{
		"silence":                {443, ""},
		"SSH":                    {2222, "SSH-2.0-OpenSSH_9.2\r\n"},
		"another server name":    {443, hello("good.test")},
		"no server name":         {443, hello("")},
		"a broken hello":         {443, "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"},
		"a request to SSH":       {22, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"},
		"a request to databases": {5432, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t, "good.test")
			conn := w.openName("evil.test", tt.port)
			if tt.text == "" {
				w.wantReset(conn)
			} else {
				w.wantResetAfter(conn, tt.text)
			}
			w.wantUntouched()
			w.wantOne(audit.KindConnect, "", "", fmt.Sprintf("no rule allows evil.test:%d", tt.port))
		})
	}
	t.Run("without an authority", func(t *testing.T) {
		l := newLab(t).start()
		l.wantResetAfter(l.openName("evil.test", 443), hello("evil.test"))
		l.wantOne(audit.KindConnect, "", "", "no rule allows evil.test:443")
	})
	t.Run("a program that does not trust us", func(t *testing.T) {
		w := newWeb(t)
		if _, err := w.clientOf(false, &tls.Config{RootCAs: pool(w.world)}).Get("https://evil.test/"); err == nil {
			t.Error("it gets an answer")
		}
		w.wantOne(audit.KindConnect, "", "", "no rule allows evil.test:443")
	})
}

func TestRefusedRequestsForAnotherHost(t *testing.T) {
	for name, want := range map[string]string{"evil.test": "403", "good.test": "421", "evil.test:81": "421", publicAddr: "421"} {
		w := newWeb(t, "good.test")
		conn := w.openName("evil.test", 80)
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", name)
		got, err := io.ReadAll(conn) // to its end: one answer
		if err != nil || strings.Count(string(got), "HTTP/1.1 ") != 1 || !strings.HasPrefix(string(got), "HTTP/1.1 "+want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		w.wantUntouched()
		w.wantOne(audit.KindRequest, "GET", "/", "")
	}
}

// Between a connection's refusal and its request the policy may change. Nothing was dialled, and nothing is.
func TestWhatBecomesAllowedIsTriedAgain(t *testing.T) {
	w := newGood(t, hello)
	conn := w.openName("good.test", 80)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: good.test\r\n")
	for w.taught.Load() == 0 {
		w.ask("good.test", dnsA) // until it has been judged
	}
	w.setRules("good.test")
	_, _ = io.WriteString(conn, "\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if got := body(t, res, err); res.StatusCode != 503 || !strings.Contains(got, "try again") {
		t.Errorf("%d %q", res.StatusCode, got)
	}
	w.wantUntouched()
	res, err = w.client(false).Get("http://good.test/")
	if got := body(t, res, err); got != "hello" {
		t.Errorf("control: %q", got)
	}
}

func TestTaughtConnectionsAreBounded(t *testing.T) {
	w := newWeb(t)
	var held []net.Conn
	for range maxTaught {
		conn := w.openName("evil.test", 80)
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: evil.test\r\n")
		held = append(held, conn)
	}
	for w.taught.Load() < maxTaught {
		w.ask("evil.test", dnsA)
	}
	w.wantResetAfter(w.openName("evil.test", 80), "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
	for _, conn := range held {
		_, _ = io.WriteString(conn, "\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if body(t, res, err); res.StatusCode != 403 {
			t.Errorf("%d", res.StatusCode)
		}
		_ = conn.Close()
	}
	for w.taught.Load() > 0 {
		w.ask("evil.test", dnsA)
	}
	res, err := w.client(false).Get("http://evil.test/")
	if body(t, res, err); res.StatusCode != 403 {
		t.Errorf("control: %d", res.StatusCode)
	}
}

// Times are of a clock that only moves while everybody waits.
func TestTeachingIsBoundedInTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"":                          serverFirst,
		"\x16\x03\x01\x02\x00\x01":  teachTimeout,
		"GET / HTTP/1.1\r\nHost: a": teachTimeout,
		http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00": teachTimeout, // with settings,
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLabNoWire(t)
			inside, ours := net.Pipe()
			go func() {
				_, _ = io.WriteString(inside, text)
				_, _ = io.Copy(io.Discard, inside)
			}()
			f := &flow{Flow: gateway.Flow{Conn: ours}, target: policy.Request{Host: "evil.test", Port: 80}}
			began := time.Now()
			l.teach(context.Background(), f, policy.Decision{Reason: "no"})
			if took := time.Since(began); took != want {
				t.Errorf("%q holds a connection for %v, want %v", text, took, want)
			}
			if len(l.events) != 1 || l.events[0].Reason != "no" {
				t.Errorf("events: %+v", l.events)
			}
		})
	}
}

// net/http answers these by itself.
func TestRequestsThatAreNoneAreRecorded(t *testing.T) {
	for _, rule := range []string{"good.test", "deny good.test"} {
		for _, port := range []uint16{80, 443} {
			w := newGood(t, hello, rule)
			if got := w.say(port, "GET /%zz?secret HTTP/1.1\r\nHost: good.test\r\n\r\n"); got != "400" || w.requests() != 0 {
				t.Errorf("answers: %q, and the world saw %d", got, w.requests())
			}
			found := 0
			for _, e := range w.end() {
				if e.Kind == audit.KindRequest && e.Verdict == "deny" && e.Status == 400 && !strings.Contains(e.Reason, "secret") {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%s, %d: %d refusals are in the record", rule, port, found)
			}
		}
	}
	w := newGood(t, hello, "good.test")
	conn := tls.Client(w.openName("good.test", 443), &tls.Config{RootCAs: pool(w.CA), ServerName: "good.test", NextProtos: []string{"h2"}})
	h2 := newFrames(t, conn)
	h2.request(1, ":path", "/%zz")
	h2.until(http2.FrameRSTStream)
	_ = conn.Close()
	if e := w.end()[0]; e.Kind != audit.KindRequest || e.Status != 400 || w.requests() != 0 {
		t.Errorf("event: %+v", e)
	}
}

func TestRefusalsToAnAddressNeedItsHost(t *testing.T) {
	w := newWeb(t)
	conn := w.open(netip.MustParseAddrPort(publicAddr + ":80"))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if body(t, res, err); res.StatusCode != 421 {
		t.Errorf("%d", res.StatusCode)
	}
}
