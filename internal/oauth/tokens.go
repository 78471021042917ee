package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"strings"
	"time"
)

// Tokens is a login as it is kept: the value of a secret.
type Tokens struct {
	Access  string    `json:"access_token"`
	Refresh string    `json:"refresh_token,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Scope   string    `json:"scope,omitempty"`
	// Ended is why the provider takes the refresh token no more. Only logging in again helps.
	Ended string `json:"ended,omitempty"`
}

// ParseTokens reads what Encode writes.
func ParseTokens(value string) (Tokens, error) {
	var t Tokens
	if err := json.Unmarshal([]byte(value), &t); err != nil || t.Access == "" {
		return Tokens{}, errors.New("the secret holds no login") // the error would quote it
	}
	return t, nil
}

// Encode is t as it is kept. It is not called String: nothing may print tokens by chance.
func (t Tokens) Encode() string {
	data, err := json.Marshal(t)
	if err != nil {
		return "" // it has nothing that JSON does not know
	}
	return string(data)
}

// answer is a token endpoint's (RFC 6749, section 5.1).
type answer map[string]any

// parseAnswer reads one, of which only the fields that are known go on to a sandbox.
func parseAnswer(data []byte, now time.Time) (answer, Tokens, error) {
	a := answer{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&a); err != nil {
		return nil, Tokens{}, errors.New("the answer is no JSON object")
	}
	t := Tokens{}
	t.Access, _ = a["access_token"].(string)
	t.Refresh, _ = a["refresh_token"].(string)
	t.Scope, _ = a["scope"].(string)
	if t.Access == "" {
		return nil, Tokens{}, errors.New("the answer has no access token")
	}
	if n, ok := a["expires_in"].(json.Number); ok {
		seconds, err := n.Float64()
		if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > 1e9 {
			return nil, Tokens{}, fmt.Errorf("the answer's expires_in is no number of seconds")
		}
		t.Expires = now.Add(time.Duration(seconds * float64(time.Second)))
	}
	return a, t, nil
}

// standing is a with what stands for the tokens. What else has the name of something secret is left out: nobody has
// said what it opens.
func (a answer) standing(access, refresh string) answer {
	out := answer{}
	maps.Copy(out, a)
	for name := range a {
		lower := strings.ToLower(name)
		for _, word := range []string{"token", "secret", "key", "password", "assertion"} {
			if strings.HasSuffix(lower, word) && lower != "access_token" && lower != "refresh_token" {
				delete(out, name)
			}
		}
	}
	out["access_token"] = access
	if _, ok := a["refresh_token"]; ok {
		out["refresh_token"] = refresh
	}
	return out
}

// parseRequest reads a request to a token endpoint, as JSON or as a form.
func parseRequest(contentType string, body []byte) (map[string]string, error) {
	fields := map[string]string{}
	if kind, _, _ := strings.Cut(contentType, ";"); strings.TrimSpace(strings.ToLower(kind)) == "application/json" {
		var object map[string]any
		if err := json.Unmarshal(body, &object); err != nil {
			return nil, errors.New("the request is no JSON object")
		}
		for name, value := range object {
			if text, ok := value.(string); ok {
				fields[name] = text
			}
		}
		return fields, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the request is no form")
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, fmt.Errorf("the request says twice what its %q is", name)
		}
		fields[name] = values[0]
	}
	return fields, nil
}
