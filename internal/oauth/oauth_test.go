package oauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/test/idp"
)

// fileStore is a Store of one secret, in a file that several processes may use.
type fileStore struct{ path string }

func (s fileStore) Value(context.Context, string) (string, error) {
	data, err := os.ReadFile(s.path)
	return string(data), err
}

func (s fileStore) Update(ctx context.Context, name string, change func(string) (string, error)) error {
	unlock, err := state.WaitForLock(s.path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	old, err := s.Value(ctx, name)
	if err != nil {
		return err
	}
	value, err := change(old)
	if err != nil {
		return err
	}
	return state.WriteAtomic(filepath.Dir(s.path), filepath.Base(s.path), []byte(value))
}

// lab is a provider and a login there.
type lab struct {
	t        *testing.T
	provider *idp.Server
	server   *httptest.Server
	broker   *Broker
	store    fileStore
}

func newLab(t *testing.T) *lab { return newLabOf(t, "claude") }

func newLabOf(t *testing.T, agent string) *lab {
	l := &lab{t: t, provider: &idp.Server{}, store: fileStore{filepath.Join(t.TempDir(), "login")}}
	l.server = httptest.NewTLSServer(l.provider)
	t.Cleanup(l.server.Close)
	p, ok := Of(agent)
	if !ok {
		t.Fatal("no provider of", agent)
	}
	if p.Identity {
		l.provider.Claims = map[string]any{"sub": "user-1", "email": "ann@shop.test", "sid": "session-of-ann", "https://api.openai.com/auth": map[string]any{"chatgpt_account_id": "account-1"}}
	}
	l.broker = &Broker{Provider: p, Secret: p.Secret, Store: l.store, HTTP: l.client()}
	return l
}

// client reaches the provider whatever host is asked for.
func (l *lab) client() *http.Client { return clientOf(l.server.Listener.Addr().String()) }

func clientOf(address string) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true // the name is another one's
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	return &http.Client{Transport: transport}
}

