package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// privatePrefix marks a rule whose names may lead inside.
const privatePrefix = "private:"

// Rule is one line of a policy: a host pattern or an address, its ports and a verdict. The zero Rule
// matches nothing.
type Rule struct {
	Host    hostname.Pattern
	Addr    netip.Addr // one address in canonical form, instead of Host
	Ports   []uint16   // sorted; empty is 80 and 443 for a rule that allows, every port for one that denies
	Verdict Verdict
	Private bool   // Host may lead to the host's own network; Addr is in it
	Origin  string // who wrote it: "built-in: claude", "--allow", "user"
	Why     string // what it is for, "" when nobody said
}

// HostAlias is the name under which a sandbox reaches services on the host's own loopback address. A rule
// that names it names them expressly; under a wildcard it is a name like any other.
const HostAlias = "host.bailey.internal"

// ParseRule reads HOST[:PORT[,PORT…]], *.HOST[:…], IPv4[:…], IPv6 or [IPv6][:…], each optionally behind
// "private:", as a rule that allows; a caller that wants the opposite sets Verdict. Errors say what to
// write instead.
func ParseRule(text, origin string) (Rule, error) {
	r := Rule{Verdict: Allow, Origin: origin}
	rest, private := strings.CutPrefix(text, privatePrefix)
	if strings.Contains(rest, "/") {
		return Rule{}, fmt.Errorf("invalid rule %q: write HOST or HOST:PORT, not a URL or a network", text)
	}
	host, ports, found := cutPorts(rest)
	if found {
		var err error
		if r.Ports, err = parsePorts(ports); err != nil {
			return Rule{}, fmt.Errorf("invalid rule %q: %w", text, err)
		}
	}
	if err := r.parseHost(host); err != nil {
		return Rule{}, fmt.Errorf("invalid rule %q: %w", text, err)
	}
	r.Private = r.Private || private
	return r, nil
}

// cutPorts splits at the colon before the ports. IPv6 has colons of its own, so there it must have
// brackets to have ports.
func cutPorts(s string) (host, ports string, found bool) {
	if i := strings.LastIndex(s, "]:"); i >= 0 {
		return s[:i+1], s[i+2:], true
	}
	if strings.Count(s, ":") == 1 {
		return strings.Cut(s, ":")
	}
	return s, "", false
}

// parseHost sets Host, or Addr and with it Private: whoever writes an address has named it expressly.
func (r *Rule) parseHost(s string) error {
	inner, v6 := strings.CutPrefix(s, "[")
	if v6 {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed || !strings.Contains(inner, ":") {
			return fmt.Errorf("brackets are for IPv6: write [ADDRESS]:PORT")
		}
	}
	if _, err := netip.ParseAddr(inner); err != nil && !v6 {
		r.Host, err = hostname.ParsePattern(s)
		if err == nil && (r.Host.Match("localhost") || strings.HasSuffix(r.Host.String(), ".localhost")) {
			return fmt.Errorf("localhost is the sandbox itself: write %s for this host", HostAlias)
		}
		r.Private = err == nil && r.Host.String() == HostAlias
		return err
	}
	a, err := hostname.ParseAddr(inner)
	if err != nil {
		return err
	}
	switch class := hostname.Classify(a); class {
	case hostname.Unspecified, hostname.Multicast, hostname.Reserved, hostname.Benchmark:
		return fmt.Errorf("%s is a %s address, which can never be reached from a sandbox", a, class)
	default:
		r.Addr, r.Private = a, class != hostname.Public
	}
	return nil
}

func parsePorts(s string) ([]uint16, error) {
	var ports []uint16
	for text := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
			return nil, fmt.Errorf("%q is not a port: write numbers from 1 to 65535, separated by commas", text)
		}
		ports = append(ports, uint16(n))
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// String returns the rule as ParseRule reads it.
func (r Rule) String() string {
	var b strings.Builder
	if r.Private && !r.Addr.IsValid() {
		b.WriteString(privatePrefix)
	}
	switch {
	case !r.Addr.IsValid():
		b.WriteString(r.Host.String())
	case r.Addr.Is6() && len(r.Ports) > 0:
		b.WriteString("[" + r.Addr.String() + "]")
	default:
		b.WriteString(r.Addr.String())
	}
	separator := ":"
	for _, port := range r.Ports {
		b.WriteString(separator + strconv.Itoa(int(port)))
		separator = ","
	}
	return b.String()
}

// cited is the rule with its origin, for a sentence.
func (r Rule) cited() string {
	if r.Origin == "" {
		return strconv.Quote(r.String())
	}
	return fmt.Sprintf("%q (%s)", r.String(), r.Origin)
}

func (r *Rule) matchesHost(req Request) bool {
	if req.Host != "" {
		return r.Host.Match(req.Host)
	}
	return r.Addr.IsValid() && r.Addr == req.Addr
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
