package egress

import (
	"net/http"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
	"github.com/bailey-sandbox/bailey/internal/usage/meter"
)

// modelCall counts what one request to a model's API uses, out of a copy of the bytes that pass. Nothing waits for it.
// A nil one counts nothing.
type modelCall struct {
	target  meter.Target
	session string
	began   time.Time
	asked   *meter.Request
	answer  *meter.Answer
	status  int
}

// newModelCall returns what counts r, nil when r is no call of a model.
func (h *requests) newModelCall(r *http.Request, began time.Time) *modelCall {
	if h.s.Used == nil {
		return nil
	}
	target, ok := meter.Detect(r.Method, string(h.f.target.Host), r.URL.EscapedPath())
	if !ok {
		return nil
	}
	return &modelCall{target: target, session: session(r.Header), began: began, asked: meter.NewRequest(target)}
}

// session is the agent's own name of its session, where it sends one that can be shown.
func session(h http.Header) string {
	const longest = 100
	for _, name := range []string{"X-Claude-Code-Session-Id", "Session_id", "X-Session-Id"} {
		if id := h.Get(name); id != "" && len(id) <= longest && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" {
			return id
		}
	}
	return ""
}

// sent takes a part of the request's body.
func (c *modelCall) sent(p []byte) {
	if c != nil {
		_, _ = c.asked.Write(p)
	}
}

// answered takes the answer's head.
func (c *modelCall) answered(status int, header http.Header) {
	if c != nil && c.answer == nil && (status >= 200 || status == http.StatusSwitchingProtocols) {
		c.status, c.answer = status, meter.NewAnswer(c.target, status, header)
	}
}

// received takes a part of the answer's body.
func (c *modelCall) received(p []byte) {
	if c != nil && c.answer != nil {
		_, _ = c.answer.Write(p)
	}
}

// end tells what was used. A call that nobody answered used nothing that anybody knows of.
func (c *modelCall) end(used func(usage.Call, meter.Result)) {
	if c == nil || c.answer == nil {
		return
	}
	result := c.answer.Close()
	call := usage.Call{Time: c.began.UTC(), Session: c.session, Model: result.Model, Request: result.Request, Status: c.status,
		Tokens: result.Tokens, Unpriced: result.Unpriced, Estimated: !result.Complete && result.Tokens != usage.Tokens{}, Latency: time.Since(c.began).Seconds()}
	if call.Model == "" {
		call.Model = c.asked.Model()
	}
	used(call, result)
}
