package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// questions waits until n are open.
func (l *lab) questions(n int) []Question {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	for {
		list, seq := l.Questions().List()
		if len(list) == n {
			return list
		}
		if ctx.Err() != nil {
			l.t.Fatalf("want %d questions, there are %+v", n, list)
		}
		l.Questions().Wait(ctx, seq)
	}
}

// newAsking is newGood whose policy asks about what its rules do not speak of.
func newAsking(t testing.TB, handle http.HandlerFunc, rules ...string) *web {
	w := newGood(t, handle)
	w.setPolicy(policy.Ask, rules...)
	return w
}

// get is the answer to a request inside, when it comes.
func (w *web) get(client *http.Client, url string) <-chan string {
	answer := make(chan string, 1)
	go func() {
		res, err := client.Get(url)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		answer <- fmt.Sprintf("%d %s", res.StatusCode, text)
	}()
	return answer
}

func TestARequestWaitsForAHuman(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			w := newAsking(t, hello)
			client := w.client(kind.http2)
			answer := w.get(client, kind.url+"/a?secret=1")
			q := w.questions(1)[0]
			port := map[bool]uint16{true: 443, false: 80}[strings.HasPrefix(kind.url, "https")]
			if q.Host != "good.test" || q.Port != port || q.Protocol != policy.HTTP || q.Method != "GET" || q.Path != "/a" || q.Waiting != 1 ||
				q.Rule != fmt.Sprintf("good.test:%d", port) {
				t.Errorf("the question is %+v", q)
			}
			w.wantUntouched()
			w.Questions().Answer(q.ID, policy.Allow)
			if got := <-answer; got != "200 hello" {
				t.Errorf("the answer is %q", got)
			}
			// Once is once.
			answer = w.get(client, kind.url+"/b")
			w.Questions().Answer(w.questions(1)[0].ID, policy.Deny)
			if got := <-answer; !strings.HasPrefix(got, "403 ") || !strings.Contains(got, "no rule speaks of GET on good.test:") || !strings.Contains(got, "bailey allow --method GET good.test\n") {
				t.Errorf("the answer is %q", got)
			}
			if w.requests() != 1 {
				t.Errorf("the world was asked %d times", w.requests())
			}
			client.CloseIdleConnections()
			var got []string
			for _, e := range w.end() {
				got = append(got, string(e.Kind)+" "+e.Verdict+" "+e.Path)
			}
			want := []string{"ask ask /a", "request allow /a", "connect allow ", "response allow /a", "ask ask /b", "request deny /b", "close ask "}
			if !slices.Equal(got, want) {
				t.Errorf("events are %q, want %q", got, want)
			}
		})
	}
}

func TestOtherProtocolsWaitForAHuman(t *testing.T) {
	for name, first := range map[string]string{"the client speaks first": "hello", "the server speaks first": ""} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t).start()
			l.setPolicy(policy.Ask)
			l.named("good.test", publicAddr)
			l.host(publicAddr+":22", func(c *net.TCPConn) { _, _ = io.WriteString(c, "welcome "); echo(c) })
			speak := func() *net.TCPConn {
				conn := l.openName("good.test", 22)
				if _, err := io.WriteString(conn, first); err != nil {
					t.Fatal(err)
				}
				return conn
			}
			conn := speak()
			q := l.questions(1)[0]
			if q.Protocol != policy.TCP || q.Method != "" || q.Rule != "tcp:good.test:22" {
				t.Errorf("the question is %+v", q)
			}
			l.wantUntouched()
			l.Questions().Answer(q.ID, policy.Allow)
			l.Recheck() // a change of other rules does not take the word back
			_, _ = io.WriteString(conn, " more")
			_ = conn.CloseWrite()
			if got, err := io.ReadAll(conn); err != nil || string(got) != "welcome "+first+" more" {
				t.Errorf("the answer is %q, %v", got, err)
			}
			conn = speak()
			l.Questions().Answer(l.questions(1)[0].ID, policy.Deny)
			l.wantReset(conn)
			events := l.end()
			if e := events[1]; e.Kind != audit.KindConnect || e.Verdict != "allow" || !strings.Contains(e.Reason, "once by a human") {
				t.Errorf("the decision is %+v", e)
			}
			if e := events[len(events)-1]; e.Kind != audit.KindConnect || e.Verdict != "deny" || !strings.Contains(e.Reason, "a human has denied it this once") {
				t.Errorf("the decision is %+v", e)
			}
		})
	}
}

