package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// asking is rules whose policy asks about what they do not speak of.
func asking(t *testing.T, texts ...string) *Policy {
	p := rules(t, texts...)
	p.Default, p.Sandbox = Ask, "box"
	return p
}

func TestWhatNoRuleSpeaksOfIsAskedAbout(t *testing.T) {
	read := Entry{Host: "read.test", Methods: []string{"GET"}}
	some, err := read.Rule(Allow, "test")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		rules   []string
		request string
		method  string
		want    Verdict
	}{
		{"a name", nil, "a.test:443", "", Ask},
		{"a request to it", nil, "a.test:443", "POST", Ask},
		{"any port", nil, "a.test:22", "", Ask},
		{"a public address", nil, "8.8.8.8:53", "", Ask},
		{"what is allowed", []string{"a.test"}, "a.test:443", "", Allow},
		{"another port of what is allowed", []string{"a.test"}, "a.test:22", "", Ask},
		{"what is denied", []string{"deny a.test"}, "a.test:443", "", Deny},
		{"what is denied and allowed", []string{"a.test", "deny a.test"}, "a.test:443", "GET", Deny},
		{"a denied network", []string{"deny 8.8.0.0/16"}, "8.8.8.8:53", "", Deny},
		{"a private address", nil, "10.0.0.1:80", "", Deny},
		{"the loopback", nil, "127.0.0.1:80", "", Deny},
		{"the metadata service", nil, "169.254.169.254:80", "", Deny},
		{"a private address in a network that is not marked", []string{"0.0.0.0/0:80"}, "10.0.0.1:80", "", Deny},
		{"a private address that is named", []string{"10.0.0.1:80"}, "10.0.0.1:80", "", Allow},
		{"this host", nil, "host.bailey.internal:80", "", Deny},
		{"this host when it is named", []string{"host.bailey.internal:80"}, "host.bailey.internal:80", "", Allow},
		{"a rule's own request", nil, "read.test:443", "GET", Allow},
		{"a rule's own connection", nil, "read.test:443", "", Allow},
		{"another request than a rule's", nil, "read.test:443", "POST", Ask},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := asking(t, tt.rules...)
			p.Rules = append(p.Rules, some)
			req := request(t, tt.request)
			if req.Method = tt.method; tt.method != "" {
				req.Path = "/"
			}
			d := p.Decide(req)
			if d.Verdict != tt.want {
				t.Errorf("%s: %s", d.Verdict, d.Reason)
			}
			if asked := strings.HasPrefix(d.Reason, "no rule speaks of "); asked != (tt.want == Ask) || asked && (d.Rule != "" || !strings.HasPrefix(d.Cure, "bailey allow --sandbox box ")) {
				t.Errorf("the reason is %q, the cure %q", d.Reason, d.Cure)
			}
			// Where nothing is asked, the same is denied by default: asking opens nothing by itself.
			p.Default = Deny
			if closed := p.Decide(req); (closed.Verdict == Allow) != (tt.want == Allow) {
				t.Errorf("under deny it is %s", closed.Verdict)
			}
		})
	}
}

func TestAQuestionOpensNothing(t *testing.T) {
	d := asking(t).Decide(Request{Host: "a.test", Port: 443})
	if d.Verdict == Allow || d.Protocol == Any || !d.Inspect {
		t.Errorf("a question lets something through: %+v", d)
	}
	if d := d.CheckAddr("a.test", netip.MustParseAddr("8.8.8.8")); d.Verdict == Allow {
		t.Error("a question is allowed by a public address")
	}
	yes := d.Approved()
	if yes.Verdict != Allow || !yes.Once || yes.Reason != "a.test:443 is allowed once by a human" {
		t.Errorf("approved: %+v", yes)
	}
	if d := yes.CheckAddr("a.test", netip.MustParseAddr("10.0.0.1")); d.Verdict != Deny {
		t.Error("a human's word opens a private address")
	}
	if d := yes.CheckAddr("a.test", netip.MustParseAddr("8.8.8.8")); d.Verdict != Allow {
		t.Errorf("control: %s", d.Reason)
	}
	denied := asking(t, "deny a.test").Decide(Request{Host: "a.test", Port: 443})
	if d := denied.Approved(); d.Verdict != Deny {
		t.Error("a human's word, who was not asked, opens what is denied")
	}
	if d := (Decision{}).Approved(); d.Verdict != Deny {
		t.Error("the zero decision can be approved")
	}
	if d := d.Rejected("so it is"); d.Verdict != Deny || d.Reason != "no rule speaks of a.test:443, and so it is" || d.Cure == "" {
		t.Errorf("rejected: %+v", d)
	}
}

