package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

// Approvals are the questions that wait for a human.
type Approvals struct {
	Seq       uint64     `json:"seq"`  // grows whenever others are open, or anything else here is other
	Asks      bool       `json:"asks"` // whether the sandbox's policy asks at all
	Questions []Question `json:"questions"`
	// Alert is a sentence that who is attached should see beside them; "" for none.
	Alert string `json:"alert,omitempty"`
	// Spent is what the models cost since the sandbox was started, as people read it; "" while that is nothing.
	Spent string `json:"spent,omitempty"`
}

// Question is one of them: whether the sandbox may speak Protocol with Port of Host. Method and Path are the
// sandbox's own words.
type Question struct {
	ID       uint64    `json:"id"`
	Host     string    `json:"host"` // a name in canonical form, or an address
	Port     uint16    `json:"port"`
	Protocol string    `json:"protocol"`
	Method   string    `json:"method,omitempty"` // of the requests that wait; "" where they differ
	Path     string    `json:"path,omitempty"`   // the same
	Asked    time.Time `json:"asked"`
	Waiting  int       `json:"waiting"`
	Rule     string    `json:"rule,omitempty"` // that allows it for longer
}

// How long an answer is good.
const (
	Once    = "once"    // for what waits now
	Session = "session" // until the sandbox stops
	Always  = "always"  // until somebody takes it back
)

// Answer is the body of POST /v1/approvals/{id}.
type Answer struct {
	Verdict string `json:"verdict"` // "allow" or "deny"
	Scope   string `json:"scope"`
}

// Check says what is wrong with an answer, and returns its verdict.
func (a Answer) Check() (policy.Verdict, error) {
	v := policy.ParseVerdict(a.Verdict)
	if v == policy.Ask || v.String() != a.Verdict {
		return policy.Deny, fmt.Errorf("unknown verdict %q: an answer is allow or deny", a.Verdict)
	}
	switch a.Scope {
	case Once, Session, Always:
		return v, nil
	}
	return policy.Deny, fmt.Errorf("unknown scope %q: an answer is for once, session or always", a.Scope)
}

// ErrNoQuestion: nobody waits for an answer to that question any more.
var ErrNoQuestion = errors.New("the question is not open: it was answered, or nobody waits for it any more")

// Approvals asks for the open questions.
func (c *Client) Approvals(ctx context.Context) (Approvals, error) {
	var v Approvals
	return v, c.call(ctx, "GET /v1/approvals", nil, &v)
}

// AwaitApprovals waits for other questions than those of Seq seen.
func (c *Client) AwaitApprovals(ctx context.Context, seen uint64) (Approvals, error) {
	var v Approvals
	return v, c.call(ctx, fmt.Sprintf("GET /v1/approvals?wait=%d", seen), nil, &v)
}

// Answer answers one question; see Supervisor.
func (c *Client) Answer(ctx context.Context, id uint64, a Answer) error {
	return c.call(ctx, fmt.Sprintf("POST /v1/approvals/%d", id), a, nil)
}

func (h *handler) approvals(w http.ResponseWriter, r *http.Request) error {
	text := r.URL.Query().Get("wait")
	if text == "" {
		v, err := h.sup.Approvals(r.Context())
		return answer(w, v, err)
	}
	seen, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return errors.New("cannot read the request: wait is not a number")
	}
	// Nothing may hold up the end of the server, which waits for its answers.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.ending, cancel)()
	v, err := h.sup.AwaitApprovals(ctx, seen)
	return answer(w, v, err)
}

// answer goes on when the client leaves: what was answered is answered.
func (h *handler) answer(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return ErrNoQuestion
	}
	var a Answer
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		return errors.New("cannot read the request: not the JSON that was expected")
	}
	if _, err := a.Check(); err != nil {
		return err
	}
	return answer(w, struct{}{}, h.sup.Answer(context.WithoutCancel(r.Context()), id, a))
}