// login puts a login into the store whose access token lasts for that time.
func (l *lab) login(lasts time.Duration) Tokens {
	l.t.Helper()
	access, refresh, _ := l.provider.Issue()
	t := Tokens{Access: access, Refresh: refresh, Expires: time.Now().Add(lasts)}
	if err := os.WriteFile(l.store.path, []byte(t.Encode()), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return t
}

func TestTokensAreRenewedBeforeTheyEnd(t *testing.T) {
	l := newLab(t)
	first := l.login(time.Hour)
	if got, err := l.broker.Access(t.Context()); got != first.Access || err != nil || l.provider.Refreshes() != 0 {
		t.Fatalf("a token that lasts: %v, %d renewals", err, l.provider.Refreshes())
	}
	l.login(margin / 2)
	got, err := l.broker.Access(t.Context())
	if err != nil || !l.provider.Good(got) || got == first.Access || l.provider.Refreshes() != 1 {
		t.Fatalf("a token that is about to end: %v, %d renewals", err, l.provider.Refreshes())
	}
	if again, err := l.broker.Access(t.Context()); again != got || err != nil || l.provider.Refreshes() != 1 {
		t.Errorf("the renewed one: %v, %d renewals", err, l.provider.Refreshes())
	}
	// Its refresh token has been replaced as well, and the new one is kept.
	value, _ := l.store.Value(t.Context(), "")
	tokens, err := ParseTokens(value)
	if err != nil {
		t.Fatal(err)
	}
	tokens.Expires = time.Now()
	_ = os.WriteFile(l.store.path, []byte(tokens.Encode()), 0o600)
	if got, err := l.broker.Access(t.Context()); err != nil || !l.provider.Good(got) {
		t.Errorf("the second renewal: %v", err)
	}
}

func TestALoginThatHasEndedIsAskedForOnce(t *testing.T) {
	l := newLab(t)
	l.login(0)
	l.provider.Revoke()
	for range 3 {
		if _, err := l.broker.Access(t.Context()); !errors.Is(err, ErrEnded) || sandbox.Hint(err) != "bailey login claude" {
			t.Errorf("a revoked login: %v", err)
		}
	}
	if n := l.provider.Refreshes(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestAProviderThatIsNotThereEndsNothing(t *testing.T) {
	l := newLab(t)
	first := l.login(margin / 2)
	l.server.Close()
	if got, err := l.broker.Access(t.Context()); got != first.Access || err != nil {
		t.Errorf("a token that is still good: %v", err)
	}
	before, _ := l.store.Value(t.Context(), "")
	l.broker.failed = time.Time{}
	l.login(0)
	if _, err := l.broker.Access(t.Context()); err == nil || errors.Is(err, ErrEnded) {
		t.Errorf("a token that has ended: %v", err)
	}
	if after, _ := l.store.Value(t.Context(), ""); after == "" || strings.Contains(after, "ended") || before == "" {
		t.Errorf("kept is %q", after)
	}
}

// TestProcessesRenewOnce: eight processes find the token ended at the same time.
func TestProcessesRenewOnce(t *testing.T) {
	const path, address = "BAILEY_TEST_LOGIN", "BAILEY_TEST_PROVIDER"
	if os.Getenv(path) != "" {
		b := &Broker{Provider: Providers()[0], Secret: "claude-login", Store: fileStore{os.Getenv(path)}, HTTP: clientOf(os.Getenv(address))}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				access, err := b.Access(context.Background())
				if err != nil {
					t.Error(err)
				}
				fmt.Printf("ACCESS %s\n", access)
			})
		}
		all.Wait()
		return
	}
	l := newLab(t)
	l.login(0)
	outputs := make([]string, 8)
	var all sync.WaitGroup
	for i := range outputs {
		all.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestProcessesRenewOnce$")
			cmd.Env = append(os.Environ(), path+"="+l.store.path, address+"="+l.server.Listener.Addr().String())
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			outputs[i] = string(out)
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, out := range outputs {
		for line := range strings.Lines(out) {
			if access, ok := strings.CutPrefix(strings.TrimSpace(line), "ACCESS "); ok {
				seen[access] = true
				if !l.provider.Good(access) {
					t.Error("a process got a token that is not good")
				}
			}
		}
	}
	if n := l.provider.Refreshes(); n != 1 || len(seen) != 1 {
		t.Errorf("%d renewals, %d tokens", n, len(seen))
	}
}

// endpoint is a sandbox's, and what it has kept.
func (l *lab) endpoint() (*Endpoint, *Tokens) {
	kept := &Tokens{}
	return &Endpoint{Broker: l.broker, Access: "sk-ant-oat01-PLACEHOLDER", Refresh: "sk-ant-ort01-PLACEHOLDER", Keep: func(_ context.Context, t Tokens) error {
		*kept = t
		return os.WriteFile(l.store.path, []byte(t.Encode()), 0o600)
	}}, kept
}

// ask sends what a program inside does.
func (l *lab) ask(e *Endpoint, fields map[string]string, form bool) (map[string]any, *http.Response, error) {
	l.t.Helper()
	data, _ := json.Marshal(fields)
	kind := "application/json"
	if form {
		values := url.Values{}
		for name, value := range fields {
			values.Set(name, value)
		}
		data, kind = []byte(values.Encode()), "application/x-www-form-urlencoded"
	}
	p := l.broker.Provider
	r, err := http.NewRequest("POST", "https://"+string(p.TokenHost)+p.TokenPath, strings.NewReader(string(data)))
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if !e.Serves(credential.Target{Host: p.TokenHost, Port: 443, TLS: true}, r) {
		l.t.Fatal("the endpoint does not know its own request")
	}
	response, err := e.RoundTrip(r, l.client().Transport)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, token := range l.provider.Issued() {
		if strings.Contains(string(body), token) {
			l.t.Errorf("the sandbox sees %s", token)
		}
	}
	if strings.Contains(string(body), "not-for-a-sandbox") {
		l.t.Errorf("the sandbox sees %s", body)
	}
	var a map[string]any
	if err := json.Unmarshal(body, &a); err != nil {
		l.t.Fatalf("%s: %v", body, err)
	}
	return a, response, nil
}

func TestALoginInsideStaysOutside(t *testing.T) {
	for _, form := range []bool{false, true} {
		l := newLab(t)
		e, kept := l.endpoint()
		login := Begin(l.broker.Provider, nil)
		u, _ := url.Parse(login.URL())
		code := l.provider.Code(u.Query().Get("code_challenge"))
		a, response, err := l.ask(e, map[string]string{"grant_type": "authorization_code", "code": code, "code_verifier": login.verifier}, form)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusOK || a["access_token"] != e.Access || a["refresh_token"] != e.Refresh || a["expires_in"] == nil || a["account"] == nil {
			t.Errorf("answered %d %v", response.StatusCode, a)
		}
		if !l.provider.Good(kept.Access) || kept.Refresh == "" || kept.Expires.IsZero() {
			t.Errorf("kept is %+v", kept)
		}
		a, response, err = l.ask(e, map[string]string{"grant_type": "authorization_code", "code": code, "code_verifier": login.verifier}, form)
		if err != nil || response.StatusCode != http.StatusBadRequest || a["error"] != "invalid_grant" {
			t.Errorf("a code that was used: %v, %v", a, err)
		}
	}
}

func TestRenewalsInsideAreAnsweredOutside(t *testing.T) {
	l := newLab(t)
	e, _ := l.endpoint()
	l.login(time.Hour)
	renew := func(token string) (map[string]any, *http.Response, error) {
		return l.ask(e, map[string]string{"grant_type": "refresh_token", "refresh_token": token}, false)
	}
	if a, response, err := renew(e.Refresh); err != nil || response.StatusCode != http.StatusOK || a["access_token"] != e.Access || a["refresh_token"] != e.Refresh || l.provider.Refreshes() != 0 {
		t.Errorf("a login that is fresh: %v, %v, %d renewals", a, err, l.provider.Refreshes())
	}
	l.login(0)
	if _, response, err := renew(e.Refresh); err != nil || response.StatusCode != http.StatusOK || l.provider.Refreshes() != 1 {
		t.Errorf("a login that has to be renewed: %v, %d renewals", err, l.provider.Refreshes())
	}
	var refusal *credential.Refusal
	if _, _, err := renew("sk-ant-ort01-attackers-own"); !errors.As(err, &refusal) || l.provider.Refreshes() != 1 {
		t.Errorf("somebody else's refresh token: %v", err)
	}
	l.login(0)
	l.provider.Revoke()
	if a, response, err := renew(e.Refresh); err != nil || response.StatusCode != http.StatusBadRequest || a["error"] != "invalid_grant" || !strings.Contains(fmt.Sprint(a["error_description"]), "bailey login claude") {
		t.Errorf("a login that has ended: %v, %v", a, err)
	}
}

// TestALoginInsideSaysWhoseItIs: Codex reads the account in a token that opens nothing.
func TestALoginInsideSaysWhoseItIs(t *testing.T) {
	l := newLabOf(t, "codex")
	e, kept := l.endpoint()
	login := Begin(l.broker.Provider, nil)
	u, _ := url.Parse(login.URL())
	code := l.provider.Code(u.Query().Get("code_challenge"))
	a, response, err := l.ask(e, map[string]string{"grant_type": "authorization_code", "code": code, "code_verifier": login.verifier}, true)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
	check := func(when string, a map[string]any) {
		parts := strings.Split(fmt.Sprint(a["id_token"]), ".")
		if len(parts) != 3 {
			t.Fatalf("%s: the id_token is %v", when, a["id_token"])
		}
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		if text := string(payload); !strings.Contains(text, "account-1") || !strings.Contains(text, "ann@shop.test") || strings.Contains(text, "session-of-ann") {
			t.Errorf("%s: it says %s", when, text)
		}
	}
	check("at the login", a)
	if a, _, err = l.ask(e, map[string]string{"grant_type": "refresh_token", "refresh_token": e.Refresh}, true); err != nil {
		t.Fatal(err)
	}
	check("when it is renewed", a)
	if stands, err := l.broker.Identity(t.Context()); err != nil || stands == "" || stands == kept.ID || Account(stands) != "account-1" {
		t.Errorf("%q, %v", stands, err)
	}
	for _, none := range []string{"", "a.b", "a.b.c", "e30.e30.c", "e30.bnVsbA.c"} {
		if account := Account(none); account != "" {
			t.Errorf("%q names the account %q", none, account)
		}
	}
	// Codex exchanges it for a key.
	a, response, err = l.ask(e, map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "requested_token": "openai-api-key", "subject_token": "x"}, true)
	if err != nil || response.StatusCode != http.StatusBadRequest || a["error"] != "unsupported_grant_type" {
		t.Errorf("an exchange for a key: %v, %v", a, err)
	}
}

