// Package policy decides what a sandbox may reach. It is pure: it opens no file and no socket, resolves
// nothing and remembers nothing; egress asks it and does the work. It imports only hostname.
package policy

import (
	"fmt"
	"net/netip"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// Verdict is the outcome of a decision. The zero value denies, and so does every unknown one.
type Verdict int

// The verdicts.
const (
	Deny Verdict = iota
	Allow
	Ask // a human: it denies until one has allowed it
)

// String returns "allow", "ask" or "deny".
func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case Ask:
		return "ask"
	}
	return "deny"
}

// ParseVerdict reads what String writes; anything else denies.
func ParseVerdict(text string) Verdict {
	for _, v := range []Verdict{Allow, Ask} {
		if text == v.String() {
			return v
		}
	}
	return Deny
}

// Decision is a verdict, why, and what it means for the bytes. The zero value denies.
type Decision struct {
	Verdict Verdict
	Rule    string // text of the rule that decided, "" for the default
	Why     string // what that rule is for, in its writer's words
	Reason  string // one sentence for a human, without a full stop; of what the sandbox chose only a host is in it
	Cure    string // the command that would allow it, safe to paste into a shell; "" when none would
	Private bool   // a rule names private addresses expressly

	Protocol Protocol // what may be spoken
	Tunnel   bool     // TLS is carried as it is, unread
	Inspect  bool     // the verdict depends on the request: each has to be read and judged, or refused
	Once     bool     // no rule allows it: a human has, for this one time

	policy *Policy // that decided, for CheckAddr
	req    Request
	asks   bool // what else than requests comes on the connection is asked about
}

// Denies says whether d neither allows nor asks: nobody and nothing can make a yes of it.
func (d Decision) Denies() bool { return d.Verdict != Allow && d.Verdict != Ask }

// Policy is an ordered set of rules. The zero Policy, and a nil one, denies everything. Its methods
// change nothing and may be called from any goroutine.
type Policy struct {
	Default Verdict // for what no rule speaks of; never for addresses inside
	Rules   []Rule
	Sandbox string // whose policy it is, for the commands that it suggests; may be empty
	Frozen  string // why everything is denied until a human has looked, as a sentence; "" while it is not
}

// Decide judges one request, or when it has no method the connection that requests are to come on: that is
// allowed when some request on it could be. A rule that denies beats every rule that allows, whatever their
// order. A name is judged as such: where it leads is judged after its resolution, by CheckAddr.
func (p *Policy) Decide(req Request) Decision {
	if p == nil {
		return Decision{Reason: "there is no policy"}
	}
	if p.Frozen != "" {
		return Decision{Reason: "the sandbox is frozen: " + p.Frozen, Cure: "bailey unpause " + p.Sandbox}
	}
	m := p.match(req)
	if m.deny != nil {
		return m.deny.denial(p, req, req.String()+" is")
	}
	d := Decision{policy: p, req: req}
	unspoken := p.unspoken(req)
	if req.Push != nil {
		unspoken = Deny // a default names no branch
	}
	switch {
	case m.allow != nil:
		d.Verdict, d.Rule, d.Why, d.Private = Allow, m.allow.String(), m.allow.Why, m.private
		d.Protocol, d.Tunnel = m.allow.Protocol, m.allow.TLS == Tunnel
		d.Reason = fmt.Sprintf("%s is allowed by rule %s", req, m.allow.cited())
		if m.allow.limited() && unspoken == Allow && !m.private {
			d.Protocol = Any
		} else {
			d.Inspect = m.allow.limited()
		}
		d.asks = m.allow.limited() && unspoken == Ask && !m.private
	case unspoken == Allow:
		d.Verdict, d.Protocol = Allow, Any
		d.Reason = fmt.Sprintf("%s is allowed by default", req)
	case unspoken == Ask:
		// What comes is read first: a human is asked about a request, and about anything else by its protocol.
		d = d.refused(fmt.Sprintf("no rule speaks of %s", req))
		d.Verdict, d.Inspect, d.asks = Ask, true, true
	default:
		return d.refused(p.whyNot(req, m))
	}
	if m.limit != nil {
		// What is carried unread cannot be refused.
		d.Inspect, d.Protocol, d.Tunnel, d.asks = true, HTTP, false, false
	}
	return d
}

