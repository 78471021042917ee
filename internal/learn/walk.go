// Package learn looks at a record of decisions once more: it proposes the smallest rules that would allow what was
// used (Propose), and judges what was decided again under other rules (Replay). It is pure: it reads events that
// somebody hands in, opens nothing, and decides nothing that counts.
package learn

import (
	"errors"
	"iter"
	"net/netip"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// Events is a record as package audit reads it.
type Events = iter.Seq2[audit.Event, error]

// cause is why something was refused.
type cause int

const (
	otherwise cause = iota // for what it was or where it led; no rule about it would change that
	byRule                 // a rule denies it
	missing                // no rule allows it
	byHuman                // nor does any, and a human who was asked has denied it
)

// decision is one of a record's decisions as it can be looked at again.
type decision struct {
	audit.Event
	req      policy.Request
	allowed  bool
	cause    cause // where it was refused
	question bool  // of DNS: there is a name and nothing else
	// carried says that the connection was passed on unread: no request was seen on it.
	carried bool
}

// maxFlows bounds how many connections are remembered; a sandbox has fewer open at once.
const maxFlows = 1 << 13

// walk turns a record's events into decisions.
type walk struct {
	flows   map[uint64]policy.Request // connections on which a request was seen, by number
	skipped uint64                    // lines that are damaged or that this program does not know
}

// decisions yields what was decided. Ends, wishes and questions to a human are no decisions, and neither is what is
// not known: it counts as skipped, never as allowed.
func (w *walk) decisions(events Events, yield func(decision)) error {
	w.flows = map[uint64]policy.Request{}
	for e, err := range events {
		switch {
		case errors.Is(err, audit.ErrDamaged):
			w.skipped++
		case err != nil:
			return err
		default:
			if d, ok := w.decision(e); ok {
				yield(d)
			}
		}
	}
	return nil
}

func (w *walk) decision(e audit.Event) (decision, bool) {
	switch e.Kind {
	case audit.KindClose:
		delete(w.flows, e.Flow)
		return decision{}, false
	case audit.KindResponse, audit.KindWish, audit.KindAsk:
		return decision{}, false
	case audit.KindConnect, audit.KindRequest, audit.KindDNS:
	default:
		w.skipped++
		return decision{}, false
	}
	d := decision{Event: e, allowed: e.Verdict == policy.Allow.String(), cause: causeOf(e), question: e.Kind == audit.KindDNS}
	if !d.allowed && e.Verdict != policy.Deny.String() || d.allowed && d.question {
		w.skipped++
		return decision{}, false
	}
	target, ok := targetOf(e)
	if !ok {
		d.cause = otherwise
		if d.allowed {
			w.skipped++
		}
		return d, !d.allowed
	}
	d.req = target
	switch {
	case e.Kind == audit.KindRequest:
		d.req.Method, d.req.Path, d.req.Push = e.Method, e.Path, policy.PushIn(e.Path, "")
		if len(w.flows) >= maxFlows {
			clear(w.flows) // those of runs that were killed
		}
		w.flows[e.Flow] = target
	case d.allowed:
		// Numbers begin anew in each run, so the target counts as well.
		d.carried = w.flows[e.Flow] != target
	}
	return d, true
}

// targetOf is what a connection of the event goes to, false when that is nothing which can be judged.
func targetOf(e audit.Event) (policy.Request, bool) {
	if e.Host == "" {
		addr, err := netip.ParseAddr(e.Addr)
		return policy.Request{Addr: addr, Port: e.Port}, err == nil
	}
	name, err := hostname.Parse(e.Host)
	return policy.Request{Host: name, Port: e.Port}, err == nil && string(name) == e.Host
}

// causeOf reads the reason that policy gives. A sandbox chooses nothing in it but a host, which has no spaces.
func causeOf(e audit.Event) cause {
	switch {
	case e.Host != "" && e.Addr != "": // the name led there
		return otherwise
	case strings.Contains(e.Reason, " is denied by rule "):
		return byRule
	case !strings.HasPrefix(e.Reason, "no rule "):
		return otherwise
	case strings.HasSuffix(e.Reason, policy.ByHuman):
		return byHuman
	}
	return missing
}
