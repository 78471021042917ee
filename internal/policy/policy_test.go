package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// rules makes a policy out of rule texts; "deny " before one turns it round.
func rules(t *testing.T, texts ...string) *Policy {
	t.Helper()
	p := &Policy{}
	for _, text := range texts {
		text, deny := strings.CutPrefix(text, "deny ")
		r, err := ParseRule(text, "test")
		if err != nil {
			t.Fatal(err)
		}
		if deny {
			r.Verdict = Deny
		}
		p.Rules = append(p.Rules, r)
	}
	return p
}

// request reads host:port; the host may be an address.
func request(t *testing.T, s string) Request {
	t.Helper()
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return Request{Addr: ap.Addr(), Port: ap.Port()}
	}
	host, ports, _ := cutPorts(s)
	name, err := hostname.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	port, err := parsePorts(ports)
	if err != nil {
		t.Fatal(err)
	}
	return Request{Host: name, Port: port[0]}
}

func TestDecide(t *testing.T) {
	tests := []struct {
		name    string
		rules   []string
		request string
		want    Verdict
		rule    string
	}{
		{"no rule denies", nil, "github.com:443", Deny, ""},
		{"a host allows 443", []string{"github.com"}, "github.com:443", Allow, "github.com"},
		{"a host allows 80", []string{"github.com"}, "github.com:80", Allow, "github.com"},
		{"a host allows no other port", []string{"github.com"}, "github.com:22", Deny, ""},
		{"named ports replace the usual ones", []string{"github.com:22"}, "github.com:443", Deny, ""},
		{"a named port is allowed", []string{"github.com:22,443"}, "github.com:22", Allow, "github.com:22,443"},
		{"a second rule adds ports", []string{"github.com", "github.com:22"}, "github.com:22", Allow, "github.com:22"},
		{"a wildcard allows below", []string{"*.wild.test"}, "a.b.wild.test:443", Allow, "*.wild.test"},
		{"a wildcard does not allow its apex", []string{"*.wild.test"}, "wild.test:443", Deny, ""},
		{"a look-alike is another host", []string{"github.com"}, "evil-github.com:443", Deny, ""},
		{"a longer name is another host", []string{"github.com"}, "github.com.evil.test:443", Deny, ""},
		{"deny after allow wins", []string{"*.github.com", "deny gist.github.com"}, "gist.github.com:443", Deny, "gist.github.com"},
		{"deny before allow wins", []string{"deny gist.github.com", "*.github.com"}, "gist.github.com:443", Deny, "gist.github.com"},
		{"deny spares the others", []string{"deny gist.github.com", "*.github.com"}, "api.github.com:443", Allow, "*.github.com"},
		{"deny without ports is for every port", []string{"deny gist.github.com", "*.github.com:22"}, "gist.github.com:22", Deny, "gist.github.com"},
		{"deny with a port is for that one", []string{"deny a.test:80", "a.test"}, "a.test:443", Allow, "a.test"},
		{"a raw address is denied", []string{"github.com"}, "140.82.121.4:443", Deny, ""},
		{"a literal rule allows its address", []string{"140.82.121.4"}, "140.82.121.4:443", Allow, "140.82.121.4"},
		{"a literal rule allows no neighbour", []string{"140.82.121.4"}, "140.82.121.5:443", Deny, ""},
		{"a literal rule keeps to its port", []string{"140.82.121.4:22"}, "140.82.121.4:443", Deny, ""},
		{"IPv4 written as IPv6 is another address", []string{"140.82.121.4"}, "[::ffff:140.82.121.4]:443", Deny, ""},
		{"a private literal is allowed when written down", []string{"10.0.0.5:5432"}, "10.0.0.5:5432", Allow, "10.0.0.5:5432"},
		{"metadata is allowed when written down", []string{"169.254.169.254:80"}, "169.254.169.254:80", Allow, "169.254.169.254:80"},
		{"IPv6 literal", []string{"[2606:4700::1111]:853"}, "[2606:4700::1111]:853", Allow, "[2606:4700::1111]:853"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := rules(t, tt.rules...).Decide(request(t, tt.request))
			if d.Verdict != tt.want || d.Rule != tt.rule || d.Reason == "" {
				t.Errorf("%s: %s by %q (%s), want %s by %q", tt.request, d.Verdict, d.Rule, d.Reason, tt.want, tt.rule)
			}
		})
	}
}

