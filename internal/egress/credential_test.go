package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	stands = "ph-0123456789abcdefghij"
	secret = "the-real-value-of-the-key"
)

// keep binds one secret to good.test and returns its alarms.
func (w *web) keep(value func(context.Context) (string, error)) func() []credential.Alarm {
	place, err1 := credential.ParsePlace("bearer")
	host, err2 := hostname.ParsePattern("good.test")
	if err := errors.Join(err1, err2); err != nil {
		w.t.Fatal(err)
	}
	var mu sync.Mutex
	var alarms []credential.Alarm
	k := credential.NewKeeper(credential.Config{
		Secrets:  []credential.Secret{{Name: "key", Placeholder: stands, Bindings: []credential.Binding{{Host: host, Port: 443, As: []credential.Place{place}}}, Value: value}},
		Canaries: []credential.Canary{{Name: "bait", Value: "canary-0123456789"}},
		Alarm:    func(a credential.Alarm) { mu.Lock(); defer mu.Unlock(); alarms = append(alarms, a) },
	})
	w.Credentials = func() *credential.Keeper { return k }
	return func() []credential.Alarm { mu.Lock(); defer mu.Unlock(); return alarms }
}

func known(context.Context) (string, error) { return secret, nil }

// newKept is a lab in which what a world's server gets as Authorization is what it answers.
func newKept(t *testing.T, value func(context.Context) (string, error), handle http.HandlerFunc) (*web, func() []credential.Alarm) {
	w := newGood(t, handle, "good.test", "other.test")
	w.named("other.test", publicAddr)
	return w, w.keep(value)
}

func get(t *testing.T, method, url string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// events of one kind, once the server has ended.
func (w *web) recorded(kind audit.Kind) (events []audit.Event) {
	for _, e := range w.end() {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	return events
}

func TestSecretsAreInRequestsOutsideOnly(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var got string
		w, alarms := newKept(t, known, func(rw http.ResponseWriter, r *http.Request) {
			got = r.Header.Get("Authorization")
			rw.Header().Set("X-Sent", got)
			_, _ = io.WriteString(rw, "you sent "+got)
		})
		res, err := w.client(http2).Do(get(t, "GET", "https://good.test/", nil, "Authorization", "Bearer "+stands))
		text := body(t, res, err)
		if got != "Bearer "+secret {
			t.Errorf("HTTP/2 %v: the world got %q", http2, got)
		}
		if strings.Contains(text+res.Header.Get("X-Sent"), secret) || !strings.Contains(text, "you sent Bearer "+stands) {
			t.Errorf("HTTP/2 %v: the sandbox sees %q, %q", http2, text, res.Header)
		}
		if a := alarms(); len(a) != 1 || a[0].Kind != credential.AlarmEcho {
			t.Errorf("HTTP/2 %v: alarms %+v", http2, a)
		}
		if e := w.recorded(audit.KindRequest); len(e) != 1 || e[0].Credential != "key" || e[0].Verdict != "allow" {
			t.Errorf("HTTP/2 %v: recorded %+v", http2, e)
		}
	}
}

// What is refused for its head never reaches the world; the first request, which does, is the control.
func TestMisusedPlaceholdersAreRefused(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for name, r := range map[string]*http.Request{
			"cleartext":      get(t, "GET", "http://good.test/", nil, "Authorization", "Bearer "+stands),
			"another host":   get(t, "GET", "https://other.test/", nil, "Authorization", "Bearer "+stands),
			"another header": get(t, "GET", "https://good.test/", nil, "X-Data", stands),
			"the path":       get(t, "GET", "https://good.test/"+stands, nil),
			"a canary":       get(t, "GET", "https://good.test/?x=canary-0123456789", nil),
			"foreign":        get(t, "GET", "https://good.test/", nil, "Authorization", "Bearer attackers"),
		} {
			w, alarms := newKept(t, known, hello)
			client := w.client(http2)
			res, err := client.Do(get(t, "GET", "https://good.test/", nil, "Authorization", "Bearer "+stands))
			_ = body(t, res, err)
			res, err = client.Do(r)
			text := body(t, res, err)
			if res.StatusCode != http.StatusForbidden || strings.Contains(text, secret) || w.requests() != 1 {
				t.Errorf("%s, HTTP/2 %v: %d %s, and the world saw %d requests", name, http2, res.StatusCode, text, w.requests())
			}
			if want := name == "a canary"; (len(alarms()) == 1) != want {
				t.Errorf("%s: alarms %+v", name, alarms())
			}
			if e := w.recorded(audit.KindRequest); len(e) != 2 || e[1].Verdict != "deny" || e[1].Reason == "" || e[1].Status != http.StatusForbidden || e[1].Credential != "" {
				t.Errorf("%s: recorded %+v", name, e)
			}
		}
	}
}

