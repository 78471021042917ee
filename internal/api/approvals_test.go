package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

func TestQuestionsAndAnswersCross(t *testing.T) {
	sup := &stub{}
	c := serve(t, sup, t.TempDir())
	for name, ask := range map[string]func() (Approvals, error){
		"now":                 func() (Approvals, error) { return c.Approvals(t.Context()) },
		"others than seen":    func() (Approvals, error) { return c.AwaitApprovals(t.Context(), 2) },
		"others than nothing": func() (Approvals, error) { return c.AwaitApprovals(t.Context(), 0) },
	} {
		v, err := ask()
		if err != nil || v.Seq != 3 || !v.Asks || len(v.Questions) != 1 || v.Questions[0].ID != 7 || v.Questions[0].Host != "a.test" {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	for _, verdict := range []string{"allow", "deny"} {
		for _, scope := range []string{Once, Session, Always} {
			a := Answer{Verdict: verdict, Scope: scope}
			if err := c.Answer(t.Context(), 7, a); err != nil || sup.answered.Load() != a {
				t.Errorf("%+v: %v, it arrives as %+v", a, err, sup.answered.Load())
			}
		}
	}
	if err := c.Answer(t.Context(), 8, Answer{Verdict: "allow", Scope: Once}); !errors.Is(err, ErrNoQuestion) {
		t.Errorf("a question that nobody asked: %v", err)
	}
	sup.answered.Store(Answer{})
	for _, a := range []Answer{{}, {Verdict: "allow"}, {Scope: Once}, {Verdict: "ask", Scope: Once}, {Verdict: "Allow", Scope: Once}, {Verdict: "allow", Scope: "ever"}} {
		if err := c.Answer(t.Context(), 7, a); err == nil || sup.answered.Load() != (Answer{}) {
			t.Errorf("%+v is taken", a)
		}
		if v, err := a.Check(); v != policy.Deny || err == nil {
			t.Errorf("%+v: %s, %v", a, v, err)
		}
	}
}

// A client that waits holds up neither the server's end nor, when it goes, anything at all: serve's goleak sees it.
func TestWhoWaitsForQuestionsHoldsNothingUp(t *testing.T) {
	sup := &stub{}
	dir := t.TempDir()
	ln, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, sup, slog.New(slog.DiscardHandler)) }()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	left := make(chan error, 2)
	go func() { _, err := c.AwaitApprovals(gone, 3); left <- err }()
	go func() { _, err := c.AwaitApprovals(t.Context(), 3); left <- err }()
	for sup.waiting.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	end()
	if err := <-left; err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("who stayed: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
