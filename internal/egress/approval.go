package egress

import (
	"context"
	"net/http"
	"time"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// Questions are what a human is asked about this sandbox. Who answers one for longer than once changes the policy,
// and calls Recheck.
func (s *Server) Questions() *Questions { return &s.asked }

// serveAsked serves f, about which d says that a human is asked, by what comes on it: that is judged by the policy
// that is in force then. Where everybody speaks HTTP no server speaks first, and who is silent connects ahead of a
// request that may never come.
func (s *Server) serveAsked(ctx context.Context, f *flow, d policy.Decision) {
	s.open.hold(f.open, d)
	wait := serverFirst
	if f.target.Port == 80 || f.target.Port == 443 {
		wait = firstTimeout
	}
	s.serveFirst(ctx, f, d, wait)
}

// approve judges req, which is f's target or a request to it, and returns what judge says of it or, where that is a
// question, what becomes of it. unread says that nobody reads f meanwhile, and so nobody sees the program leave.
func (s *Server) approve(ctx context.Context, f *flow, req policy.Request, unread bool, judge func() policy.Decision) policy.Decision {
	d := judge()
	if d.Verdict != policy.Ask {
		return d
	}
	about := Question{Host: string(req.Host), Port: req.Port, Protocol: d.Protocol, Method: req.Method, Path: req.Path}
	if req.Host == "" {
		about.Host = req.Addr.String()
		if why := s.whyOwn(req.Addr); why != "" {
			return d.Rejected(why)
		}
	}
	if unread {
		there, end := f.whileThere(ctx)
		defer end()
		ctx = there
	}
	return s.asked.ask(ctx, about, judge, func(d policy.Decision) error {
		e := f.event(d)
		e.Kind, e.Method, e.Path = audit.KindAsk, req.Method, req.Path
		return s.record(e)
	})
}

// approve judges a request. Its body stays unread while a human decides.
func (h *requests) approve(r *http.Request, req policy.Request) policy.Decision {
	unread := !h.http2 && r.ContentLength != 0 // else net/http reads on, for the next request
	return h.s.approve(r.Context(), h.f, req, unread, func() policy.Decision { return h.s.policy().Decide(req) })
}

// serveOther carries a connection that is neither TLS nor HTTP where the policy, or a human whom it asks, allows
// that, and refuses it elsewhere, and where it was refused already.
func (s *Server) serveOther(ctx context.Context, f *flow, decision policy.Decision, first []byte) {
	if decision.Denies() {
		s.refuse(f, f.event(decision))
		return
	}
	d := s.approve(ctx, f, f.target, true, func() policy.Decision {
		d := s.policy().Decide(f.target)
		if d.Verdict != policy.Deny && d.Protocol == policy.HTTP {
			d = d.NotHTTP()
		}
		return d
	})
	if d.Verdict != policy.Allow {
		s.refuse(f, f.event(d))
		return
	}
	s.carry(ctx, f, d, first)
}

// whileThere returns a context that ends also when the program inside ends its side of f, and what to call before f
// is read again: nobody may read it until then.
func (f *flow) whileThere(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if awaitLeave(f.Conn) {
			cancel()
		}
	}()
	return ctx, func() {
		_ = f.SetReadDeadline(time.Unix(1, 0)) // wakes the watcher
		<-watched
		_ = f.SetReadDeadline(time.Time{})
		cancel()
	}
}
