package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Entry is a rule as files and sockets have it. What it says is judged by Rule.
type Entry struct {
	Host      string   `yaml:"host" json:"host,omitempty"`
	CIDR      string   `yaml:"cidr" json:"cidr,omitempty"` // instead of Host
	Port      int      `yaml:"port" json:"port,omitempty"`
	Ports     []int    `yaml:"ports" json:"ports,omitempty"` // instead of Port
	Protocol  string   `yaml:"protocol" json:"protocol,omitempty"`
	TLS       string   `yaml:"tls" json:"tls,omitempty"`
	Methods   []string `yaml:"methods" json:"methods,omitempty"`
	Paths     []string `yaml:"paths" json:"paths,omitempty"`
	Push      []string `yaml:"push" json:"push,omitempty"` // instead of Methods and Paths
	Workflows bool     `yaml:"workflows" json:"workflows,omitempty"`
	Private   bool     `yaml:"private" json:"private,omitempty"`
	Why       string   `yaml:"why" json:"why,omitempty"` // what the rule is for, in its writer's words
}

// Rule returns the rule that e writes down. The error says everything that is wrong with it.
func (e Entry) Rule(v Verdict, origin string) (Rule, error) {
	r := Rule{Verdict: v, Origin: origin, Private: e.Private, Why: e.Why}
	errs := []error{e.address(&r), e.ports(&r), e.requests(&r), e.pushes(&r), checkWhy(e.Why)}
	switch e.Protocol {
	case "", "http":
	case "tcp":
		r.Protocol = TCP
	default:
		errs = append(errs, fmt.Errorf("unknown protocol %q: write http or tcp", e.Protocol))
	}
	switch e.TLS {
	case "", "inspect":
	case "tunnel":
		r.TLS = Tunnel
	default:
		errs = append(errs, fmt.Errorf("unknown tls %q: write inspect or tunnel", e.TLS))
	}
	if v == Deny && (e.Protocol != "" || e.TLS != "" || e.Private) {
		errs = append(errs, errors.New("a rule that denies is about every protocol and address: leave protocol, tls and private away"))
	}
	if err := errors.Join(errs...); err != nil {
		return Rule{}, oneLine(err)
	}
	if err := r.check(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// oneLine is the message of joined errors in one line.
func oneLine(err error) error { return errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")) }

// address reads Host or CIDR. A private range needs no mark, so none may be missing where it says more.
func (e Entry) address(r *Rule) error {
	switch {
	case e.Host == "" && e.CIDR == "":
		return errors.New("host is missing")
	case e.Host != "" && e.CIDR != "":
		return errors.New("host and cidr are both given: write two rules")
	case e.CIDR != "" && !strings.Contains(e.CIDR, "/"):
		return fmt.Errorf("%q is not a network: write ADDRESS/BITS", e.CIDR)
	case e.CIDR == "" && strings.Contains(e.Host, "/"):
		return fmt.Errorf("%q is not a host: write a name, or a network as cidr", e.Host)
	case e.CIDR != "":
		return r.parseHost(strings.Trim(e.CIDR, "[]"))
	}
	return r.parseHost(e.Host)
}

func (e Entry) ports(r *Rule) error {
	ports := e.Ports
	if e.Port != 0 {
		if len(ports) > 0 {
			return errors.New("port and ports are both given: leave one away")
		}
		ports = []int{e.Port}
	}
	for _, port := range ports {
		if port < 1 || port > 65535 {
			return fmt.Errorf("%d is not a port: write a number from 1 to 65535", port)
		}
		r.Ports = append(r.Ports, uint16(port))
	}
	slices.Sort(r.Ports)
	r.Ports = slices.Compact(r.Ports)
	return nil
}

// requests reads methods and paths. There are few in any rule that a person can understand.
func (e Entry) requests(r *Rule) error {
	const most = 100
	if len(e.Methods) > most || len(e.Paths) > most {
		return fmt.Errorf("more than %d methods or paths", most)
	}
	var errs []error
	for _, method := range e.Methods {
		if !plainMethod(method) {
			errs = append(errs, fmt.Errorf("%q is not a method: write it in capitals, such as GET", method))
		}
	}
	for _, glob := range e.Paths {
		errs = append(errs, checkGlob(glob))
	}
	r.Methods, r.Paths = e.Methods, e.Paths
	return errors.Join(errs...)
}

// checkWhy says what is wrong with a rule's reason. It is shown in sentences of ours, also to the agent.
func checkWhy(why string) error {
	const longest = 200
	switch {
	case len(why) > longest:
		return fmt.Errorf("why has more than %d bytes", longest)
	case !utf8.ValidString(why) || strings.ContainsFunc(why, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("why is not one line of characters that can be seen")
	}
	return nil
}

// Entry returns r as Entry.Rule reads it.
func (r Rule) Entry() Entry {
	e := Entry{Methods: r.Methods, Paths: r.Paths, Push: r.Push, Workflows: r.Workflows, Why: r.Why, Private: r.Private && r.Verdict == Allow && !r.ownPrivate()}
	switch {
	case !r.Net.IsValid():
		e.Host = r.Host.String()
	case r.Net.IsSingleIP():
		e.Host = r.Net.Addr().String()
	default:
		e.CIDR = r.Net.String()
	}
	for _, port := range r.Ports {
		e.Ports = append(e.Ports, int(port))
	}
	if r.Protocol == TCP {
		e.Protocol = TCP.String()
	}
	if r.TLS == Tunnel {
		e.TLS = "tunnel"
	}
	return e
}

// ParseText is ParseRule for both verdicts.
func ParseText(text string, v Verdict, origin string) (Rule, error) {
	r, err := ParseRule(text, origin)
	if err != nil || v == Allow {
		return r, err
	}
	e := r.Entry()
	if r, err = e.Rule(v, origin); err != nil {
		return Rule{}, fmt.Errorf("invalid rule %q: %w", text, err)
	}
	return r, nil
}
