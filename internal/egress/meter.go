package egress

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
	"github.com/bailey-sandbox/bailey/internal/usage/meter"
)

// Purse pays for the calls of models. It is used by any number of goroutines at once.
type Purse interface {
	// Begin waits until a call may be made, and returns what is to be called, once, with what it has used; cost is what
	// the provider says that it cost, nil where it says nothing. The error's text is for whoever called.
	Begin(ctx context.Context, w Wanted) (settle func(c usage.Call, cost *usage.Money), err error)
}

// Wanted is a call that is about to be made.
type Wanted struct {
	Session, Model string
	Bytes          int64  // the request's size
	Sum            uint32 // two calls of the same size and sum are nearly always the same
	Output         int64  // how many tokens may be written, 0 where the request does not say
}

// modelCall counts what one request to a model's API uses, out of a copy of the bytes that pass, for which nothing waits.
// Only the last byte of the request does, until the purse lets it go: before it no server can begin. A nil one does
// nothing.
type modelCall struct {
	ctx     context.Context
	purse   Purse
	target  meter.Target
	session string
	began   time.Time

	asked   *meter.Request
	settle  func(usage.Call, *usage.Money)
	refused error // by the purse
	answer  *meter.Answer
	status  int
}

// newModelCall returns what counts r, nil when r is no call of a model.
func (h *requests) newModelCall(ctx context.Context, r *http.Request, began time.Time) *modelCall {
	if h.s.Purse == nil {
		return nil
	}
	target, ok := meter.Detect(r.Method, string(h.f.target.Host), r.URL.EscapedPath())
	if !ok {
		return nil
	}
	return &modelCall{ctx: ctx, purse: h.s.Purse, target: target, session: session(r.Header), began: began, asked: meter.NewRequest(target, r.Header.Get("Content-Encoding"))}
}

// uncounted says whether r is to ask a model in a way that cannot be read.
func (h *requests) uncounted(r *http.Request) bool {
	if h.s.Purse == nil || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return false
	}
	_, asks := meter.Detect(http.MethodPost, string(h.f.target.Host), r.URL.EscapedPath())
	return asks
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

// body is the request's body, whose last byte waits for the purse.
func (c *modelCall) body(in io.ReadCloser) io.ReadCloser {
	if c == nil {
		return in
	}
	return &heldBody{ReadCloser: in, call: c}
}

// heldBody keeps one byte back.
type heldBody struct {
	io.ReadCloser
	call *modelCall
	last byte
	has  bool
	done bool
}

func (b *heldBody) Read(p []byte) (int, error) {
	if b.done || len(p) == 0 {
		return 0, io.EOF
	}
	for {
		n, err := b.ReadCloser.Read(p)
		if n > 0 {
			_, _ = b.call.asked.Write(p[:n])
			last := p[n-1]
			if b.has {
				copy(p[1:n], p[:n-1])
				p[0] = b.last
			} else {
				n--
			}
			b.last, b.has = last, true
		}
		switch {
		case err != nil && err != io.EOF:
			return n, err
		case n > 0:
			return n, nil // its end is read again
		case err == io.EOF:
			return b.end(p)
		}
	}
}

// end lets the last byte go, if the purse does.
func (b *heldBody) end(p []byte) (int, error) {
	if err := b.call.begin(); err != nil {
		return 0, err
	}
	b.done = true
	if !b.has {
		return 0, io.EOF
	}
	p[0] = b.last
	return 1, io.EOF
}

func (c *modelCall) begin() error {
	c.asked.Close()
	w := Wanted{Session: c.session, Model: c.asked.Model(), Bytes: c.asked.Bytes(), Sum: c.asked.Sum(), Output: c.asked.MaxOutput()}
	c.settle, c.refused = c.purse.Begin(c.ctx, w)
	return c.refused
}

// answered takes the answer's head.
func (c *modelCall) answered(status int, header http.Header) {
	if c != nil && c.answer == nil && c.refused == nil && status >= 200 {
		c.status, c.answer = status, meter.NewAnswer(c.target, status, header)
	}
}

// received takes a part of the answer's body.
func (c *modelCall) received(p []byte) {
	if c != nil && c.answer != nil {
		_, _ = c.answer.Write(p)
	}
}

// end says what was used. Of an answer that broke off it is what was told until then, and about what was written.
func (c *modelCall) end() {
	if c == nil {
		return
	}
	c.asked.Close() // where it never came to its end
	if c.settle == nil {
		return
	}
	call := usage.Call{Time: c.began.UTC(), Session: c.session, Model: c.asked.Model(), Status: c.status, Latency: time.Since(c.began).Seconds()}
	if c.answer == nil {
		call.Unpriced = "nobody answered"
		c.settle(call, nil)
		return
	}
	said := c.answer.Close()
	call.Tokens, call.Request, call.Unpriced = said.Tokens, said.Request, said.Unpriced
	if said.Model != "" {
		call.Model = said.Model
	}
	if !said.Complete && call.Tokens != (usage.Tokens{}) {
		call.Output, call.Estimated = max(call.Output, c.answer.Written()), true
	}
	c.settle(call, said.Cost)
}

// refuse answers a call for which the purse does not pay as its provider refuses one that is not to be tried again.
func (c *modelCall) refuse(w http.ResponseWriter) {
	text := "bailey: " + c.refused.Error()
	var page any
	switch c.target.API {
	case meter.Gemini:
		page = map[string]any{"error": map[string]any{"code": http.StatusBadRequest, "message": text, "status": "FAILED_PRECONDITION"}}
	case meter.Chat, meter.Responses:
		page = map[string]any{"error": map[string]any{"message": text, "type": "invalid_request_error", "param": nil, "code": "budget_exceeded"}}
	case meter.BedrockInvoke, meter.BedrockConverse:
		w.Header().Set("X-Amzn-Errortype", "ValidationException")
		page = map[string]any{"message": text}
	default:
		page = map[string]any{"type": "error", "error": map[string]any{"type": "invalid_request_error", "message": text}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Should-Retry", "false") // which the providers' own libraries obey
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(page)
}
