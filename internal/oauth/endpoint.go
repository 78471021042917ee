package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/bailey-sandbox/bailey/internal/credential"
)

// Endpoint stands between a sandbox and the token endpoint of a login. It implements credential.Endpoint.
type Endpoint struct {
	Broker          *Broker
	Access, Refresh string // what stands for the tokens inside
	// Keep stores a login that was made inside.
	Keep func(ctx context.Context, t Tokens) error
}

// Serves implements credential.Endpoint.
func (e *Endpoint) Serves(t credential.Target, r *http.Request) bool {
	p := e.Broker.Provider
	return t.TLS && t.Host == p.TokenHost && t.Port == 443 && r.Method == http.MethodPost && r.URL.Path == p.TokenPath
}

// RoundTrip implements credential.Endpoint. A renewal is answered from the host's store, whatever the sandbox wants to
// renew being the same; a login goes through, and its tokens stay here.
func (e *Endpoint) RoundTrip(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	fields, err := parseRequest(r.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, &credential.Refusal{Reason: "the request for a token cannot be read: " + err.Error()}
	}
	switch grant := fields["grant_type"]; grant {
	case "refresh_token":
		return e.renew(r, fields["refresh_token"])
	case "authorization_code", "urn:ietf:params:oauth:grant-type:device_code":
		return e.login(r, body, next)
	default:
		// Such as an exchange of a token for a key (RFC 8693), which nobody would keep out of the sandbox.
		return respond(r, http.StatusBadRequest, answer{"error": "unsupported_grant_type", "error_description": "bailey keeps logins outside, and knows no grant " + strconv.Quote(grant)}), nil
	}
}

// renew answers with the login that the host has.
func (e *Endpoint) renew(r *http.Request, refresh string) (*http.Response, error) {
	name := e.Broker.Secret
	if refresh != e.Refresh {
		return nil, &credential.Refusal{Secret: name, Reason: "the refresh token is not this sandbox's own, and a login from elsewhere is not renewed from inside"}
	}
	t, err := e.Broker.tokens(r.Context())
	if errors.Is(err, ErrEnded) {
		return respond(r, http.StatusBadRequest, answer{"error": "invalid_grant", "error_description": "the login has ended; on the host: bailey login " + e.Broker.Provider.Agent}), nil
	}
	if err != nil {
		return nil, &credential.UnavailableError{Secret: name, Err: err}
	}
	a := answer{"token_type": "Bearer", "access_token": e.Access, "refresh_token": e.Refresh}
	if !t.Expires.IsZero() {
		a["expires_in"] = int(time.Until(t.Expires).Seconds())
	}
	if t.Scope != "" {
		a["scope"] = t.Scope
	}
	if identity := e.Broker.Provider.identity(t); identity != "" {
		a["id_token"] = identity
	}
	return respond(r, http.StatusOK, a), nil
}

// login passes a request on and keeps the tokens of its answer.
func (e *Endpoint) login(r *http.Request, body []byte, next http.RoundTripper) (*http.Response, error) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.Header.Set("Accept-Encoding", "identity")
	response, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		// A refusal holds no tokens; that it is one is all that goes on of an answer that is not the standard's.
		var refused answer
		if json.Unmarshal(data, &refused) != nil {
			refused = answer{"error": "server_error"}
		}
		return respond(r, response.StatusCode, answer{"error": text(refused["error"]), "error_description": text(refused["error_description"])}), nil
	}
	a, t, err := parseAnswer(data, time.Now())
	if err != nil {
		return nil, fmt.Errorf("the login's tokens cannot be read: %w", err)
	}
	if err := e.Keep(r.Context(), t); err != nil {
		return nil, &credential.UnavailableError{Secret: e.Broker.Secret, Err: err}
	}
	return respond(r, http.StatusOK, a.standing(e.Access, e.Refresh, e.Broker.Provider.identity(t))), nil
}

// text is a string of an answer's, or what else stands there in a form that shows nothing.
func text(v any) string {
	if s, ok := v.(string); ok && len(s) <= 500 {
		return s
	}
	return "unknown"
}

func respond(r *http.Request, status int, a answer) *http.Response {
	data, err := json.Marshal(a)
	if err != nil {
		data, status = []byte(`{"error":"server_error"}`), http.StatusBadGateway
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}, Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data)), Request: r}
}
