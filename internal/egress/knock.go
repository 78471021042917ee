package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// patience is how long a connection that was dialled waits for its flow: as long as an acknowledgement takes that is
// lost twice.
const patience = 5 * time.Second

// hold judges handshakes, where src can have them wait, until it is closed.
func (s *Server) hold(ctx context.Context, src gateway.Source) {
	if h, ok := src.(gateway.Holder); ok {
		h.Hold(func(from, to netip.AddrPort) gateway.Verdict { return s.knock(ctx, from, to) })
	}
}

// knock says how the handshake of a connection ends. Where nobody speaks HTTP, what is denied is refused by it, and what
// will be carried unread is dialled first, so that connecting fails inside as it does outside. Requests get answers
// of their own; their connections pass. So does everything that cannot be dialled ahead: whatever passes is judged
// again as a flow.
func (s *Server) knock(ctx context.Context, from, to netip.AddrPort) gateway.Verdict {
	f := &flow{Flow: gateway.Flow{Dst: to}, began: time.Now(), target: s.target(to)}
	decision := s.policy().Decide(f.target)
	raw := policy.RawPort(f.target.Port)
	switch {
	case decision.Denies() && raw:
		f.id = s.lastID.Add(1)
		_ = s.record(f.event(decision))
		return gateway.Refuse
	case decision.Verdict != policy.Allow:
		return gateway.Pass
	case decision.Protocol == policy.TCP, decision.Protocol == policy.Any && raw && !decision.Inspect:
	default:
		return gateway.Pass
	}
	if s.flows.Add(1) > s.maxFlows() { // it takes a descriptor, as flows do
		s.flows.Add(-1)
		return gateway.Pass
	}
	d := &dialled{decision: decision}
	d.abandon = func() { s.abandon(f, d) }
	d.conn, d.addr, d.err = s.connect(ctx, f.target, decision)
	if d.err == nil {
		s.ahead.put(unmapped(from, to), d)
		return gateway.Pass
	}
	s.flows.Add(-1)
	f.id, f.ahead = s.lastID.Add(1), d
	_, _, err := s.dial(ctx, f, decision) // which only records
	var denied refusal
	if errors.As(err, &denied) || errors.Is(err, syscall.ECONNREFUSED) {
		return gateway.Refuse
	}
	return gateway.Unreachable
}

// abandon closes what was dialled for a flow that never came.
func (s *Server) abandon(f *flow, d *dialled) {
	s.flows.Add(-1)
	d.close()
	f.id = s.lastID.Add(1)
	e := f.event(d.decision)
	e.Addr, e.Error = d.addr.String(), "the program inside has given up meanwhile"
	_ = s.record(e)
}

// takeAhead is what was dialled while f's handshake waited, nil for nothing. Whoever takes it closes it.
func (s *Server) takeAhead(f gateway.Flow) *dialled {
	from, err := netip.ParseAddrPort(f.RemoteAddr().String())
	if err != nil {
		return nil
	}
	d := s.ahead.take(unmapped(from, f.Dst))
	if d != nil {
		s.flows.Add(-1) // the flow counts itself
	}
	return d
}

// connectFlow is connect, unless that was done ahead and nothing has changed since: the policy in force is another
// value when anything in it is.
func (s *Server) connectFlow(ctx context.Context, f *flow, decision policy.Decision) (net.Conn, netip.Addr, error) {
	if d := f.ahead; d != nil && d.decision == decision && d.used.CompareAndSwap(false, true) {
		return d.conn, d.addr, d.err
	}
	f.ahead.close()
	return s.connect(ctx, f.target, decision)
}

// pair is where a connection of the sandbox's comes from and where it wants to go.
type pair struct{ from, to netip.AddrPort }

func unmapped(from, to netip.AddrPort) pair {
	return pair{netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), netip.AddrPortFrom(to.Addr().Unmap(), to.Port())}
}

// dialled is how dialling ahead ended.
type dialled struct {
	decision policy.Decision
	conn     net.Conn
	addr     netip.Addr
	err      error
	used     atomic.Bool
	expiry   *time.Timer
	abandon  func()
}

// close ends the connection unless somebody uses it. A nil dialled has none.
func (d *dialled) close() {
	if d != nil && d.used.CompareAndSwap(false, true) && d.conn != nil {
		_ = d.conn.Close()
	}
}

// ahead are the connections whose flow is not there yet. The zero ahead is empty.
type ahead struct {
	mu      sync.Mutex
	waiting map[pair]*dialled
}

// put keeps d until it is taken, or abandons it: after patience, or when its client has begun anew.
func (a *ahead) put(p pair, d *dialled) {
	a.mu.Lock()
	old := a.waiting[p]
	if a.waiting == nil {
		a.waiting = map[pair]*dialled{}
	}
	a.waiting[p] = d
	d.expiry = time.AfterFunc(patience, func() {
		if a.remove(p, d) {
			d.abandon()
		}
	})
	a.mu.Unlock()
	if old != nil {
		old.expiry.Stop()
		old.abandon()
	}
}

func (a *ahead) take(p pair) *dialled {
	a.mu.Lock()
	d := a.waiting[p]
	a.mu.Unlock()
	if d == nil || !a.remove(p, d) {
		return nil
	}
	d.expiry.Stop()
	return d
}

// remove says whether d was still there.
func (a *ahead) remove(p pair, d *dialled) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting[p] != d {
		return false
	}
	delete(a.waiting, p)
	return true
}

// abandonAll is for the end, when nobody puts any more.
func (a *ahead) abandonAll() {
	a.mu.Lock()
	left := a.waiting
	a.waiting = nil
	a.mu.Unlock()
	for _, d := range left {
		d.expiry.Stop()
		d.abandon()
	}
}