func TestWhatIsNotAskedAbout(t *testing.T) {
	l := newLab(t).start()
	l.setPolicy(policy.Ask, "known.test", "deny evil.test", "deny 93.185.0.0/24")
	inside := func(addr string, port uint16) *net.TCPConn {
		return l.open(netip.AddrPortFrom(netip.MustParseAddr(addr), port))
	}
	for name, attack := range map[string]func(){
		"a private address":            func() { l.wantReset(inside("10.0.0.1", 22)) },
		"the metadata service":         func() { l.wantReset(inside("169.254.169.254", 80)) },
		"the loopback":                 func() { l.wantReset(inside("127.0.0.1", 80)) },
		"a denied network":             func() { l.wantReset(inside("93.185.0.7", 22)) },
		"an address of this host":      func() { l.wantResetAfter(inside("93.184.0.99", 22), "x") },
		"an address that no name has":  func() { l.wantReset(inside("198.18.200.1", 443)) },
		"another protocol at a rule's": func() { l.wantResetAfter(l.openName("known.test", 443), "SSH-2.0-x\r\n") },
	} {
		t.Run(name, func(t *testing.T) { attack() })
	}
	for _, name := range []string{"evil.test", "host.bailey.internal"} {
		l.wantReset(l.openName(name, 22))
	}
	// Control: beside each of them somebody is asked.
	_, _ = io.WriteString(inside("93.184.1.7", 22), "x")
	_, _ = io.WriteString(l.openName("known.test", 22), "x")
	l.questions(2)
	l.wantUntouched()
}

func TestTLSForAnotherNameIsNotAskedAbout(t *testing.T) {
	w := newAsking(t, hello)
	handshake := func(name string) error {
		conn := tls.Client(w.openName("good.test", 443), &tls.Config{RootCAs: pool(w.CA), ServerName: name})
		defer conn.Close()
		return conn.HandshakeContext(t.Context())
	}
	if err := handshake("other.test"); err == nil {
		t.Error("a handshake for another name succeeded")
	}
	if err := handshake("good.test"); err != nil {
		t.Errorf("control: %v", err)
	}
	if list, _ := w.Questions().List(); len(list) != 0 {
		t.Errorf("asked: %+v", list)
	}
}

func TestTheHostsOwnAddressHasToBeNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		unspoken policy.Verdict
		addr     string
		rules    []string
		want     bool
	}{
		"open by default":            {policy.Allow, "93.184.0.99", nil, false},
		"control: another":           {policy.Allow, "93.184.0.98", nil, true},
		"control: a rule names it":   {policy.Deny, "93.184.0.99", []string{"tcp:93.184.0.99:22"}, true},
		"control: and under default": {policy.Allow, "93.184.0.99", []string{"tcp:93.184.0.99:22"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t).start()
			l.setPolicy(tt.unspoken, tt.rules...)
			l.host(tt.addr+":22", echo)
			conn := l.open(netip.MustParseAddrPort(tt.addr + ":22"))
			if tt.want {
				l.wantEcho(conn)
				return
			}
			l.wantResetAfter(conn, "x")
			l.wantUntouched()
		})
	}
}

func TestAnAnswerDoesNotOpenAddressesInside(t *testing.T) {
	w := newAsking(t, hello)
	w.named("inside.test", "10.0.0.1")
	answer := w.get(w.client(false), "http://inside.test/")
	w.Questions().Answer(w.questions(1)[0].ID, policy.Allow)
	if got := <-answer; !strings.HasPrefix(got, "403 ") || !strings.Contains(got, "inside.test leads to 10.0.0.1, a private address") {
		t.Errorf("the answer is %q", got)
	}
	if _, dialled := w.lab.seen(); len(dialled) != 0 {
		t.Errorf("dialled %v", dialled)
	}
}

func TestAProxysRequestsWaitForAHuman(t *testing.T) {
	w := newAsking(t, hello)
	for name, request := range map[string]string{
		"a whole URL": "GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
		"CONNECT":     "CONNECT good.test:80 HTTP/1.1\r\nHost: good.test:80\r\n\r\nGET / HTTP/1.1\r\nHost: good.test\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := w.open(netip.AddrPortFrom(netip.MustParseAddr(gateway.Gateway), proxyPort))
			_, _ = io.WriteString(conn, request)
			q := w.questions(1)[0]
			if q.Host != "good.test" || q.Port != 80 || q.Protocol != policy.HTTP {
				t.Errorf("the question is %+v", q)
			}
			before := w.requests()
			w.Questions().Answer(q.ID, policy.Allow)
			answer := bufio.NewReader(conn)
			for {
				line, err := answer.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(line, "HTTP/1.1 200 OK") {
					break
				}
			}
			if w.requests() != before+1 {
				t.Error("the world has not been asked")
			}
		})
	}
}

func TestARuleForOtherRequestsDoesNotSpeak(t *testing.T) {
	w := newAsking(t, hello, "good.test")
	w.limit([]string{"GET"}, []string{"/open/**"})
	client := w.client(false)
	if got := <-w.get(client, "http://good.test/open/x"); got != "200 hello" {
		t.Errorf("the rule's own request: %q", got)
	}
	answer := w.get(client, "http://good.test/other")
	w.Questions().Answer(w.questions(1)[0].ID, policy.Allow)
	if got := <-answer; got != "200 hello" {
		t.Errorf("the other request: %q", got)
	}
	conn := w.openName("good.test", 80)
	_, _ = io.WriteString(conn, "\x00\x01")
	if q := w.questions(1)[0]; q.Rule != "tcp:good.test:80" {
		t.Errorf("the question is %+v", q)
	}
}

