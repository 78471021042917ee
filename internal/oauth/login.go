package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
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

// URL is the page that the user opens in a browser. In the end it shows a code.
func (l *Login) URL() string {
	p := l.broker.Provider
	challenge := sha256.Sum256([]byte(l.verifier))
	return p.AuthorizeURL + "?" + url.Values{
		"code": {"true"}, "response_type": {"code"}, "client_id": {p.ClientID}, "redirect_uri": {p.RedirectURL}, "scope": {strings.Join(p.Scopes, " ")},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}, "state": {l.state},
	}.Encode()
}

// Finish turns the code into tokens. It must be the code of this login, with its state behind a "#".
func (l *Login) Finish(ctx context.Context, code string) (Tokens, error) {
	code, state, ok := strings.Cut(strings.TrimSpace(code), "#")
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
