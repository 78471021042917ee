package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// UnavailableError is the error of a secret that cannot be read now. Its text may say more than a sandbox should know.
type UnavailableError struct {
	Secret string
	Err    error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("cannot read the secret %s: %v", e.Secret, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// RoundTrip sends r, whose head Begin has judged, through next: with the secrets in it, and without them in the answer.
// It changes r. Its errors are next's, an *UnavailableError, or a *Refusal when something in the body must not go on;
// then the request has been broken off.
func (x *Exchange) RoundTrip(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	if x.k == nil {
		return next.RoundTrip(r)
	}
	if x.endpoint != nil {
		return x.endpoint.RoundTrip(r, next)
	}
	x.scanBody(r)
	for _, s := range x.swaps {
		value, err := x.value(r.Context(), s.secret)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return nil, errors.Join(refusal, closeBody(r))
		}
		if err != nil {
			return nil, errors.Join(&UnavailableError{Secret: s.secret.Name, Err: err}, closeBody(r))
		}
		if s.signature != nil {
			if err := x.resign(r, s, value); err != nil {
				return nil, errors.Join(err, closeBody(r))
			}
			continue
		}
		s.put(r, value)
	}
	echoes := x.echoes()
	if echoes != nil {
		r.Header.Set("Accept-Encoding", "identity") // what is compressed cannot be looked through as it comes
	}
	answer, err := next.RoundTrip(r)
	if err != nil || echoes == nil {
		return answer, err
	}
	return x.clean(answer, echoes)
}

// Refused is why the body was broken off, or nil. It may be asked from any goroutine.
func (x *Exchange) Refused() *Refusal { return x.refused.Load() }

// closeBody does what a RoundTripper owes a request that it does not send.
func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// value is the secret as it is now. It is remembered before it goes anywhere.
func (x *Exchange) value(ctx context.Context, s *Secret) (string, error) {
	value, err := s.Value(ctx)
	if err != nil {
		return "", err
	}
	if value == "" {
		return "", errors.New("it is empty")
	}
	if !httpguts.ValidHeaderFieldValue(value) || strings.TrimSpace(value) != value {
		return "", errors.New("it has spaces at its ends, or characters that no header may have")
	}
	x.k.cfg.Memory.learn(s.Name, s.Placeholder, value)
	return value, nil
}

// put writes the secret where its placeholder stands.
func (s swap) put(r *http.Request, value string) {
	switch {
	case s.place.Query != "":
		parameters := strings.Split(r.URL.RawQuery, "&")
		name, _, _ := strings.Cut(parameters[s.at], "=")
		parameters[s.at] = name + "=" + url.QueryEscape(value)
		r.URL.RawQuery = strings.Join(parameters, "&")
	case s.place.Basic:
		name, password, _ := basic(r.Header.Get(s.place.Header))
		if s.user {
			name = value
		} else {
			password = value
		}
		r.Header.Set(s.place.Header, "Basic "+base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
	default:
		r.Header.Set(s.place.Header, strings.Replace(s.place.Form, "{}", value, 1))
	}
}
