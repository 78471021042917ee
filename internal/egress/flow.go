package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// flow is one connection of the sandbox on its way through.
type flow struct {
	gateway.Flow
	id    uint64
	began time.Time
}

// target is what the sandbox means by dst: the name that the address was made up for, or else the
// address itself.
func (s *Server) target(dst netip.AddrPort) policy.Request {
	addr := dst.Addr().Unmap()
	if name := s.names.name(addr); name != "" {
		return policy.Request{Host: name, Port: dst.Port()}
	}
	return policy.Request{Addr: addr, Port: dst.Port()}
}

// serveFlow judges one flow, and carries it when it is allowed.
func (s *Server) serveFlow(ctx context.Context, f *flow) {
	req := s.target(f.Dst)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	open := &openFlow{req: req, end: end}
	s.open.add(open)
	defer s.open.remove(open)
	decision := s.policy().Decide(req)
	if decision.Inspect {
		// Requests are not read yet, and what has to be judged and is not must not pass.
		decision = policy.Decision{Rule: decision.Rule, Reason: fmt.Sprintf("the rules for %s are about requests, which cannot be judged yet", req)}
	}
	if decision.Verdict != policy.Allow {
		s.refuse(f, f.event(req, decision))
		return
	}
	upstream, addr, err := s.connect(ctx, req, decision)
	var denied refusal
	if errors.As(err, &denied) {
		e := f.event(req, denied.Decision)
		e.Addr = denied.addr.String()
		s.refuse(f, e)
		return
	}
	e := f.event(req, decision)
	if addr.IsValid() {
		e.Addr = addr.String()
	}
	if err != nil {
		e.Error = err.Error()
	}
	// The record comes before the first byte: a decision that cannot be recorded is a denial.
	if recordErr := s.record(e); err != nil || recordErr != nil {
		if upstream != nil {
			_ = upstream.Close()
		}
		_ = f.Reset()
		return
	}
	s.open.settle(open, decision, addr, s.policy())
	// The flow's own connection, because io.Copy knows splice(2) only between bare *net.TCPConns.
	out, in, err := relay(ctx, f.Conn, upstream)
	e.Kind, e.Time, e.Reason = audit.KindClose, time.Time{}, ""
	e.BytesOut, e.BytesIn, e.Duration = out, in, time.Since(f.began)
	if err != nil {
		e.Error = err.Error()
	}
	_ = s.record(e)
}

// refuse resets f, so that connect or the first read inside fails instead of waiting.
func (s *Server) refuse(f *flow, e audit.Event) {
	_ = s.record(e)
	_ = f.Reset()
}

func (f *flow) event(req policy.Request, d policy.Decision) audit.Event {
	e := audit.Event{Kind: audit.KindConnect, Flow: f.id, Host: string(req.Host), Port: req.Port,
		Verdict: d.Verdict.String(), Rule: d.Rule, Reason: d.Reason}
	if req.Host == "" {
		e.Addr = req.Addr.String()
	}
	return e
}

func (s *Server) record(e audit.Event) error {
	err := s.Audit.Record(e)
	if err != nil {
		s.log().Error("cannot record a decision", "error", err)
	}
	return err
}

// reset closes c so that its peer sees a reset.
func reset(c net.Conn) { _ = gateway.Flow{Conn: c}.Reset() }
