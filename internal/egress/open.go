package egress

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

// openFlow is what has to be known of a flow to judge it again. Its fields behind end are the registry's.
type openFlow struct {
	req      policy.Request
	end      context.CancelCauseFunc
	decision policy.Decision // that let it through, or holds it; the zero one until there is one
	addr     netip.Addr      // that was dialled; the zero one until there is one
}

// registry is every flow that is being judged or carried. The zero registry is empty.
type registry struct {
	mu    sync.Mutex
	flows map[*openFlow]bool
}

// add comes before the first judgement: whoever changes the policy then finds the flow here, or the flow finds
// the new policy.
func (r *registry) add(f *openFlow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flows == nil {
		r.flows = map[*openFlow]bool{}
	}
	r.flows[f] = true
}

func (r *registry) remove(f *openFlow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flows, f)
}

// hold notes that nothing of f passes without another judgement, whatever becomes of the policy.
func (r *registry) hold(f *openFlow, d policy.Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.decision = d
}

// settle notes how f was let through, and judges that by the policy that is in force by now.
func (r *registry) settle(f *openFlow, d policy.Decision, addr netip.Addr, p *policy.Policy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.decision, f.addr = d, addr
	f.recheck(p)
}

// Recheck ends every open flow that the policy in force would not let through any more, and answers the questions
// that it decides. Whoever changes what Policy returns calls it afterwards.
func (s *Server) Recheck() {
	s.asked.rejudge()
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	p := s.policy()
	for f := range s.open.flows {
		f.recheck(p)
	}
}

func (f *openFlow) recheck(p *policy.Policy) {
	if f.decision.Verdict == policy.Ask {
		return // whoever waits is told
	}
	d := p.Decide(f.req)
	if f.decision.Once { // a human's word stays good until a rule speaks
		if f.decision.Protocol == policy.TCP && d.Protocol == policy.HTTP {
			d = d.NotHTTP()
		}
		d = d.Approved()
	}
	if f.req.Host != "" && f.addr.IsValid() {
		d = d.CheckAddr(f.req.Host, f.addr)
	}
	unread := f.decision.Protocol != policy.HTTP || f.decision.Tunnel
	switch {
	case d.Verdict == policy.Ask && f.decision.Verdict != policy.Allow: // nobody has been asked yet
	case d.Verdict != policy.Allow:
		f.end(fmt.Errorf("the policy has changed: %s", d.Reason))
	case unread && (d.Inspect || d.Protocol != f.decision.Protocol || d.Tunnel != f.decision.Tunnel):
		f.end(fmt.Errorf("the policy has changed: what is sent to %s has to be read now", f.req))
	}
}
