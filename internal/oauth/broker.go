package oauth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const (
	// margin is how long before its end an access token is renewed.
	margin = 5 * time.Minute
	// pause is how long nobody tries again after a renewal has failed for want of a network.
	pause = 30 * time.Second
	// maxAnswer bounds a token endpoint's answer, in bytes, and a request to it.
	maxAnswer = 256 << 10
	// renewTime is how long a renewal may take.
	renewTime = 30 * time.Second
)

// ErrEnded: the provider takes the login no more.
var ErrEnded = errors.New("the login has ended")

// Store is what a Broker needs of package secret.
type Store interface {
	Value(ctx context.Context, name string) (string, error)
	// Update replaces a value while nobody else, in any process, does.
	Update(ctx context.Context, name string, change func(old string) (string, error)) error
}

// Broker keeps one login alive. Several processes may have one for the same login; a renewal is made once.
type Broker struct {
	Provider Provider
	Secret   string // its name in the store
	Store    Store
	// HTTP reaches the token endpoint, over the host's network. Nil is http.DefaultClient.
	HTTP *http.Client

	mu     sync.Mutex
	failed time.Time // the last renewal that did not reach the provider
}

// Access returns the access token, renewed where it is about to end. The error wraps ErrEnded when only logging in
// again helps.
func (b *Broker) Access(ctx context.Context) (string, error) {
	t, err := b.tokens(ctx)
	return t.Access, err
}

// Identity returns the login's id_token as the agent sees it, which is worth nothing; "" where there is none.
func (b *Broker) Identity(ctx context.Context) (string, error) {
	t, err := b.stored(ctx)
	return b.Provider.identity(t), err
}

func (b *Broker) stored(ctx context.Context) (Tokens, error) {
	value, err := b.Store.Value(ctx, b.Secret)
	if err != nil {
		return Tokens{}, err
	}
	return ParseTokens(value)
}

// tokens are the login's, with an access token that lasts a while.
func (b *Broker) tokens(ctx context.Context) (Tokens, error) {
	t, err := b.stored(ctx)
	if err != nil {
		return Tokens{}, err
	}
	if t.fresh() {
		return t, nil
	}
	if t.Ended != "" || t.Refresh == "" {
		return Tokens{}, b.ended(t.Ended)
	}
	renewed, err := b.renew(ctx)
	if err != nil && !errors.Is(err, ErrEnded) && time.Now().Before(t.Expires) {
		return t, nil // it still is good, and the provider may be there again soon
	}
	return renewed, err
}

// fresh says whether the access token lasts a while. One that does not say when it ends is used until it is replaced.
func (t Tokens) fresh() bool { return t.Expires.IsZero() || time.Until(t.Expires) > margin }

func (b *Broker) ended(why string) error {
	return sandbox.WithHint(fmt.Errorf("%w: %s", ErrEnded, why), "bailey login "+b.Provider.Agent)
}

// renew gets a new access token, unless somebody else has meanwhile.
func (b *Broker) renew(ctx context.Context) (renewed Tokens, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.failed) < pause {
		return Tokens{}, errors.New("the provider of the login could not be reached a moment ago")
	}
	var ended error
	err = b.Store.Update(ctx, b.Secret, func(old string) (string, error) {
		t, err := ParseTokens(old)
		if err != nil {
			return "", err
		}
		if t.fresh() { // another process was first
			renewed = t
			return old, nil
		}
		renewed, err = b.exchange(ctx, t)
		if errors.Is(err, ErrEnded) {
			// Noted, so that nobody asks the provider again and again.
			ended, t.Ended = err, "the provider has refused to renew it"
			return t.Encode(), nil
		}
		return renewed.Encode(), err
	})
	if ended != nil {
		return Tokens{}, ended
	}
	if err != nil {
		b.failed = time.Now()
	}
	return renewed, err
}

// exchange asks the provider for new tokens (RFC 6749, section 6).
func (b *Broker) exchange(ctx context.Context, t Tokens) (Tokens, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTime) // what is renewed has to be kept, whoever has gone away
	defer cancel()
	request := map[string]string{"grant_type": "refresh_token", "refresh_token": t.Refresh, "client_id": b.Provider.ClientID}
	if t.Scope != "" {
		request["scope"] = t.Scope
	}
	data, status, err := b.post(ctx, request)
	if err != nil {
		return Tokens{}, err
	}
	if status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden {
		return Tokens{}, b.ended(fmt.Sprintf("the provider answered %d to its renewal", status))
	}
	if status != http.StatusOK {
		return Tokens{}, fmt.Errorf("the provider answered %d to the login's renewal", status)
	}
	_, renewed, err := parseAnswer(data, time.Now())
	if err != nil {
		return Tokens{}, err
	}
	renewed.Refresh = cmp.Or(renewed.Refresh, t.Refresh) // a provider may keep the old one
	renewed.Scope, renewed.ID = cmp.Or(renewed.Scope, t.Scope), cmp.Or(renewed.ID, t.ID)
	return renewed, nil
}

// post sends a request to the token endpoint.
func (b *Broker) post(ctx context.Context, fields map[string]string) (data []byte, status int, err error) {
	if b.Provider.ClientSecret != "" {
		fields["client_secret"] = b.Provider.ClientSecret
	}
	contentType, body, err := b.Provider.encode(fields)
	if err != nil {
		return nil, 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+string(b.Provider.TokenHost)+b.Provider.TokenPath, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Content-Type", contentType)
	client := b.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	data, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return data, response.StatusCode, err
}

// encode is a request to the token endpoint, as it takes them.
func (p Provider) encode(fields map[string]string) (contentType string, body []byte, err error) {
	if !p.Form {
		body, err = json.Marshal(fields)
		return "application/json", body, err
	}
	form := url.Values{}
	for name, value := range fields {
		form.Set(name, value)
	}
	return "application/x-www-form-urlencoded", []byte(form.Encode()), nil
}
