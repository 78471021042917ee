//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// model is a provider on the host's loopback address, which sandboxes reach by the host's name.
type model struct {
	*modelapi.Server
	scheme, port string
}

const modelKey = "sk-ant-of-the-test-0123456789"

func serveModel(t *testing.T, turns ...modelapi.Turn) *model {
	t.Helper()
	m := &model{Server: &modelapi.Server{Turns: turns, Key: modelKey}, scheme: "http"}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	_, m.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return m
}

// serveModelTLS is serveModel as providers are: over TLS, with a certificate that u's host trusts, and the sandbox
// does not. What an agent says to it has been opened on the way.
func serveModelTLS(u *user, turns ...modelapi.Turn) *model {
	u.t.Helper()
	m := &model{Server: &modelapi.Server{Turns: turns, Key: modelKey}, scheme: "https"}
	port, roots := serveTLS(u.t, m.ServeHTTP)
	u.env, m.port = append(u.env, "SSL_CERT_FILE="+roots), port
	return m
}

// url is where the provider is, as seen from inside.
func (m *model) url() string { return m.scheme + "://host.bailey.internal:" + m.port }

// run is the command line that runs an agent with this model; more stands before the agent's name.
func (m *model) run(more ...string) []string {
	return append([]string{"run", "--allow", "host.bailey.internal:" + m.port,
		"-e", "ANTHROPIC_BASE_URL=" + m.url(), "-e", "ANTHROPIC_API_KEY=" + modelKey}, more...)
}

// answered checks what the provider saw: a conversation, streamed, in which want tool results came back and
// none of them was an error. It knows the Anthropic Messages API.
func (m *model) answered(t *testing.T, want int) {
	t.Helper()
	most := -1
	for _, r := range m.Requests() {
		if !strings.HasSuffix(r.Path, "/messages") {
			continue
		}
		var body struct {
			Stream   bool
			Tools    []any
			Messages []struct{ Content json.RawMessage }
		}
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Errorf("a request is no JSON: %v", err)
		}
		if len(body.Tools) == 0 {
			continue
		}
		if !body.Stream {
			t.Error("a request of the conversation was not streamed")
		}
		results := 0
		for _, message := range body.Messages {
			var blocks []struct {
				Type    string
				IsError bool `json:"is_error"`
				Content json.RawMessage
			}
			_ = json.Unmarshal(message.Content, &blocks) // a plain string is no block
			for _, b := range blocks {
				if b.Type == "tool_result" {
					results++
				}
				if b.IsError {
					t.Errorf("a tool failed: %s", b.Content)
				}
			}
		}
		most = max(most, results)
	}
	if most != want {
		t.Errorf("%d tool results came back, want %d; requests: %s", most, want, m.summary())
	}
}

func (m *model) summary() string {
	var b strings.Builder
	for _, r := range m.Requests() {
		fmt.Fprintf(&b, "%s %s (%d bytes)\n", r.Method, r.Path, len(r.Body))
	}
	return b.String()
}
