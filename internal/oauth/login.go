package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Login is a login that is under way on the host (RFC 6749 with RFC 7636).
type Login struct {
	broker          *Broker
	verifier, state string
}

// Begin starts a login with p. HTTP reaches the token endpoint; nil is http.DefaultClient.
func Begin(p Provider, client *http.Client) *Login {
	return &Login{broker: &Broker{Provider: p, HTTP: client}, verifier: random(), state: random()}
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, crypto/rand says
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// URL is the page that the user opens in a browser. In the end it shows a code, or sends the browser to this machine.
func (l *Login) URL() string {
	p := l.broker.Provider
	challenge := sha256.Sum256([]byte(l.verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {p.ClientID}, "redirect_uri": {p.RedirectURL}, "scope": {strings.Join(p.Scopes, " ")},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}, "state": {l.state},
	}
	maps.Copy(query, p.Extra)
	return p.AuthorizeURL + "?" + query.Encode()
}

// Local says whether the browser is sent to this machine in the end.
func (l *Login) Local() bool { return l.redirect().Scheme == "http" }

func (l *Login) redirect() url.URL {
	u, err := url.Parse(l.broker.Provider.RedirectURL)
	if err != nil {
		return url.URL{} // a test parses all of them
	}
	return *u
}

// Receive waits on this machine's loopback, where nobody else can reach it, for the browser to come back, and returns
// what Finish takes. A request of another login's, or of no login, is answered and changes nothing.
func (l *Login) Receive(ctx context.Context) (code string, err error) {
	redirect := l.redirect()
	listener, err := net.Listen("tcp4", "127.0.0.1:"+redirect.Port())
	if err != nil {
		return "", fmt.Errorf("cannot wait for the browser: %w", err)
	}
	codes := make(chan string, 1)
	server := &http.Server{ReadHeaderTimeout: renewTime, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != redirect.Path || q.Get("state") != l.state {
			http.Error(w, "This is not the page of the login that bailey waits for.", http.StatusNotFound)
			return
		}
		fmt.Fprintln(w, "The login goes on in the terminal. You may close this page.")
		select {
		case codes <- q.Get("code") + "#" + q.Get("state"):
		default: // the browser has asked twice
		}
	})}
	go server.Serve(listener)
	select {
	case code = <-codes:
		ctx, cancel := context.WithTimeout(ctx, time.Second) // so that the page gets there
		defer cancel()
		_ = server.Shutdown(ctx)
		return code, nil
	case <-ctx.Done():
		_ = server.Close()
		return "", ctx.Err()
	}
}

// Finish turns the code into tokens. It must be the code of this login, with its state behind a "#", or the whole
// address at which the browser ended.
func (l *Login) Finish(ctx context.Context, code string) (Tokens, error) {
	code = strings.TrimSpace(code)
	if u, err := url.Parse(code); err == nil && u.Scheme != "" && u.Host != "" {
		code = u.Query().Get("code") + "#" + u.Query().Get("state")
	}
	code, state, ok := strings.Cut(code, "#")
	if l.broker.Provider.Bare && !ok {
		state, ok = l.state, true
	}
	if !ok || code == "" {
		return Tokens{}, errors.New("that is not the whole code: it has a # in it")
	}
	if state != l.state {
		return Tokens{}, errors.New("the code belongs to another login: open the page again")
	}
	p := l.broker.Provider
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	data, status, err := l.broker.post(ctx, map[string]string{"grant_type": "authorization_code", "code": code, "state": state, "redirect_uri": p.RedirectURL,
		"client_id": p.ClientID, "code_verifier": l.verifier})
	if err != nil {
		return Tokens{}, fmt.Errorf("cannot finish the login: %w", err)
	}
	if status != http.StatusOK {
		return Tokens{}, fmt.Errorf("the provider does not take the code: it answered %d", status)
	}
	_, t, err := parseAnswer(data, time.Now())
	return t, err
}
