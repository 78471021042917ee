package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// matches are the rules that matter for one request; each may be nil.
type matches struct {
	deny    *Rule // denies it
	limit   *Rule // denies some requests on its connection
	allow   *Rule // allows it; of several, the one that opens most
	private bool  // one that allows it opens addresses inside

	// For a refusal: rules that allow something near it.
	otherRequest, otherPort, shut *Rule
}

func (p *Policy) match(req Request) matches {
	var m matches
	path, clear := cleanPath(req.Path)
	for i := range p.Rules {
		r := &p.Rules[i]
		switch {
		case !r.matchesHost(req):
		case r.Verdict != Allow:
			if !r.matchesPort(req.Port) {
				continue
			}
			if !r.limited() || req.Method != "" && r.deniesRequest(req.Method, path, clear) {
				m.deny = r
				return m
			}
			m.limit = r
		case !r.known():
		case !r.matchesPort(req.Port):
			m.otherPort = r
		case req.Host == "" && !r.opens(req.Addr):
			m.shut = r
		case req.Method != "" && !r.allowsRequest(req, path, clear):
			m.otherRequest = r
		default:
			m.private = m.private || r.Private
			if m.allow == nil || r.breadth() > m.allow.breadth() {
				m.allow = r
			}
		}
	}
	return m
}

// denies returns the rule that denies connections to a, nil when none does.
func (p *Policy) denies(a netip.Addr, port uint16) *Rule {
	if p == nil {
		return nil
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Verdict != Allow && !r.limited() && r.Net.IsValid() && r.Net.Contains(a.Unmap()) && r.matchesPort(port) {
			return r
		}
	}
	return nil
}

func (r *Rule) matchesHost(req Request) bool {
	if req.Host != "" {
		return r.Host.Match(req.Host)
	}
	return r.Net.IsValid() && r.Net.Contains(req.Addr)
}

func (r *Rule) matchesPort(port uint16) bool {
	return len(r.Ports) == 0 && r.Verdict != Allow || slices.Contains(r.ports(), port)
}

// ports is what a rule that allows is for.
func (r *Rule) ports() []uint16 {
	if len(r.Ports) == 0 {
		return []uint16{80, 443}
	}
	return r.Ports
}

// opens says whether a rule for a network opens that address of it. What is not public has to be named expressly:
// a whole network by being marked private, and what clouds keep credentials on one by one.
func (r *Rule) opens(a netip.Addr) bool {
	class := hostname.Classify(a)
	return class == hostname.Public || r.Private && (r.Net.IsSingleIP() || opened(class))
}

// known says whether r means what this program means by it.
func (r *Rule) known() bool {
	return (r.Protocol == HTTP || r.Protocol == TCP) && (r.TLS == Inspect || r.TLS == Tunnel)
}

// limited says whether r is only about some of the requests on a connection.
func (r *Rule) limited() bool { return len(r.Methods)+len(r.Paths)+len(r.Push) > 0 }

func (r *Rule) breadth() int {
	switch {
	case r.limited():
		return 0
	case r.Protocol == TCP:
		return 3
	case r.TLS == Tunnel:
		return 2
	}
	return 1
}

// allowsRequest takes both as they are: a server that reads them more generously is asked nothing.
func (r *Rule) allowsRequest(req Request, path string, clear bool) bool {
	if req.Push != nil {
		return r.allowsPush(req.Push)
	}
	if len(r.Push) > 0 || len(r.Methods) > 0 && !slices.Contains(r.Methods, req.Method) {
		return false
	}
	return len(r.Paths) == 0 || clear && slices.ContainsFunc(r.Paths, func(glob string) bool { return matchPath(glob, path) })
}

// deniesRequest takes neither capitals, nor what many servers do not look at, nor a path that servers read in
// different ways for another request.
func (r *Rule) deniesRequest(method, path string, clear bool) bool {
	if len(r.Methods) > 0 && !slices.ContainsFunc(r.Methods, func(m string) bool { return strings.EqualFold(m, method) }) {
		return false
	}
	if len(r.Paths) == 0 || !clear {
		return true
	}
	path = strings.ToLower(path)
	bare := barePath(path)
	return slices.ContainsFunc(r.Paths, func(glob string) bool {
		glob = strings.ToLower(glob)
		return matchPath(glob, path) || matchPath(glob, bare)
	})
}
