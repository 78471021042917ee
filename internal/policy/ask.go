package policy

import "fmt"

// NotHTTP turns d, which is about a connection for requests, into the decision about one that carries something
// else: a refusal, or a question where the policy asks about what no rule speaks of.
func (d Decision) NotHTTP() Decision {
	other := Decision{Rule: d.Rule, Reason: fmt.Sprintf("%s speaks neither TLS nor HTTP, and no rule allows other protocols there", d.req.connection()),
		Cure: d.req.cure(d.policy, Rule{Private: d.Private, Protocol: TCP}), policy: d.policy, req: d.req}
	if d.asks {
		other.Verdict, other.Protocol, other.Rule = Ask, TCP, ""
		other.Reason = fmt.Sprintf("no rule speaks of other protocols than HTTP on %s", d.req.connection())
	}
	return other
}

// Approved turns d, if it is a question, into the decision of a human who allows it for this one time. Where its
// name leads is still CheckAddr's to judge.
func (d Decision) Approved() Decision {
	if d.Verdict != Ask {
		return d
	}
	d.Verdict, d.Once, d.Cure = Allow, true, ""
	d.Reason = fmt.Sprintf("%s is allowed once by a human", d.req)
	return d
}

// ByHuman is why a question was rejected that a human has answered so.
const ByHuman = "a human has denied it this once"

// Rejected turns d, if it is a question, into a refusal. why goes on with the sentence that is its reason.
func (d Decision) Rejected(why string) Decision {
	if d.Verdict == Ask {
		d.Verdict, d.Reason = Deny, d.Reason+", and "+why
	}
	return d
}

// Answer is the rule that an answer to d, which is a question, stands for when it is to last: for its host and port
// alone, and every request there. A refusal is about every protocol.
func (d Decision) Answer(v Verdict) (Entry, bool) {
	r := Rule{Verdict: v, Ports: []uint16{d.req.Port}}
	if v == Allow {
		r.Protocol = d.Protocol
	}
	host := string(d.req.Host)
	if host == "" {
		host = d.req.Addr.String()
	}
	if d.Verdict != Ask || v == Ask || r.parseHost(host) != nil || r.check() != nil {
		return Entry{}, false
	}
	return r.Entry(), true
}
