package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// What stands before the host in a rule's text.
const (
	privatePrefix = "private:" // its names may lead inside
	tcpPrefix     = "tcp:"
	tunnelPrefix  = "tunnel:"
)

// Protocol is what may be spoken on a connection. Unknown ones are not allowed.
type Protocol int

// The protocols. Only the first two are a rule's.
const (
	HTTP Protocol = iota // requests, in TLS or not; each is judged
	TCP                  // anything, carried unread
	Any                  // requests are judged like those of HTTP, anything else is carried like TCP's
)

// String returns the word that files use.
func (p Protocol) String() string {
	switch p {
	case HTTP:
		return "http"
	case TCP:
		return "tcp"
	case Any:
		return "any"
	}
	return "unknown"
}

// TLS is what is done with a connection's TLS. Unknown ones are not allowed.
type TLS int

// The ways.
const (
	Inspect TLS = iota // it is opened, so that requests can be judged
	Tunnel             // it is carried unread
)

// Rule is one line of a policy: hosts, what may be done there, and a verdict. The zero Rule matches nothing.
type Rule struct {
	Host      hostname.Pattern
	Net       netip.Prefix // addresses, instead of Host
	Ports     []uint16     // sorted; empty is 80 and 443 for a rule that allows, every port for one that denies
	Methods   []string     // upper case; empty is every one
	Paths     []string     // globs; empty is every one
	Push      []string     // REPOSITORY:[+]REF, globs: what git may push, and nothing else; + allows to rewrite or delete
	Protocol  Protocol
	TLS       TLS
	Verdict   Verdict
	Private   bool   // Host may lead to the host's own network; Net is in it
	Workflows bool   // Push may change what the forge itself runs
	Profile   string // that it belongs to, "" for none
	Origin    string // who wrote it: "built-in: claude", "--allow", "config.yaml:12"
	Why       string // what it is for, "" when nobody said
}

// HostAlias is the name under which a sandbox reaches services on the host's own loopback address. A rule
// that names it names them expressly; under a wildcard it is a name like any other.
const HostAlias = "host.bailey.internal"

// ParseRule reads HOST[:PORT[,PORT…]], *.HOST[:…], IPv4[/BITS][:…], IPv6[/BITS] or [IPv6[/BITS]][:…], each
// optionally behind "private:" and "tcp:" or "tunnel:", as a rule that allows; see Entry for the opposite and
// for all that a rule can say. Errors say what to write instead.
func ParseRule(text, origin string) (Rule, error) {
	r, err := parseRule(text, origin)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return Rule{}, fmt.Errorf("invalid rule %q: %w", text, err)
	}
	return r, nil
}

func parseRule(text, origin string) (Rule, error) {
	r := Rule{Verdict: Allow, Origin: origin}
	rest := text
	for again := true; again; {
		switch {
		case !r.Private && strings.HasPrefix(rest, privatePrefix):
			rest, r.Private = rest[len(privatePrefix):], true
		case r.Protocol == HTTP && strings.HasPrefix(rest, tcpPrefix):
			rest, r.Protocol = rest[len(tcpPrefix):], TCP
		case r.TLS == Inspect && strings.HasPrefix(rest, tunnelPrefix):
			rest, r.TLS = rest[len(tunnelPrefix):], Tunnel
		default:
			again = false
		}
	}
	if strings.Contains(rest, "//") {
		return Rule{}, fmt.Errorf("write HOST or HOST:PORT, not a URL")
	}
	host, ports, found := cutPorts(rest)
	if found {
		var err error
		if r.Ports, err = parsePorts(ports); err != nil {
			return Rule{}, err
		}
	}
	return r, r.parseHost(host)
}

