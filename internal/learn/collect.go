package learn

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// place is where something was used, and how.
type place struct {
	host     string // a name, a pattern or an address
	port     uint16
	protocol policy.Protocol
	tls      policy.TLS
	refused  bool
}

// use is what was done there.
type use struct {
	methods map[string]*pathSet // of requests; "" stands for all methods together
	whole   uint64              // connections of which no more is known
	unread  bool
	wild    string // the wildcard of the rule that allowed it, "" for none
}

// collector gathers uses.
type collector struct {
	policy   *policy.Policy
	rules    map[string]policy.Rule // that allow, by their texts
	uses     map[place]*use
	refused  int // places in uses where something was refused
	kept     map[string]uint64
	profiles map[string]bool
	out      Proposal
}

func (c *collector) take(d decision) {
	if !d.allowed {
		c.takeRefused(d)
		return
	}
	if !d.carried && d.req.Method == "" {
		return // its requests say more
	}
	r := c.rule(d.Rule)
	now := c.policy.Decide(d.req)
	switch {
	case now.Verdict == policy.Deny && now.Rule != "":
		c.out.Denied++
	case r.Private || isInside(d.req):
		c.out.Inside++
	case strings.HasPrefix(r.Origin, "built-in: "):
		c.out.BuiltIn++
	case r.Profile != "":
		c.profiles[r.Profile] = true
	case len(r.Methods)+len(r.Paths) > 0 && !wildcard(r):
		c.kept[d.Rule]++
	default:
		at := place{host: hostOf(d.req), port: d.req.Port}
		if d.carried { // a request was read, whatever its rule would have let pass unread
			at.protocol, at.tls = r.Protocol, r.TLS
		}
		unread := d.carried && r.Protocol == policy.HTTP && r.TLS == policy.Inspect
		if unread && policy.RawPort(at.port) {
			at.protocol, unread = policy.TCP, false
		}
		c.add(at, d, unread, r)
	}
}

func (c *collector) takeRefused(d decision) {
	switch {
	case d.cause == byRule, d.cause == byHuman:
		c.out.Denied++
		return
	case d.cause == otherwise:
		c.out.Other++
		return
	}
	now := c.policy.Decide(d.req)
	if d.question {
		now = c.policy.DecideName(d.req.Host)
	}
	at := place{host: hostOf(d.req), port: d.req.Port, refused: true}
	switch {
	case now.Verdict == policy.Allow && now.Rule != "": // since then
	case now.Verdict == policy.Deny && now.Rule != "":
		c.out.Denied++
	case isInside(d.req):
		c.out.Inside++
	default:
		if d.req.Method == "" && policy.RawPort(at.port) {
			at.protocol = policy.TCP
		}
		c.add(at, d, false, policy.Rule{})
	}
}

// rule is the session's rule with that text, or what a text says whose rule is gone by now; the zero one for the
// default.
func (c *collector) rule(text string) policy.Rule {
	if r, ok := c.rules[text]; ok {
		return r
	}
	text, _, _ = strings.Cut(text, " (") // methods and paths, which cannot be read
	r, err := policy.ParseRule(text, "")
	if err != nil {
		return policy.Rule{}
	}
	return r
}

// add notes one use at a place.
func (c *collector) add(at place, d decision, unread bool, r policy.Rule) {
	u := c.uses[at]
	if u == nil {
		// What a sandbox has asked for in vain must not push out what it has used.
		if at.refused {
			c.refused++
		}
		if c.refused > maxRules || len(c.uses) >= 10*maxRules {
			c.out.Beyond++
			return
		}
		u = &use{methods: map[string]*pathSet{}}
		c.uses[at] = u
	}
	if wildcard(r) {
		u.wild = r.Host.String()
	}
	u.unread = u.unread || unread
	if d.req.Method == "" {
		u.whole++
		return
	}
	method := d.req.Method
	if u.methods[method] == nil && (len(u.methods) >= maxMethods || !usable(method)) {
		method = ""
	}
	if u.methods[method] == nil {
		u.methods[method] = &pathSet{}
	}
	u.methods[method].add(d.req.Path)
	u.methods[method].count++
}

// usable says whether a rule can name the method.
func usable(method string) bool {
	_, err := policy.Entry{Host: "a.test", Methods: []string{method}}.Rule(policy.Allow, "")
	return err == nil
}

func wildcard(r policy.Rule) bool { return strings.HasPrefix(r.Host.String(), "*") }

// isInside says whether a rule for req would be private, or would lead there by its name alone.
func isInside(req policy.Request) bool {
	if req.Host == "" {
		return hostname.Classify(req.Addr) != hostname.Public
	}
	return req.Host == policy.HostAlias
}

func hostOf(req policy.Request) string {
	if req.Host == "" {
		return req.Addr.String()
	}
	return string(req.Host)
}

// widen joins hosts under the wildcard that allowed them, where they are more than a few.
func (c *collector) widen() {
	under := map[place][]place{}
	for at, u := range c.uses {
		if u.wild != "" {
			pattern := at
			pattern.host = u.wild
			under[pattern] = append(under[pattern], at)
		}
	}
	for pattern, places := range under {
		if len(places) <= few {
			continue
		}
		slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.host, b.host) })
		all := &use{methods: map[string]*pathSet{}}
		for _, at := range places {
			all.join(c.uses[at])
			delete(c.uses, at)
		}
		c.uses[pattern] = all
	}
}

func (u *use) join(other *use) {
	u.whole, u.unread = u.whole+other.whole, u.unread || other.unread
	for method, paths := range other.methods {
		if u.methods[method] == nil {
			u.methods[method] = &pathSet{}
		}
		u.methods[method].merge(paths)
	}
}
