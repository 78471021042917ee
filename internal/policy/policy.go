// Package policy decides which hosts a sandbox may reach. It is pure: it opens no file and no socket,
// resolves nothing and remembers nothing; egress asks it and does the work. It imports only hostname.
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
)

// String returns "allow" or "deny".
func (v Verdict) String() string {
	if v == Allow {
		return "allow"
	}
	return "deny"
}

// Request is what the sandbox wants: a connection to Port of Host or, when it named no name, of Addr.
type Request struct {
	Host hostname.Name
	Addr netip.Addr // judged only when Host is empty
	Port uint16
}

// String returns host:port, or only the host when no port is asked for.
func (r Request) String() string {
	host := string(r.Host)
	if host == "" {
		host = r.Addr.String()
		if r.Port != 0 {
			return netip.AddrPortFrom(r.Addr, r.Port).String()
		}
	}
	if r.Port == 0 {
		return host
	}
	return fmt.Sprintf("%s:%d", host, r.Port)
}

// Decision is a verdict and why. The zero value denies.
type Decision struct {
	Verdict Verdict
	Rule    string // text of the rule that decided, "" for the default
	Reason  string // one sentence for a human, without a full stop
	Private bool   // the rule names private addresses expressly
}

// Policy is an ordered set of rules. The zero Policy, and a nil one, denies everything. Its methods
// change nothing and may be called from any goroutine.
type Policy struct {
	Default Verdict // for what no rule speaks of; never for addresses inside
	Rules   []Rule
}

// Decide judges one connection. A rule that denies beats every rule that allows, whatever their order.
// A name is judged as such: where it leads is judged after its resolution, by CheckAddr.
func (p *Policy) Decide(req Request) Decision {
	if p == nil {
		return Decision{Reason: "there is no policy"}
	}
	var allow, otherPort *Rule
	for i := range p.Rules {
		r := &p.Rules[i]
		switch {
		case !r.matchesHost(req):
		case r.Verdict == Allow && !r.matchesPort(req.Port):
			otherPort = r
		case r.Verdict == Allow:
			// Of several, the one that opens most.
			if allow == nil || r.Private {
				allow = r
			}
		case r.matchesPort(req.Port):
			return Decision{Rule: r.String(), Reason: fmt.Sprintf("%s is denied by rule %s", req, r.cited())}
		}
	}
	switch {
	case allow != nil:
		d := Decision{Verdict: Allow, Rule: allow.String(), Private: allow.Private,
			Reason: fmt.Sprintf("%s is allowed by rule %s", req, allow.cited())}
		return d.checkLiteral(req)
	case p.Default == Allow:
		d := Decision{Verdict: Allow, Reason: fmt.Sprintf("%s is allowed by default", req)}
		return d.checkLiteral(req)
	case otherPort != nil && req.Port != 0:
		return Decision{Reason: fmt.Sprintf("no rule allows %s: rule %s is for other ports", req, otherPort.cited())}
	}
	return Decision{Reason: fmt.Sprintf("no rule allows %s", req)}
}

// DecideName says whether any port of a name is allowed, that is whether the sandbox may learn that the
// name exists. The Decision is that port's, or the refusal.
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
// name being allowed; a rule marked private opens the host's and its network's, but never link-local
// ones, where clouds keep credentials: those have to be written down as addresses.
func (d Decision) CheckAddr(name hostname.Name, a netip.Addr) Decision {
	class := hostname.Classify(a)
	if d.Verdict != Allow || class == hostname.Public {
		return d
	}
	switch class {
	case hostname.Private, hostname.Loopback, hostname.CGNAT, hostname.Benchmark:
		// Benchmark: some VPN clients resolve every name into 198.18.0.0/15 on the host.
		if d.Private {
			return d
		}
		return Decision{Rule: d.Rule, Reason: fmt.Sprintf(
			"%s leads to %s, a %s address, and only a rule that starts with %q opens those", name, a, class, privatePrefix)}
	}
	return Decision{Rule: d.Rule, Reason: fmt.Sprintf("%s leads to %s, a %s address", name, a, class)}
}

// checkLiteral is the same for an address that the sandbox itself named.
func (d Decision) checkLiteral(req Request) Decision {
	if req.Host != "" || hostname.Classify(req.Addr) == hostname.Public || d.Private {
		return d
	}
	return Decision{Reason: fmt.Sprintf("no rule names %s, a %s address", req, hostname.Classify(req.Addr))}
}