func TestOtherProtocolsAreAskedAbout(t *testing.T) {
	req := Request{Host: "a.test", Port: 443}
	other := asking(t).Decide(req).NotHTTP()
	if other.Verdict != Ask || other.Protocol != TCP || other.Approved().Protocol != TCP {
		t.Errorf("no rule: %+v", other)
	}
	if d := asking(t, "a.test").Decide(req).NotHTTP(); d.Verdict != Deny {
		t.Errorf("a rule for requests: %s", d.Reason)
	}
	deletes, _ := Entry{Host: "a.test", Methods: []string{"DELETE"}}.Rule(Deny, "test")
	p := asking(t)
	p.Rules = append(p.Rules, deletes)
	if d := p.Decide(req); d.Verdict != Ask || d.NotHTTP().Verdict != Deny {
		t.Errorf("where a request is denied, something else can be asked about: %s", d.NotHTTP().Reason)
	}
}

func TestAnAnswerThatLasts(t *testing.T) {
	p := asking(t)
	for _, tt := range []struct {
		d     Decision
		v     Verdict
		want  string
		match bool
	}{
		{p.Decide(Request{Host: "a.test", Port: 443, Method: "GET", Path: "/"}), Allow, "a.test:443", true},
		{p.Decide(Request{Host: "a.test", Port: 443}), Deny, "a.test:443", true},
		{p.Decide(Request{Host: "a.test", Port: 22}).NotHTTP(), Allow, "tcp:a.test:22", true},
		{p.Decide(Request{Host: "a.test", Port: 22}).NotHTTP(), Deny, "a.test:22", true},
		{p.Decide(Request{Addr: netip.MustParseAddr("8.8.8.8"), Port: 53}).NotHTTP(), Allow, "tcp:8.8.8.8:53", true},
		{p.Decide(Request{Addr: netip.MustParseAddr("2606:4700::1111"), Port: 53}), Allow, "[2606:4700::1111]:53", true},
		{p.Decide(Request{Addr: netip.MustParseAddr("10.0.0.1"), Port: 53}), Allow, "", false},
		{p.Decide(Request{Host: "a.test", Port: 443}), Ask, "", false},
		{Decision{}, Allow, "", false},
	} {
		e, ok := tt.d.Answer(tt.v)
		if ok != tt.match {
			t.Errorf("%s: %v", tt.d.Reason, ok)
		}
		if !ok {
			continue
		}
		r, err := e.Rule(tt.v, "")
		if err != nil || r.String() != tt.want {
			t.Errorf("the rule is %s, %v, want %s", r, err, tt.want)
		}
		after := asking(t)
		after.Rules = append(after.Rules, r)
		if d := after.Decide(tt.d.req); d.Verdict != tt.v {
			t.Errorf("by its own rule %s is %s", tt.d.req, d.Verdict)
		}
	}
}

func TestNamesAreKnownWhereSomebodyIsAsked(t *testing.T) {
	p := asking(t, "deny evil.test", "deny half.test:443")
	for name, want := range map[hostname.Name]Verdict{"a.test": Ask, "evil.test": Deny, "half.test": Ask, HostAlias: Deny} {
		if d := p.DecideName(name); d.Verdict != want {
			t.Errorf("%s: %s", name, d.Verdict)
		}
	}
}

func TestVerdictsCrossAsWords(t *testing.T) {
	for _, v := range []Verdict{Deny, Allow, Ask} {
		if got := ParseVerdict(v.String()); got != v {
			t.Errorf("%s becomes %s", v, got)
		}
	}
	for _, text := range []string{"", "Allow", "ask ", "yes"} {
		if ParseVerdict(text) != Deny {
			t.Errorf("%q does not deny", text)
		}
	}
}
