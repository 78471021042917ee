package egress

import (
	"context"
	"errors"
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
	id     uint64
	began  time.Time
	target policy.Request // what the sandbox means by Dst
	open   *openFlow
	ahead  *dialled // while its handshake waited, or nil
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
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(ctx, func() { reset(f.Conn) })()
	if f.target.Host == "" && f.target.Addr == netip.MustParseAddr(gateway.Gateway) {
		switch f.target.Port {
		case 80:
			s.serveSelf(ctx, f)
			return
		case proxyPort:
			s.serveProxy(ctx, f)
			return
		}
	}
	f.open = &openFlow{req: f.target, end: end}
	s.open.add(f.open)
	defer s.open.remove(f.open)
	decision := s.policy().Decide(f.target)
	switch {
	case decision.Verdict == policy.Ask:
		s.serveAsked(ctx, f, decision)
	case decision.Verdict != policy.Allow:
		s.teach(ctx, f, decision)
	case decision.Protocol == policy.TCP:
		s.carry(ctx, f, decision, nil)
	case decision.Protocol == policy.HTTP:
		s.serveFirst(ctx, f, decision, firstTimeout)
	case decision.Protocol == policy.Any:
		s.serveFirst(ctx, f, decision, serverFirst)
	default:
		s.refuse(f, f.event(policy.Decision{Rule: decision.Rule, Reason: "the rule is for a protocol that is not known"}))
	}
}

// carry passes everything on as it is, beginning with what of it was read already.
func (s *Server) carry(ctx context.Context, f *flow, decision policy.Decision, first []byte) {
	upstream, e, err := s.dial(ctx, f, decision)
	if err != nil {
		_ = f.Reset()
		return
	}
	_, err = upstream.Write(first)
	// The flow's own connection, because io.Copy knows splice(2) only between bare *net.TCPConns.
	out, in, copyErr := gateway.Copy(ctx, f.Conn, upstream)
	e.BytesOut, e.BytesIn = out+int64(len(first)), in
	s.recordClose(f, e, errors.Join(err, copyErr))
}

// dial connects f to where it may go, and records that before the first byte can pass: a decision that cannot be
// recorded is a denial. Its error is a refusal when the policy is the reason. The event is for recordClose.
func (s *Server) dial(ctx context.Context, f *flow, decision policy.Decision) (net.Conn, audit.Event, error) {
	upstream, addr, err := s.connectFlow(ctx, f, decision)
	var denied refusal
	if errors.As(err, &denied) {
		e := f.event(denied.Decision)
		e.Addr = denied.addr.String()
		_ = s.record(e)
		return nil, e, err
	}
	e := f.event(decision)
	if addr.IsValid() {
		e.Addr = addr.String()
	}
	if err != nil {
		e.Error = err.Error()
	}
	if recordErr := s.record(e); err != nil || recordErr != nil {
		if upstream != nil {
			_ = upstream.Close()
		}
		return nil, e, errors.Join(err, recordErr)
	}
	s.open.settle(f.open, decision, addr, s.policy())
	return upstream, e, nil
}

func (s *Server) recordClose(f *flow, e audit.Event, err error) {
	e.Kind, e.Time, e.Reason, e.Duration = audit.KindClose, time.Time{}, "", time.Since(f.began)
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

func (f *flow) event(d policy.Decision) audit.Event {
	e := audit.Event{Kind: audit.KindConnect, Flow: f.id, Host: string(f.target.Host), Port: f.target.Port,
		Verdict: d.Verdict.String(), Rule: d.Rule, Reason: d.Reason}
	if f.target.Host == "" {
		e.Addr = f.target.Addr.String()
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
