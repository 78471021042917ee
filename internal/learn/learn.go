package learn

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// maxRules is how many rules a configuration may have.
	maxRules = 1000
	// maxMethods is up to how many methods of a host are told apart.
	maxMethods = 20
)

// Suggestion is a rule of a proposal, and why it is in it.
type Suggestion struct {
	policy.Entry
	Uses    uint64 `json:"uses,omitempty"`    // how often what it allows was allowed
	Refused uint64 `json:"refused,omitempty"` // how often it was refused
	Kept    bool   `json:"kept,omitempty"`    // it is a rule of the session, as it was
	Unread  bool   `json:"unread,omitempty"`  // what it is for was carried unread, and is read under it
}

// Proposal is the smallest rules that allow what was used, and what was refused for want of a rule.
type Proposal struct {
	Allow    []Suggestion   `json:"allow"`
	Profiles []string       `json:"profiles,omitempty"` // of the session, that were used
	Deny     []policy.Entry `json:"deny,omitempty"`     // of the session's config.yaml

	// What was left out, by decisions.
	BuiltIn uint64 `json:"built_in,omitempty"` // the agent's own rules allow it anyway
	Inside  uint64 `json:"inside,omitempty"`   // it led to addresses inside
	Denied  uint64 `json:"denied,omitempty"`   // a rule denies it, or a human has
	Other   uint64 `json:"other,omitempty"`    // refused for what no rule would change
	Beyond  uint64 `json:"beyond,omitempty"`   // it would be more rules than a configuration may have
	Skipped uint64 `json:"skipped,omitempty"`  // lines that are damaged or unknown
}

// Propose makes a proposal out of the record of a session that had the rules of p. What a rule for some requests to
// one host allowed, or a profile, stays as it was; what a wider rule or the default allowed is written down as it
// was used. There is no wildcard in it that no rule of the session had, nothing that p denies and nothing private.
func Propose(p *policy.Policy, events Events) (Proposal, error) {
	c := collector{policy: p, rules: map[string]policy.Rule{}, uses: map[place]*use{}, kept: map[string]uint64{}, profiles: map[string]bool{}}
	for _, r := range p.Rules {
		if text := r.String(); r.Verdict == policy.Allow && c.rules[text].Verdict != policy.Allow {
			c.rules[text] = r
		}
		if r.Verdict == policy.Deny && strings.HasPrefix(r.Origin, "config.yaml:") {
			c.out.Deny = append(c.out.Deny, r.Entry())
		}
	}
	var w walk
	if err := w.decisions(events, c.take); err != nil {
		return Proposal{}, err
	}
	c.out.Skipped = w.skipped
	return c.proposal(), nil
}

// proposal is what the uses come down to.
func (c *collector) proposal() Proposal {
	c.widen()
	for text, n := range c.kept {
		c.out.Allow = append(c.out.Allow, Suggestion{Entry: c.rules[text].Entry(), Uses: n, Kept: true})
	}
	for profile := range c.profiles {
		c.out.Profiles = append(c.out.Profiles, profile)
	}
	slices.Sort(c.out.Profiles)
	known := map[string]bool{}
	for at := range c.uses {
		known[at.host] = known[at.host] || at.port != 0
	}
	for at, u := range c.uses {
		if at.port == 0 && known[at.host] {
			continue // more than its name is known
		}
		c.out.Allow = append(c.out.Allow, u.suggestions(at)...)
	}
	// Those that were refused are the first to be too many.
	slices.SortFunc(c.out.Allow, compare)
	c.out.Allow = slices.DeleteFunc(joinPorts(c.out.Allow), func(s Suggestion) bool {
		// Names that no rule may have, such as localhost, and records that somebody has edited.
		r, err := s.Entry.Rule(policy.Allow, "")
		unfit := err != nil || r.Private
		if unfit {
			c.out.Other += s.Uses + s.Refused
		}
		return unfit
	})
	if n := len(c.out.Allow); n > maxRules {
		c.out.Beyond += uint64(n - maxRules)
		c.out.Allow = c.out.Allow[:maxRules]
	}
	if c.out.Allow == nil {
		c.out.Allow = []Suggestion{}
	}
	return c.out
}

// suggestions are the rules for what was done at a place: one for each set of paths, with the methods that had it.
func (u *use) suggestions(at place) []Suggestion {
	base := Suggestion{Entry: policy.Entry{Host: at.host, Port: int(at.port)}, Unread: u.unread}
	if at.port == 0 {
		base.Port = 443 // only the name was asked for
	}
	if at.protocol == policy.TCP {
		base.Protocol = policy.TCP.String()
	}
	if at.tls == policy.Tunnel {
		base.TLS = "tunnel"
	}
	counted := func(s Suggestion, n uint64) Suggestion {
		if at.refused {
			s.Refused = n
		} else {
			s.Uses = n
		}
		return s
	}
	all, methods, counts := u.whole, map[string][]string{}, map[string]uint64{}
	for method, paths := range u.methods {
		key := strings.Join(paths.texts(), "\n")
		methods[key] = append(methods[key], method)
		counts[key] += paths.count
		all += paths.count
	}
	if u.whole > 0 {
		return []Suggestion{counted(base, all)}
	}
	var out []Suggestion
	for key, names := range methods {
		s := base
		slices.Sort(names)
		if names[0] != "" {
			s.Methods = names
		}
		if key != "" {
			s.Paths = strings.Split(key, "\n")
		}
		out = append(out, counted(s, counts[key]))
	}
	return out
}

// compare orders suggestions: what was used, by host, and then what was refused.
func compare(a, b Suggestion) int {
	refused := func(s Suggestion) int { return int(min(s.Refused, 1)) }
	return cmp.Or(cmp.Compare(refused(a), refused(b)), cmp.Compare(a.Host, b.Host), slices.Compare(a.Methods, b.Methods),
		slices.Compare(a.Paths, b.Paths), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.TLS, b.TLS), cmp.Compare(a.Port, b.Port))
}

// joinPorts makes one of suggestions, which are in order, that differ in their ports only.
func joinPorts(all []Suggestion) []Suggestion {
	var out []Suggestion
	for _, s := range all {
		if n := len(out); n > 0 && !s.Kept && !out[n-1].Kept && sameButPort(out[n-1], s) {
			last := &out[n-1]
			if last.Port != 0 {
				last.Ports, last.Port = []int{last.Port}, 0
			}
			last.Ports = append(last.Ports, s.Port)
			last.Uses, last.Refused, last.Unread = last.Uses+s.Uses, last.Refused+s.Refused, last.Unread || s.Unread
			continue
		}
		out = append(out, s)
	}
	return out
}

func sameButPort(a, b Suggestion) bool {
	a.Port, b.Port = 0, 0
	return (a.Refused > 0) == (b.Refused > 0) && a.Host == b.Host && a.Protocol == b.Protocol && a.TLS == b.TLS &&
		slices.Equal(a.Methods, b.Methods) && slices.Equal(a.Paths, b.Paths)
}