// TestLoginOnTheHost: for each provider the page's code becomes tokens, which are renewed as they were got, and other
// codes do not.
func TestLoginOnTheHost(t *testing.T) {
	for _, p := range Providers() {
		t.Run(p.Agent, func(t *testing.T) {
			l := newLabOf(t, p.Agent)
			login := Begin(p, l.client())
			u, err := url.Parse(login.URL())
			if err != nil || u.Scheme != "https" || !strings.Contains(p.AuthorizeURL, u.Host) {
				t.Fatal(u, err)
			}
			page := u.Query()
			code, state := l.provider.Code(page.Get("code_challenge")), page.Get("state")
			whole := code + "#" + state
			wrongs := []string{"", "abc#def", code + "#x" + state, "x" + whole, "http://localhost:1455/auth/callback?error=access_denied&state=" + state}
			if !p.Bare {
				wrongs = append(wrongs, code)
			}
			for _, wrong := range wrongs {
				if _, err := login.Finish(t.Context(), wrong); err == nil {
					t.Errorf("the code %q is taken", wrong)
				}
			}
			switch {
			case p.Bare:
				whole = code
			case login.Local():
				whole = page.Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {state}}.Encode()
			}
			tokens, err := login.Finish(t.Context(), whole+"\n")
			if err != nil || !l.provider.Good(tokens.Access) {
				t.Fatal(err)
			}
			tokens.Expires = time.Now()
			if err := os.WriteFile(l.store.path, []byte(tokens.Encode()), 0o600); err != nil {
				t.Fatal(err)
			}
			if access, err := l.broker.Access(t.Context()); err != nil || !l.provider.Good(access) || l.provider.Refreshes() != 1 {
				t.Errorf("%d renewals, %v", l.provider.Refreshes(), err)
			}
		})
	}
}

