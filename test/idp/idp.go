// Package idp is an identity provider for tests with real agents: an OAuth 2.0 server (RFC 6749, RFC 7636) whose
// authorisation page gives a code to whoever opens it, and whose tokens end, rotate and are revoked when the test says
// so. It imports nothing of ours.
package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Server is the provider. Its fields are set before serving; methods are safe for concurrent use. The zero value's
// tokens last for eight hours.
type Server struct {
	Lasts time.Duration // how long access tokens last
	// Claims, when set, are those of an id_token that comes with the others (OpenID Connect Core 1.0, section 2).
	Claims map[string]any

	mu        sync.Mutex
	codes     map[string]string    // code → challenge
	access    map[string]time.Time // good until
	refresh   map[string]bool      // good
	refreshes int
	issued    []string // every token ever
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/deviceauth/usercode"):
		_, _ = io.WriteString(w, `{"device_auth_id":"device-1","user_code":"ABCD-1234","interval":"1"}`)
	case strings.HasSuffix(r.URL.Path, "/deviceauth/token"):
		s.device(w)
	case strings.HasSuffix(r.URL.Path, "/authorize"):
		s.authorize(w, r)
	case strings.HasSuffix(r.URL.Path, "/token") && r.Method == http.MethodPost:
		s.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

// authorize answers with the code that a page would show, and the state behind it.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "" {
		http.Error(w, "not a request for a code", http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, s.Code(q.Get("code_challenge"))+"#"+q.Get("state"))
}

// device answers a program that has no browser, as OpenAI does when the user has typed the short code elsewhere.
func (s *Server) device(w http.ResponseWriter) {
	verifier := random()
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	_ = json.NewEncoder(w).Encode(map[string]string{"authorization_code": s.Code(challenge), "code_challenge": challenge, "code_verifier": verifier})
}

// Code makes a code for a challenge, as when a user has agreed.
func (s *Server) Code(challenge string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.codes == nil {
		s.codes = map[string]string{}
	}
	code := random()
	s.codes[code] = challenge
	return code
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	fields, ok := read(r)
	if !ok {
		refuse(w, "invalid_request")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch fields["grant_type"] {
	case "authorization_code":
		challenge, ok := s.codes[fields["code"]]
		delete(s.codes, fields["code"])
		sum := sha256.Sum256([]byte(fields["code_verifier"]))
		if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
			refuse(w, "invalid_grant")
			return
		}
	case "refresh_token":
		s.refreshes++
		if !s.refresh[fields["refresh_token"]] {
			refuse(w, "invalid_grant")
			return
		}
		delete(s.refresh, fields["refresh_token"]) // each is good once
	default:
		refuse(w, "unsupported_grant_type")
		return
	}
	_ = json.NewEncoder(w).Encode(s.issue())
}

func (s *Server) issue() map[string]any {
	lasts := s.Lasts
	if lasts == 0 {
		lasts = 8 * time.Hour
	}
	access, refresh := "sk-ant-oat01-"+random(), "sk-ant-ort01-"+random()
	if s.access == nil {
		s.access, s.refresh = map[string]time.Time{}, map[string]bool{}
	}
	s.access[access], s.refresh[refresh] = time.Now().Add(lasts), true
	s.issued = append(s.issued, access, refresh)
	answer := map[string]any{"token_type": "Bearer", "access_token": access, "refresh_token": refresh, "expires_in": int(lasts.Seconds()), "scope": "user:inference user:profile",
		"account": map[string]any{"uuid": "00000000-0000-4000-8000-000000000001", "email_address": "ann@shop.test"}, "session_token": "not-for-a-sandbox-" + random()}
	if s.Claims != nil {
		payload, _ := json.Marshal(s.Claims)
		signature := random()
		answer["id_token"] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + signature
		s.issued = append(s.issued, signature)
	}
	return answer
}

// Issue gives out tokens as after a login.
func (s *Server) Issue() (access, refresh string, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.issue()
	access, refresh = a["access_token"].(string), a["refresh_token"].(string)
	return access, refresh, s.access[access]
}

// Good says whether an access token is.
func (s *Server) Good(access string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.access[access])
}

// Revoke ends every refresh token.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh = map[string]bool{}
}

// Expire ends every access token.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token := range maps.Clone(s.access) {
		s.access[token] = time.Now()
	}
}

// Refreshes is how many renewals were asked for.
func (s *Server) Refreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refreshes
}

// Issued returns every token that was ever given out.
func (s *Server) Issued() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.issued...)
}

// read takes JSON and forms.
func read(r *http.Request) (map[string]string, bool) {
	data, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, false
	}
	fields := map[string]string{}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var object map[string]any
		if json.Unmarshal(data, &object) != nil {
			return nil, false
		}
		for name, value := range object {
			fields[name], _ = value.(string)
		}
		return fields, true
	}
	form, err := url.ParseQuery(string(data))
	for name := range form {
		fields[name] = form.Get(name)
	}
	return fields, err == nil
}

func refuse(w http.ResponseWriter, reason string) {
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": reason, "error_description": "refused by the test"})
}

func random() string {
	var b [48]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