// unspoken is the verdict on req where no rule speaks of it. Addresses inside have to be named, and nobody is asked
// about the name of one.
func (p *Policy) unspoken(req Request) Verdict {
	switch {
	case req.Host == "" && hostname.Classify(req.Addr) != hostname.Public:
		return Deny
	case p.Default == Allow, p.Default == Ask && req.Host != HostAlias:
		return p.Default
	}
	return Deny
}

// whyNot says why no rule allows req.
func (p *Policy) whyNot(req Request, m matches) string {
	switch {
	case m.otherRequest != nil:
		return fmt.Sprintf("no rule allows %s: rule %s is for other requests", req, m.otherRequest.cited())
	case m.otherPort != nil && req.Port != 0:
		return fmt.Sprintf("no rule allows %s: rule %s is for other ports", req, m.otherPort.cited())
	case m.shut != nil, (p.Default == Allow || p.Default == Ask) && req.Host == "":
		return fmt.Sprintf("no rule names %s, a %s address", req, hostname.Classify(req.Addr))
	}
	return fmt.Sprintf("no rule allows %s", req)
}

// DecideName says whether any port of a name is allowed or asked about, that is whether the sandbox may learn that
// the name exists. The Decision is that port's, or the refusal.
func (p *Policy) DecideName(name hostname.Name) Decision {
	if p != nil {
		for i := range p.Rules {
			r := &p.Rules[i]
			if r.Verdict != Allow || !r.Host.Match(name) {
				continue
			}
			for _, port := range r.ports() {
				if d := p.Decide(Request{Host: name, Port: port}); d.Verdict == Allow {
					return d
				}
			}
		}
	}
	return p.Decide(Request{Host: name}) // port 0 stands for one that no rule mentions
}

// CheckAddr turns d, the decision about a name, into the decision about one address that the name
// resolved to. Whoever runs a name's server chooses its addresses, so only public ones follow from the
// name being allowed, and none that a rule denies; a rule marked private opens the host's and its network's,
// but never link-local ones, where clouds keep credentials: those have to be written down as addresses. When
// one rule for a name is private and another is not, a request may be allowed only elsewhere than its connection:
// whoever judges requests checks the address for each.
func (d Decision) CheckAddr(name hostname.Name, a netip.Addr) Decision {
	if d.Verdict != Allow {
		return d
	}
	if r := d.policy.denies(a, d.req.Port); r != nil {
		return r.denial(d.policy, d.req, fmt.Sprintf("%s leads to %s, which is", name, a))
	}
	class := hostname.Classify(a)
	if class == hostname.Public || d.Private && opened(class) {
		return d
	}
	refusal := Decision{Rule: d.Rule, Reason: fmt.Sprintf("%s leads to %s, a %s address", name, a, class), policy: d.policy, req: d.req}
	if opened(class) {
		refusal.Reason += fmt.Sprintf(", and only a rule that starts with %q opens those", privatePrefix)
		refusal.Cure = d.req.cure(d.policy, Rule{Private: true, Protocol: d.Protocol})
	}
	return refusal
}

func (d Decision) refused(reason string) Decision {
	d.Verdict, d.Reason = Deny, reason
	d.Cure = d.req.cure(d.policy, Rule{})
	return d
}

// opened says whether a rule marked private opens addresses of that class.
func opened(c hostname.Class) bool {
	switch c {
	case hostname.Private, hostname.Loopback, hostname.CGNAT, hostname.Benchmark:
		// Benchmark: some VPN clients resolve every name into 198.18.0.0/15 on the host.
		return true
	}
	return false
}
