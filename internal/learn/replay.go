package learn

import (
	"net/netip"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// maxChanges bounds how many different changes are told one by one.
const maxChanges = 1000

// Change is decisions that would be others now.
type Change struct {
	Then   string `json:"then"`
	Now    string `json:"now"`
	Target string `json:"target"` // HOST:PORT
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Count  uint64 `json:"count"`
	Rule   string `json:"rule,omitempty"` // that decides now
	Reason string `json:"reason"`
}

// Unjudged is decisions that cannot be judged again.
type Unjudged struct {
	Count uint64 `json:"count"`
	Why   string `json:"why"`
}

// Replayed is what came of judging a record again.
type Replayed struct {
	Judged   uint64     `json:"judged"`
	Changes  []Change   `json:"changes"`        // in the order of their first occurrence
	More     uint64     `json:"more,omitempty"` // decisions that would change beside those
	Unjudged []Unjudged `json:"unjudged,omitempty"`
	Skipped  uint64     `json:"skipped,omitempty"` // lines that are damaged or unknown
}

// The reasons for not judging something again.
const (
	whyQuestion = "a question of DNS, of which only the refusals are recorded"
	whyAddress  = "refused for the address that its name led to, which may be another now"
	whyOther    = "refused for what it was, not by a rule"
	whyRedacted = "recorded without all of its path, and a rule is for paths"
	whyUnread   = "carried unread then, and would be read now"
)

// Replay judges the decisions of a record again, by the rules of p.
func Replay(p *policy.Policy, events Events) (Replayed, error) {
	r := replayer{policy: p, at: map[Change]int{}, unjudged: map[string]uint64{}, out: Replayed{Changes: []Change{}}}
	var w walk
	if err := w.decisions(events, r.take); err != nil {
		return Replayed{}, err
	}
	for _, why := range []string{whyQuestion, whyAddress, whyOther, whyRedacted, whyUnread} {
		if n := r.unjudged[why]; n > 0 {
			r.out.Unjudged = append(r.out.Unjudged, Unjudged{n, why})
		}
	}
	r.out.Skipped = w.skipped
	return r.out, nil
}

type replayer struct {
	policy   *policy.Policy
	at       map[Change]int // positions in out.Changes, by what is there without its count
	unjudged map[string]uint64
	out      Replayed
}

func (r *replayer) take(d decision) {
	if why := r.cannot(d); why != "" {
		r.unjudged[why]++
		return
	}
	now := r.policy.Decide(d.req)
	if addr, err := netip.ParseAddr(d.Addr); d.allowed && err == nil && d.req.Host != "" {
		now = now.CheckAddr(d.req.Host, addr)
	}
	if d.carried && now.Verdict == policy.Allow && now.Protocol == policy.HTTP && !now.Tunnel {
		r.unjudged[whyUnread]++
		return
	}
	if d.allowed && !d.carried && d.Kind == audit.KindConnect {
		// Its requests are judged one by one; what is left to the connection is where its name led.
		if r.policy.Decide(d.req).Verdict != policy.Allow || now.Verdict == policy.Allow {
			return
		}
	}
	r.out.Judged++
	if now.Verdict.String() != d.Verdict {
		r.change(d, now)
	}
}

// cannot says why d cannot be judged again, "" when it can.
func (r *replayer) cannot(d decision) string {
	switch {
	case d.question:
		return whyQuestion
	case !d.allowed && d.Host != "" && d.Addr != "":
		return whyAddress
	case !d.allowed && d.cause == otherwise:
		return whyOther
	case d.req.Method != "" && !audit.Whole(d.Path) && r.pathsMatter(d.req):
		return whyRedacted
	}
	return ""
}

// pathsMatter says whether a rule for some paths only may be about req.
func (r *replayer) pathsMatter(req policy.Request) bool {
	for _, rule := range r.policy.Rules {
		if len(rule.Paths) > 0 && (rule.Host.Match(req.Host) || rule.Net.IsValid() && rule.Net.Contains(req.Addr)) {
			return true
		}
	}
	return false
}

func (r *replayer) change(d decision, now policy.Decision) {
	target := d.req
	target.Method = ""
	c := Change{Then: d.Verdict, Now: now.Verdict.String(), Target: target.String(), Method: d.req.Method, Path: d.req.Path,
		Rule: now.Rule, Reason: now.Reason}
	i, known := r.at[c]
	switch {
	case known:
		r.out.Changes[i].Count++
	case len(r.out.Changes) == maxChanges:
		r.out.More++
	default:
		r.at[c] = len(r.out.Changes)
		c.Count = 1
		r.out.Changes = append(r.out.Changes, c)
	}
}