// TestTheBrowserComesBack: to this machine, with the code of this login and no other.
func TestTheBrowserComesBack(t *testing.T) {
	p, _ := Of("codex")
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	p.RedirectURL = "http://" + address + "/auth/callback"
	login := Begin(p, nil)
	if _, err := login.Receive(t.Context()); err == nil {
		t.Error("it waits at a port that is taken")
	}
	_ = free.Close()
	type answer struct {
		code string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		code, err := login.Receive(t.Context())
		done <- answer{code, err}
	}()
	visit := func(query string) int {
		for range 100 {
			response, err := http.Get(p.RedirectURL + "?" + query)
			if err == nil {
				_ = response.Body.Close()
				return response.StatusCode
			}
			time.Sleep(20 * time.Millisecond)
		}
		return 0
	}
	if status := visit("code=attackers&state=another"); status != http.StatusNotFound {
		t.Errorf("another login's code is answered %d", status)
	}
	if status := visit("code=good&state=" + login.state); status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	if got := <-done; got.err != nil || got.code != "good#"+login.state {
		t.Errorf("%+v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("application/json", []byte(`{"access_token":"a","expires_in":3600,"refresh_token":"b","id_token":"c"}`))
	f.Add("application/x-www-form-urlencoded", []byte("grant_type=refresh_token&refresh_token=x&a=%zz"))
	f.Add("", []byte(`{"access_token":"a","expires_in":1e400}`))
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		_, _ = parseRequest(kind, data)
		a, tokens, err := parseAnswer(data, time.Now())
		if err != nil {
			return
		}
		if tokens.Access == "" || tokens.Expires.After(time.Now().AddDate(100, 0, 0)) {
			t.Errorf("%+v", tokens)
		}
		text, err := json.Marshal(a.standing("PLACEHOLDER-A", "PLACEHOLDER-B", Provider{Identity: true}.identity(tokens)))
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(text, &out); err != nil || out["access_token"] != "PLACEHOLDER-A" {
			t.Errorf("%s", text)
		}
	})
}