func TestZeroValuesDeny(t *testing.T) {
	req := Request{Host: "github.com", Port: 443}
	var none *Policy
	for name, p := range map[string]*Policy{
		"nil policy": none, "zero policy": {}, "zero rule": {Rules: []Rule{{}}},
		"zero rule that allows": {Rules: []Rule{{Verdict: Allow}}}, "unknown default": {Default: 7},
		"rule with an unknown verdict": {Default: Allow, Rules: []Rule{func() Rule {
			r := rules(t, "github.com").Rules[0]
			r.Verdict = 7
			return r
		}()}},
	} {
		if d := p.Decide(req); d.Verdict != Deny {
			t.Errorf("%s: %s", name, d.Reason)
		}
	}
	if d := none.DecideName("github.com"); d.Verdict != Deny {
		t.Error("nil policy knows a name")
	}
	if d := rules(t, "github.com").Decide(Request{Port: 443}); d.Verdict != Deny {
		t.Error("a request for nothing is allowed")
	}
	if d := (Decision{}).CheckAddr("a.test", netip.MustParseAddr("8.8.8.8")); d.Verdict != Deny {
		t.Error("the zero decision allows a public address")
	}
	inside := netip.MustParseAddr("10.0.0.1")
	if d := (&Policy{Rules: []Rule{{Net: netip.PrefixFrom(inside, 32), Verdict: Allow}}}).Decide(Request{Addr: inside, Port: 80}); d.Verdict != Deny {
		t.Error("a rule that is not marked private opens a private address")
	}
	if d := rules(t, "github.com").Decide(req); d.Verdict != Allow {
		t.Error("control: the rule does not allow its host")
	}
}

func TestDefaultAllowKeepsInsideClosed(t *testing.T) {
	p := rules(t, "deny evil.test")
	p.Default = Allow
	for target, want := range map[string]Verdict{
		"any.test:1234": Allow, "8.8.8.8:53": Allow, "evil.test:443": Deny,
		"127.0.0.1:80": Deny, "10.0.0.1:80": Deny, "169.254.169.254:80": Deny, "[fd00:ec2::254]:80": Deny,
		"[64:ff9b::a9fe:a9fe]:80": Deny, "198.18.0.1:80": Deny,
	} {
		if d := p.Decide(request(t, target)); d.Verdict != want {
			t.Errorf("%s: %s, want %s", target, d.Reason, want)
		}
	}
	if d := p.Decide(Request{Host: "any.test", Port: 443}).CheckAddr("any.test", netip.MustParseAddr("10.0.0.1")); d.Verdict != Deny {
		t.Error("a name that leads inside is allowed by default")
	}
}

func TestDecideName(t *testing.T) {
	p := rules(t, "github.com:22", "*.wild.test", "deny no.wild.test", "deny half.wild.test:80", "deny shut.wild.test:80,443")
	for name, want := range map[hostname.Name]Verdict{
		"github.com": Allow, "a.wild.test": Allow, "half.wild.test": Allow,
		"wild.test": Deny, "no.wild.test": Deny, "shut.wild.test": Deny, "evil.test": Deny, "": Deny,
	} {
		if d := p.DecideName(name); d.Verdict != want {
			t.Errorf("%s: %s, want %s", name, d.Reason, want)
		}
	}
	p.Default = Allow
	if p.DecideName("evil.test").Verdict != Allow || p.DecideName("no.wild.test").Verdict != Deny {
		t.Error("the default does not decide about names that no rule mentions")
	}
}

