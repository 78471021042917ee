// Package modelapi is a model provider for tests with real agents. One http.Handler answers the Anthropic
// Messages, OpenAI Responses, OpenAI Chat Completions and Gemini interfaces, streamed or not, by a script
// of turns that the test gives. It is no model: nothing of what the client says changes the answers but
// the tools it offers and how many tool results it has sent. It imports nothing of ours.
package modelapi

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// maxBody bounds a recorded request. Agents send up to a few hundred kilobytes.
const maxBody = 64 << 20

// Server answers with Turns, in order: the n-th turn answers a conversation that holds n tool results, and
// a text ends it. A conversation longer than the script, and a request without tools (a title, a summary, a
// quota probe), get a short text. The fields are set before serving; methods are safe for concurrent use.
type Server struct {
	Turns []Turn
	// Key, when set, is the only API key that is accepted; others get 401.
	Key string

	ids      ids
	mu       sync.Mutex
	requests []Request
}

// Request is one request as it arrived.
type Request struct {
	Method string
	Path   string
	Header http.Header
	Body   []byte
}

// Requests returns what arrived so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.Header.Clone(), raw})
	s.mu.Unlock()
	if s.Key != "" && !presents(r, s.Key) {
		failure(w, http.StatusUnauthorized, "authentication_error", "invalid key")
		return
	}
	var body object
	if len(raw) > 0 && json.Unmarshal(raw, &body) != nil {
		failure(w, http.StatusBadRequest, "invalid_request_error", "the body is no JSON object")
		return
	}
	switch p := r.URL.Path; {
	case strings.HasSuffix(p, "/messages/count_tokens"):
		reply(w, object{"input_tokens": len(raw) / 4})
	case strings.HasSuffix(p, "/messages"):
		s.anthropic(w, body, len(raw)/4)
	case strings.HasSuffix(p, "/responses") && r.Method == http.MethodGet:
		failure(w, http.StatusUpgradeRequired, "not_found_error", "no WebSocket here") // then Codex posts
	case strings.HasSuffix(p, "/responses"):
		s.responses(w, body, len(raw)/4)
	case strings.HasSuffix(p, "/chat/completions"):
		s.chat(w, body, len(raw)/4)
	case strings.HasSuffix(p, ":countTokens"):
		reply(w, object{"totalTokens": len(raw) / 4})
	case strings.HasSuffix(p, ":generateContent"), strings.HasSuffix(p, ":streamGenerateContent"):
		s.gemini(w, body, len(raw)/4, strings.HasSuffix(p, ":streamGenerateContent"))
	case strings.HasSuffix(p, ":loadCodeAssist"):
		reply(w, object{"currentTier": object{"id": "free-tier", "name": "Free"}, "cloudaicompanionProject": "test-project"})
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusOK)
	default:
		failure(w, http.StatusNotFound, "not_found_error", p)
	}
}

// presents tells whether r carries key in any of the places that the four interfaces know.
func presents(r *http.Request, key string) bool {
	return r.Method == http.MethodHead || r.Header.Get("X-Api-Key") == key || r.Header.Get("Authorization") == "Bearer "+key ||
		r.Header.Get("X-Goog-Api-Key") == key || r.URL.Query().Get("key") == key
}