func TestARuleAnswersWhoWaits(t *testing.T) {
	for rule, want := range map[string]string{"good.test": "200 hello", "deny good.test": "403 "} {
		w := newAsking(t, hello)
		answer := w.get(w.client(false), "http://good.test/")
		w.questions(1)
		w.setPolicy(policy.Ask, "x.test")
		w.Recheck()
		w.questions(1)
		w.setPolicy(policy.Ask, rule)
		w.Recheck()
		if got := <-answer; !strings.HasPrefix(got, want) || want == "403 " && !strings.Contains(got, "is denied by rule") {
			t.Errorf("%s: the answer is %q", rule, got)
		}
	}
}

func TestWhatARuleAllowedEndsWithIt(t *testing.T) {
	l := newLab(t).start()
	l.setPolicy(policy.Ask, "tcp:good.test:22")
	l.named("good.test", publicAddr)
	l.host(publicAddr+":22", echo)
	conn := l.openName("good.test", 22)
	_, _ = io.WriteString(conn, "x")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	l.setPolicy(policy.Ask)
	l.Recheck()
	l.wantReset(conn)
}

func TestADeniedNetworkCutsWhatAHumanAllowed(t *testing.T) {
	l := newLab(t).start()
	l.setPolicy(policy.Ask)
	l.named("good.test", publicAddr)
	l.host(publicAddr+":22", echo)
	conn := l.openName("good.test", 22)
	_, _ = io.WriteString(conn, "x")
	l.Questions().Answer(l.questions(1)[0].ID, policy.Allow)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	l.setPolicy(policy.Ask, "deny 93.184.0.0/16")
	l.Recheck()
	l.wantReset(conn)
}

func TestAProgramThatLeavesIsNotWaitedFor(t *testing.T) {
	post := func(w *web) io.Closer {
		conn := w.openName("good.test", 80)
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 1000\r\n\r\nnot all of it")
		return conn
	}
	sealed := func(w *web) io.Closer {
		conn := tls.Client(w.openName("good.test", 443), &tls.Config{RootCAs: pool(w.CA), ServerName: "good.test"})
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 1000\r\n\r\nnot all of it")
		return conn
	}
	for name, begin := range map[string]func(w *web) io.Closer{
		"a request": func(w *web) io.Closer {
			conn := w.openName("good.test", 80)
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n")
			return conn
		},
		"a request with a body":            post,
		"a request with a body, in TLS":    sealed,
		"another protocol's first bytes":   func(w *web) io.Closer { c := w.openName("good.test", 22); _, _ = io.WriteString(c, "x"); return c },
		"a client that waits for a server": func(w *web) io.Closer { return w.openName("good.test", 22) },
		"a stream of HTTP/2": func(w *web) io.Closer {
			ctx, cancel := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, "POST", "https://good.test/", strings.NewReader("body"))
			go func() {
				if res, err := w.client(true).Do(req); err == nil {
					_ = res.Body.Close()
				}
			}()
			return closer(cancel)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAsking(t, hello)
			c := begin(w)
			w.questions(1)
			_ = c.Close()
			w.questions(0)
			w.wantUntouched()
		})
	}
}

type closer func()

func (c closer) Close() error { c(); return nil }

func TestABodyWaitsUnread(t *testing.T) {
	w := newAsking(t, func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(rw, n)
	})
	const size = 64 << 20
	answer := make(chan string, 1)
	go func() {
		res, err := w.client(false).Post("http://good.test/", "", io.LimitReader(zeros{}, size))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		answer <- string(text)
	}()
	w.Questions().Answer(w.questions(1)[0].ID, policy.Allow)
	if got := <-answer; got != fmt.Sprint(size) {
		t.Errorf("the world got %s bytes", got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWhoWaitsEndsWithTheSandbox(t *testing.T) {
	w := newAsking(t, hello)
	answer := w.get(w.client(false), "http://good.test/")
	w.questions(1)
	w.end()
	if got := <-answer; strings.HasPrefix(got, "200") {
		t.Errorf("the answer is %q", got)
	}
	w.questions(0)
}

func TestAThousandHostsAtOnce(t *testing.T) {
	w := newAsking(t, hello)
	const hosts = 1000
	refused := make(chan string, hosts)
	var wg sync.WaitGroup
	for i := range hosts {
		conn := w.openName(fmt.Sprintf("h%d.test", i), 80)
		wg.Go(func() {
			_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h%d.test\r\n\r\n", i)
			if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				refused <- line
			}
		})
	}
	for range hosts - maxQuestions {
		if line := <-refused; !strings.Contains(line, " 403 ") {
			t.Errorf("the answer is %q", line)
		}
	}
	for _, q := range w.questions(maxQuestions) {
		w.Questions().Answer(q.ID, policy.Deny)
	}
	wg.Wait()
	if len(refused) != maxQuestions {
		t.Errorf("%d of those that were asked about got an answer", len(refused))
	}
	asked := 0
	for _, e := range w.end() {
		if e.Kind == audit.KindAsk {
			asked++
		}
	}
	if asked != maxQuestions {
		t.Errorf("%d questions are in the record", asked)
	}
	w.wantUntouched()
}