func TestCheckAddr(t *testing.T) {
	tests := []struct {
		addr          string
		open, private Verdict
	}{
		{"93.184.215.14", Allow, Allow}, {"2606:4700::1111", Allow, Allow}, {"64:ff9b::808:808", Allow, Allow},
		{"127.0.0.1", Deny, Allow}, {"10.1.2.3", Deny, Allow}, {"192.168.1.1", Deny, Allow}, {"100.64.0.1", Deny, Allow},
		{"::1", Deny, Allow}, {"fd12::1", Deny, Allow}, {"::ffff:127.0.0.1", Deny, Allow}, {"64:ff9b::a00:1", Deny, Allow},
		{"198.18.0.7", Deny, Allow},
		{"169.254.169.254", Deny, Deny}, {"fd00:ec2::254", Deny, Deny}, {"169.254.170.2", Deny, Deny},
		{"100.100.100.200", Deny, Deny}, {"168.63.129.16", Deny, Deny}, {"64:ff9b::a9fe:a9fe", Deny, Deny},
		{"169.254.1.1", Deny, Deny}, {"fe80::1", Deny, Deny}, {"0.0.0.0", Deny, Deny}, {"::", Deny, Deny},
		{"224.0.0.1", Deny, Deny}, {"255.255.255.255", Deny, Deny}, {"203.0.113.1", Deny, Deny}, {"2002:808:808::1", Deny, Deny},
	}
	open := rules(t, "db.test").Decide(Request{Host: "db.test", Port: 443})
	private := rules(t, "private:db.test").Decide(Request{Host: "db.test", Port: 443})
	both := rules(t, "private:db.test", "db.test").Decide(Request{Host: "db.test", Port: 443})
	for _, tt := range tests {
		a := netip.MustParseAddr(tt.addr)
		if d := open.CheckAddr("db.test", a); d.Verdict != tt.open {
			t.Errorf("%s: %s, want %s", a, d.Reason, tt.open)
		}
		if d := private.CheckAddr("db.test", a); d.Verdict != tt.private || d.Reason == "" {
			t.Errorf("private, %s: %s, want %s", a, d.Reason, tt.private)
		}
		if d := both.CheckAddr("db.test", a); d.Verdict != tt.private {
			t.Errorf("a second, narrower rule takes %s away", a)
		}
	}
	if d := private.CheckAddr("db.test", netip.Addr{}); d.Verdict != Deny {
		t.Error("no address is allowed")
	}
}

func BenchmarkDecide(b *testing.B) {
	p := &Policy{}
	for range 50 {
		r, _ := ParseRule("*.example.com", "test")
		p.Rules = append(p.Rules, r)
	}
	for b.Loop() {
		p.Decide(Request{Host: "a.example.com", Port: 443})
	}
}

func TestDenialsSayWhy(t *testing.T) {
	p := rules(t, "a.test", "deny a.test:80", "deny 203.0.114.0/24")
	p.Rules[0].Why, p.Rules[1].Why, p.Rules[2].Why = "the mock-ups", "in the clear", "leaves the EU"
	allowed, denied := p.Decide(request(t, "a.test:443")), p.Decide(request(t, "a.test:80"))
	if allowed.Why != "the mock-ups" || strings.Contains(allowed.Reason, allowed.Why) {
		t.Errorf("%+v", allowed)
	}
	if denied.Why != "in the clear" || denied.Reason != `a.test:80 is denied by rule "a.test:80" (test): in the clear` {
		t.Errorf("%+v", denied)
	}
	if d := allowed.CheckAddr("a.test", netip.MustParseAddr("203.0.114.7")); !strings.HasSuffix(d.Reason, `denied by rule "203.0.114.0/24" (test): leaves the EU`) {
		t.Errorf("%+v", d)
	}
}