// check says what is wrong with a rule that was put together of well-formed parts.
func (r *Rule) check() error {
	switch {
	case r.Verdict == Deny && (r.Protocol != HTTP || r.TLS != Inspect):
		return fmt.Errorf("a rule that denies is about every protocol: leave protocol and tls away")
	case r.Verdict == Deny && len(r.Push) > 0:
		return fmt.Errorf("push is what a rule allows: without one nothing can be pushed")
	case r.Protocol == TCP && r.TLS == Tunnel:
		return fmt.Errorf("tcp carries everything unread: leave the tunnel away")
	case r.limited() && (r.Protocol == TCP || r.TLS == Tunnel):
		return fmt.Errorf("methods, paths and pushes cannot be seen in what is carried unread: leave them, or tcp and tunnel, away")
	case r.Protocol == TCP && len(r.Ports) == 0:
		return fmt.Errorf("a tcp rule needs a port: write %sHOST:PORT", tcpPrefix)
	}
	return nil
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

// parseHost sets Host, or Net and with it Private: whoever writes an address has named it expressly.
func (r *Rule) parseHost(s string) error {
	inner, brackets := strings.CutPrefix(s, "[")
	if brackets {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed || !strings.Contains(inner, ":") {
			return fmt.Errorf("brackets are for IPv6: write [ADDRESS]:PORT")
		}
	}
	address, bits, network := strings.Cut(inner, "/")
	if _, err := netip.ParseAddr(address); err != nil && !brackets {
		if network {
			return fmt.Errorf("write HOST or HOST:PORT, not a URL")
		}
		return r.parseName(s)
	}
	a, err := hostname.ParseAddr(address)
	if err != nil {
		return err
	}
	if !network {
		return r.setNet(netip.PrefixFrom(a, a.BitLen()))
	}
	n, err := strconv.Atoi(bits)
	net := netip.PrefixFrom(a, n)
	if err != nil || strconv.Itoa(n) != bits || !net.IsValid() {
		return fmt.Errorf("%q is not a network: write ADDRESS/BITS, with at most %d bits", inner, a.BitLen())
	}
	if net.Masked() != net {
		return fmt.Errorf("%s is not where a network starts: write %s", net, net.Masked())
	}
	return r.setNet(net)
}

func (r *Rule) parseName(s string) error {
	var err error
	if r.Host, err = hostname.ParsePattern(s); err != nil {
		return err
	}
	if r.Host.Match("localhost") || strings.HasSuffix(r.Host.String(), ".localhost") {
		return fmt.Errorf("localhost is the sandbox itself: write %s for this host", HostAlias)
	}
	r.Private = r.Private || r.Host.String() == HostAlias
	return nil
}

// setNet refuses what nobody can mean. A network that starts in a private range lies in it, or is so wide that
// what else is in it needs no mark.
func (r *Rule) setNet(net netip.Prefix) error {
	class := hostname.Classify(net.Addr())
	if !net.IsValid() {
		return fmt.Errorf("there is no address")
	}
	if !net.IsSingleIP() {
		r.Net, r.Private = net, r.Private || opened(class)
		return nil
	}
	switch class {
	case hostname.Unspecified, hostname.Multicast, hostname.Reserved, hostname.Benchmark:
		return fmt.Errorf("%s is a %s address, which can never be reached from a sandbox", net.Addr(), class)
	}
	r.Net, r.Private = net, r.Private || class != hostname.Public
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

// String returns the rule as ParseRule reads it, and behind that in parentheses what it cannot read.
func (r Rule) String() string {
	var b strings.Builder
	if r.Private && !r.ownPrivate() {
		b.WriteString(privatePrefix)
	}
	if r.Protocol == TCP {
		b.WriteString(tcpPrefix)
	}
	if r.TLS == Tunnel {
		b.WriteString(tunnelPrefix)
	}
	b.WriteString(r.host())
	separator := ":"
	for _, port := range r.Ports {
		b.WriteString(separator + strconv.Itoa(int(port)))
		separator = ","
	}
	if r.limited() {
		b.WriteString(" (" + strings.Join(slices.Concat(r.Methods, r.Paths, r.pushed()), " ") + ")")
	}
	return b.String()
}

func (r *Rule) pushed() []string {
	switch {
	case len(r.Push) == 0:
		return nil
	case r.Workflows:
		return slices.Concat([]string{"push"}, r.Push, []string{"workflows"})
	}
	return slices.Concat([]string{"push"}, r.Push)
}

func (r *Rule) host() string {
	if !r.Net.IsValid() {
		return r.Host.String()
	}
	text := r.Net.String()
	if r.Net.IsSingleIP() {
		text = r.Net.Addr().String()
	}
	if r.Net.Addr().Is6() && len(r.Ports) > 0 {
		text = "[" + text + "]"
	}
	return text
}

// ownPrivate says whether the host alone makes the rule private.
func (r *Rule) ownPrivate() bool {
	if !r.Net.IsValid() {
		return r.Host.String() == HostAlias
	}
	class := hostname.Classify(r.Net.Addr())
	return opened(class) || r.Net.IsSingleIP() && class != hostname.Public
}

// cited is the rule with its origin, for a sentence.
func (r Rule) cited() string {
	switch text := strconv.Quote(r.String()); {
	case r.Profile != "":
		return fmt.Sprintf("%s (profile %s, %s)", text, r.Profile, r.Origin)
	case r.Origin != "":
		return fmt.Sprintf("%s (%s)", text, r.Origin)
	default:
		return text
	}
}

// denial is the refusal by r, which denies what subject, the beginning of a sentence, is about.
func (r *Rule) denial(p *Policy, req Request, subject string) Decision {
	d := Decision{Rule: r.String(), Why: r.Why, Reason: fmt.Sprintf("%s denied by rule %s", subject, r.cited()), policy: p, req: req}
	if r.Why != "" {
		d.Reason += ": " + r.Why
	}
	return d
}