func TestBodiesWithPlaceholdersAreBrokenOff(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var mu sync.Mutex
		got := ""
		take := func(_ http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			got = string(data)
		}
		w, _ := newKept(t, known, take)
		w.serveOther(take)
		client := w.client(http2)
		post := func(host, text string) (int, error) {
			res, err := client.Do(get(t, "POST", "https://"+host+"/", strings.NewReader(text)))
			if err != nil {
				return 0, err
			}
			defer res.Body.Close()
			_, err = io.Copy(io.Discard, res.Body)
			return res.StatusCode, err
		}
		long := strings.Repeat("x", 1<<20)
		if status, err := post("good.test", long+stands); status != http.StatusOK || err != nil || !strings.HasSuffix(got, stands) {
			t.Errorf("HTTP/2 %v: as a text to the secret's own host: %d, %v, %d bytes", http2, status, err, len(got))
		}
		if status, err := post("other.test", long+stands); status == http.StatusOK && err == nil {
			t.Errorf("HTTP/2 %v: %d, %v, the world got %d bytes", http2, status, err, len(got))
		}
		var reason string
		for _, e := range w.recorded(audit.KindResponse) {
			if e.Host == "other.test" {
				reason = e.Error
			}
		}
		if !strings.Contains(reason, "placeholder of the secret key") {
			t.Errorf("HTTP/2 %v: recorded %q", http2, reason)
		}
	}
}

// serveOther puts other.test into the world.
func (w *web) serveOther(handle http.HandlerFunc) {
	const addr = "93.184.0.2"
	w.named("other.test", addr)
	w.serveAt(addr, "other.test", 443, handle)
}

func TestSecretsThatCannotBeReadAreNoDetailsForTheSandbox(t *testing.T) {
	w, _ := newKept(t, func(context.Context) (string, error) { return "", errors.New("the keyring of BARBARA is locked") }, hello)
	res, err := w.client(false).Do(get(t, "GET", "https://good.test/", nil, "Authorization", "Bearer "+stands))
	text := body(t, res, err)
	if res.StatusCode != http.StatusBadGateway || !strings.Contains(text, "secret key") || strings.Contains(text, "BARBARA") || w.requests() != 0 {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if e := w.recorded(audit.KindResponse); len(e) != 1 || !strings.Contains(e[0].Error, "keyring of BARBARA") {
		t.Errorf("recorded %+v", e)
	}
}

// A redirect is a new request: its secret stays at home.
func TestRedirectsTakeNoSecretAlong(t *testing.T) {
	w, _ := newKept(t, known, func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://other.test/", http.StatusTemporaryRedirect)
	})
	w.serveOther(hello)
	client := w.client(false)
	r := get(t, "GET", "https://good.test/", nil, "Authorization", "Bearer "+stands)
	client.CheckRedirect = func(next *http.Request, _ []*http.Request) error {
		next.Header.Set("Authorization", "Bearer "+stands) // as careless clients do
		return nil
	}
	res, err := client.Do(r)
	_ = body(t, res, err)
	if res.StatusCode != http.StatusForbidden || w.requests() != 1 {
		t.Errorf("%d, the world saw %d requests", res.StatusCode, w.requests())
	}
}

// Where everything is allowed TLS is carried unread, but not to a host that has a secret.
func TestBoundHostsAreOpenedWhereEverythingIsAllowed(t *testing.T) {
	var got string
	w, _ := newKept(t, known, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") })
	w.setPolicy(policy.Allow)
	res, err := w.client(false).Do(get(t, "GET", "https://good.test/", nil, "Authorization", "Bearer "+stands))
	_ = body(t, res, err)
	if got != "Bearer "+secret {
		t.Errorf("the world got %q", got)
	}
}
