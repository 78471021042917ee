package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Tokens is a login as it is kept: the value of a secret.
type Tokens struct {
	Access  string    `json:"access_token"`
	Refresh string    `json:"refresh_token,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Scope   string    `json:"scope,omitempty"`
	ID      string    `json:"id_token,omitempty"` // whose it is (OpenID Connect Core 1.0, section 2)
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

// ParseAgentFile reads the tokens in a file that an agent outside has made at its own login: Claude Code's
// ~/.claude/.credentials.json, Codex's ~/.codex/auth.json, Gemini CLI's ~/.gemini/oauth_creds.json.
func ParseAgentFile(data []byte) (Tokens, error) {
	var file struct {
		Claude struct {
			Access  string   `json:"accessToken"`
			Refresh string   `json:"refreshToken"`
			Expires int64    `json:"expiresAt"` // milliseconds
			Scopes  []string `json:"scopes"`
		} `json:"claudeAiOauth"`
		Codex   Tokens `json:"tokens"`
		Gemini  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Scope   string `json:"scope"`
		Expires int64  `json:"expiry_date"` // milliseconds
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return Tokens{}, errors.New("it is no JSON object") // the error would quote it
	}
	for _, t := range []Tokens{
		{Access: file.Claude.Access, Refresh: file.Claude.Refresh, Expires: time.UnixMilli(file.Claude.Expires), Scope: strings.Join(file.Claude.Scopes, " ")},
		{Access: file.Codex.Access, Refresh: file.Codex.Refresh, ID: file.Codex.ID, Expires: time.Now()}, // when it ends is not said
		{Access: file.Gemini, Refresh: file.Refresh, Scope: file.Scope, Expires: time.UnixMilli(file.Expires)},
	} {
		if t.Access != "" && t.Refresh != "" {
			return t, nil
		}
	}
	return Tokens{}, errors.New("it holds no login")
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
	t.ID, _ = a["id_token"].(string)
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

// standing is a with what stands for the tokens; identity is the id_token's, "" for none. What else has the name of
// something secret is left out: nobody has said what it opens.
func (a answer) standing(access, refresh, identity string) answer {
	out := answer{}
	for name, value := range a {
		lower := strings.ToLower(name)
		if !slices.ContainsFunc([]string{"token", "secret", "key", "password", "assertion"}, func(word string) bool { return strings.HasSuffix(lower, word) }) {
			out[name] = value
		}
	}
	out["access_token"] = access
	if _, ok := a["refresh_token"]; ok {
		out["refresh_token"] = refresh
	}
	if identity != "" {
		out["id_token"] = identity
	}
	return out
}

// identity is t's id_token as agents see it, where they look at it: it says whose login it is and proves it to nobody,
// with known claims only, and random bytes for a signature. Its end is far away, since what it stands for is renewed
// outside. "" is none.
func (p Provider) identity(t Tokens) string {
	all := claims(t.ID)
	if !p.Identity || all == nil {
		return ""
	}
	known := map[string]any{"exp": farEnd}
	for _, name := range []string{"iss", "aud", "sub", "email", "email_verified", "name", openAIClaim, "https://api.openai.com/profile"} {
		if value, ok := all[name]; ok {
			known[name] = value
		}
	}
	payload, err := json.Marshal(known)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + random() + random()
}

// openAIClaim is the claim with what OpenAI says of an account.
const openAIClaim = "https://api.openai.com/auth"

// Account is the ChatGPT account that an id_token of OpenAI's names; "" where it names none.
func Account(idToken string) string {
	auth, _ := claims(idToken)[openAIClaim].(map[string]any)
	account, _ := auth["chatgpt_account_id"].(string)
	return account
}

// claims are what a JSON Web Token (RFC 7519) says; nil where it is none. Nobody has checked its signature.
func claims(token string) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var all map[string]any
	if err != nil || json.Unmarshal(payload, &all) != nil {
		return nil
	}
	return all
}

// farEnd is when what stands for a token ends: in 2100, in seconds.
const farEnd = 4102444800

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
