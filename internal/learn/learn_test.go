package learn

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// session is a policy and the record that egress would keep of what it decided.
type session struct {
	t testing.TB
	*policy.Policy
	events []audit.Event
	flow   uint64
}

// newSession has the default and the rules of a configuration.
func newSession(t testing.TB, network string) *session {
	t.Helper()
	c, err := config.Parse([]byte("network: " + network))
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, Policy: &policy.Policy{Rules: c.Network.Rules}}
	s.Default = policy.ParseVerdict(c.Network.Default)
	return s
}

// target reads HOST:PORT.
func (s *session) target(text string) policy.Request {
	s.t.Helper()
	if addr, err := netip.ParseAddrPort(text); err == nil {
		return policy.Request{Addr: addr.Addr(), Port: addr.Port()}
	}
	host, port, _ := strings.Cut(text, ":")
	name, err := hostname.Parse(host)
	if err != nil {
		s.t.Fatal(err)
	}
	req := policy.Request{Host: name}
	_, _ = fmt.Sscan(port, &req.Port)
	return req
}

func (s *session) event(kind audit.Kind, req policy.Request, d policy.Decision) {
	e := audit.Event{Seq: uint64(len(s.events) + 1), Kind: kind, Flow: s.flow, Host: string(req.Host), Port: req.Port,
		Method: req.Method, Path: audit.RedactPath(req.Path), Verdict: d.Verdict.String(), Rule: d.Rule, Reason: d.Reason}
	if req.Host == "" {
		e.Addr = req.Addr.String()
	}
	s.events = append(s.events, e)
}

// connect opens a connection, and sends requests on it where it may: "METHOD PATH". Without any, what it carries is
// not read.
func (s *session) connect(target string, requests ...string) {
	s.t.Helper()
	s.flow++
	conn := s.target(target)
	d := s.Decide(conn)
	if d.Protocol == policy.TCP || d.Tunnel {
		requests = nil
	}
	if d.Verdict != policy.Allow || len(requests) == 0 {
		s.event(audit.KindConnect, conn, d)
	}
	if d.Verdict != policy.Allow {
		return
	}
	for i, text := range requests {
		req := conn
		req.Method, req.Path, _ = strings.Cut(text, " ")
		judged := s.Decide(req)
		s.event(audit.KindRequest, req, judged)
		if judged.Verdict == policy.Allow {
			if i == 0 {
				s.event(audit.KindConnect, conn, d)
			}
			s.event(audit.KindResponse, req, judged)
		}
	}
	s.event(audit.KindClose, conn, d)
}

// ask asks for a name.
func (s *session) ask(name string) {
	s.t.Helper()
	req := s.target(name)
	if d := s.DecideName(req.Host); d.Verdict != policy.Allow {
		s.event(audit.KindDNS, req, d)
		s.events[len(s.events)-1].Type = "A"
	}
}

func (s *session) record() Events {
	return func(yield func(audit.Event, error) bool) {
		for _, e := range s.events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *session) propose() Proposal {
	s.t.Helper()
	p, err := Propose(s.Policy, s.record())
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func TestPropose(t *testing.T) {
	many := func(s *session, target, format string, n int) {
		for i := range n {
			s.connect(target, fmt.Sprintf(format, i))
		}
	}
	for name, tt := range map[string]struct {
		session string
		used    func(s *session)
		want    string
	}{
		"nothing": {"{}", func(*session) {}, ""},
		"few paths stay as they are": {"{allow: [api.test]}", func(s *session) {
			s.connect("api.test:443", "GET /a", "GET /b/1", "GET /a")
		}, `
  allow:
    # used 3 times
    - host: api.test
      port: 443
      methods: [GET]
      paths: ["/a", "/b/1"]
`},
		"methods with the same paths are together": {"{allow: [api.test]}", func(s *session) {
			s.connect("api.test:443", "GET /a", "HEAD /a", "POST /b")
		}, `
  allow:
    # used twice
    - host: api.test
      port: 443
      methods: [GET, HEAD]
      paths: ["/a"]
    # used once
    - host: api.test
      port: 443
      methods: [POST]
      paths: ["/b"]
`},
		"many paths are what they begin with": {"{allow: [api.test]}", func(s *session) {
			many(s, "api.test:443", "GET /repos/acme/shop/file-%d.go", 10)
		}, `
  allow:
    # used 10 times
    - host: api.test
      port: 443
      methods: [GET]
      paths: ["/repos/acme/shop/**"]
`},
		"branches stay apart while they are few": {"{allow: [api.test]}", func(s *session) {
			many(s, "api.test:443", "GET /v1/files/x-%d", 10)
			s.connect("api.test:443", "GET /v1/files", "GET /v1/user")
		}, `
  allow:
    # used 12 times
    - host: api.test
      port: 443
      methods: [GET]
      paths: ["/v1/files", "/v1/files/**", "/v1/user"]
`},
		"ids become stars": {"{allow: [api.test]}", func(s *session) {
			many(s, "api.test:443", "GET /users/%d/posts", 10)
			many(s, "api.test:443", "GET /commits/00%dabcdef", 9)
		}, `
  allow:
    # used 19 times
    - host: api.test
      port: 443
      methods: [GET]
      paths: ["/commits/*", "/users/*/posts"]
`},
		"secrets become stars": {"{allow: [api.test]}", func(s *session) {
			s.connect("api.test:443", "POST /bot123456:"+strings.Repeat("Aa1", 12)+"/send")
		}, `
  allow:
    # used once
    - host: api.test
      port: 443
      methods: [POST]
      paths: ["/*/send"]
`},
		"a path that no glob matches needs them all": {"{allow: [api.test]}", func(s *session) {
			s.connect("api.test:443", "GET /@scope%2fname", "GET /a")
		}, `
  allow:
    # used twice
    - host: api.test
      port: 443
      methods: [GET]
`},
		"ports are joined": {"{allow: [api.test]}", func(s *session) {
			s.connect("api.test:443", "GET /a")
			s.connect("api.test:80", "GET /a")
		}, `
  allow:
    # used twice
    - host: api.test
      ports: [80, 443]
      methods: [GET]
      paths: ["/a"]
`},
		"a narrow rule and a profile stay": {`{allow: [{host: api.test, methods: [GET], paths: ["/a/**"], why: ours}], profiles: [go], deny: [{host: evil.test, why: "\"x\""}]}`, func(s *session) {
			s.connect("api.test:443", "GET /a/b", "GET /a/c")
			s.connect("mirror.golang.org:443", "GET /x")
			s.connect("evil.test:443")
		}, `
  allow:
    # as it is, used twice
    - host: api.test
      why: "ours"
      methods: [GET]
      paths: ["/a/**"]
  deny:
    # as it is
    - host: evil.test
      why: "\"x\""
  profiles: [go]
`},
		"a wildcard of few hosts is those hosts": {`{allow: ["*.a.test"]}`, func(s *session) {
			s.connect("x.a.test:443", "GET /1")
			s.connect("y.a.test:443", "GET /1")
		}, `
  allow:
    # used once
    - host: x.a.test
      port: 443
      methods: [GET]
      paths: ["/1"]
    # used once
    - host: y.a.test
      port: 443
      methods: [GET]
      paths: ["/1"]
`},
		"a wildcard of many stays one": {`{allow: ["*.a.test"]}`, func(s *session) {
			for i := range 10 {
				s.connect(fmt.Sprintf("h%d.a.test:443", i), "GET /1")
			}
		}, `
  allow:
    # used 10 times
    - host: "*.a.test"
      port: 443
      methods: [GET]
      paths: ["/1"]
`},
		"what is carried": {`{default: allow, allow: ["tcp:db.test:5432", "tunnel:pinned.test"]}`, func(s *session) {
			s.connect("db.test:5432")
			s.connect("pinned.test:443")
			s.connect("git.test:22")
			s.connect("web.test:443")
			s.connect("clear.test:80", "GET /a")
			s.connect("203.0.114.7:443")
		}, `
  allow:
    # used once, unread; under this rule its requests are read, and what is neither TLS nor HTTP is refused
    - host: "203.0.114.7"
      port: 443
    # used once
    - host: clear.test
      port: 80
      methods: [GET]
      paths: ["/a"]
    # used once
    - host: db.test
      port: 5432
      protocol: tcp
    # used once
    - host: git.test
      port: 22
      protocol: tcp
    # used once
    - host: pinned.test
      port: 443
      tls: tunnel
    # used once, unread; under this rule its requests are read, and what is neither TLS nor HTTP is refused
    - host: web.test
      port: 443
`},
		"what was refused comes last": {`{allow: [{host: api.test, methods: [GET]}]}`, func(s *session) {
			s.connect("api.test:443", "POST /a", "POST /a", "POST /a")
			s.connect("api.test:22")
			s.ask("more.test")
			s.ask("more.test")
			s.connect("203.0.114.7:80")
		}, `
  allow:
    # refused once
    - host: "203.0.114.7"
      port: 80
    # refused once
    - host: api.test
      port: 22
      protocol: tcp
    # refused 3 times
    - host: api.test
      port: 443
      methods: [POST]
      paths: ["/a"]
    # refused twice
    - host: more.test
      port: 443
`},
		"what a human was asked": {`{default: ask, allow: [api.test]}`, func(s *session) {
			s.connect("api.test:443", "GET /a")
			for name, d := range map[string]policy.Decision{
				"once.test": s.Decide(s.target("once.test:443")).Approved(),
				"no.test":   s.Decide(s.target("no.test:443")).Rejected(policy.ByHuman),
				"left.test": s.Decide(s.target("left.test:443")).Rejected("its connection ended before a human had answered"),
			} {
				req := s.target(name + ":443")
				s.flow++
				s.event(audit.KindAsk, req, s.Decide(req))
				req.Method, req.Path = "GET", "/b"
				s.event(audit.KindRequest, req, d)
			}
		}, `
  allow:
    # used once
    - host: api.test
      port: 443
      methods: [GET]
      paths: ["/a"]
    # used once
    - host: once.test
      port: 443
      methods: [GET]
      paths: ["/b"]
    # refused once
    - host: left.test
      port: 443
      methods: [GET]
      paths: ["/b"]
`},
		"nothing private, nothing denied": {`{default: allow, allow: ["private:db.test", "10.0.0.0/8:80", "host.bailey.internal:8080"], deny: [evil.test]}`, func(s *session) {
			s.connect("db.test:443", "GET /")
			s.connect("10.0.0.1:80", "GET /")
			s.connect("host.bailey.internal:8080", "GET /")
			s.connect("evil.test:443")
			s.ask("evil.test")
			s.connect("127.0.0.1:80")
			s.connect("169.254.169.254:80")
		}, `
  deny:
    # as it is
    - host: evil.test
`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t, tt.session)
			tt.used(s)
			p := s.propose()
			if got, want := p.YAML(), "network:\n  default: deny\n"+strings.TrimPrefix(tt.want, "\n"); got != want {
				t.Errorf("proposed is\n%s\nwant\n%s", got, want)
			}
			if _, err := config.Parse([]byte(p.YAML())); err != nil {
				t.Errorf("it does not load: %v", err)
			}
		})
	}
}

func TestProposeSkipsWhatItDoesNotKnow(t *testing.T) {
	s := newSession(t, "{allow: [a.test]}")
	s.connect("a.test:443", "GET /a")
	for _, change := range []func(e *audit.Event){
		func(e *audit.Event) { e.Kind = "later" },
		func(e *audit.Event) { e.Verdict = "ask" },
		func(e *audit.Event) { e.Verdict = "ALLOW" },
		func(e *audit.Event) { e.Verdict = "" },
		func(e *audit.Event) { e.Host = "b.test\n" },
		func(e *audit.Event) { e.Host, e.Addr = "", "" },
	} {
		e := audit.Event{Kind: audit.KindRequest, Host: "b.test", Port: 443, Method: "GET", Path: "/", Verdict: "allow", Reason: "no rule allows it"}
		change(&e)
		s.events = append(s.events, e)
	}
	damaged := func(yield func(audit.Event, error) bool) {
		_ = yield(audit.Event{}, audit.ErrDamaged)
		s.record()(yield)
	}
	p, err := Propose(s.Policy, damaged)
	if err != nil || p.Skipped != 7 || len(p.Allow) != 1 || p.Allow[0].Host != "a.test" {
		t.Errorf("%+v, %v", p, err)
	}
	broken := fmt.Errorf("input/output error")
	if _, err := Propose(s.Policy, func(yield func(audit.Event, error) bool) { yield(audit.Event{}, broken) }); err != broken {
		t.Errorf("%v", err)
	}
}

// A connection that was passed on unread is told from one whose requests were, whatever its number meant before.
func TestNumbersOfConnectionsMayComeAgain(t *testing.T) {
	s := newSession(t, "{default: allow}")
	s.connect("a.test:80", "GET /a")
	s.events = s.events[:len(s.events)-1] // killed before it was closed
	s.flow = 0
	s.connect("b.test:9000")
	if got := s.propose(); len(got.Allow) != 2 || got.Allow[1].Host != "b.test" || len(got.Allow[0].Paths) != 1 {
		t.Errorf("%+v", got.Allow)
	}
}

// What a session was allowed it is allowed under what is proposed from its record, and nothing in that is wider than
// a session's rules may be.
func TestAProposalAllowsWhatWasUsed(t *testing.T) {
	sessions := []string{
		"{default: allow}", `{allow: [a.test, "b.test:8080"]}`, `{allow: ["*.a.test", "tcp:b.test:22", "tunnel:c.test"]}`,
		`{default: allow, deny: [b.test, {host: c.test, methods: [DELETE]}]}`,
		`{allow: [{host: a.test, methods: [GET], paths: ["/v1/**"]}, "*.a.test", "203.0.114.0/24"], deny: [x.a.test]}`,
	}
	hosts := []string{"a.test:443", "b.test:8080", "c.test:443", "b.test:22", "203.0.114.7:80", "x.a.test:443", "y.a.test:80"}
	words := []string{"v1", "users", "42", "deadbeef01", "a*b", "**", "ü", "a;b", "", "%2f", "..", "x%25", "{b}", "123e4567-e89b-12d3-a456-426614174000",
		strings.Repeat("long", 300), "ghp_" + strings.Repeat("Ab1", 12), `q"\`, "#", "\x1b"}
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := newSession(t, sessions[r.IntN(len(sessions))])
		for range 1 + r.IntN(200) {
			target := hosts[r.IntN(len(hosts))]
			if r.IntN(4) == 0 {
				target = fmt.Sprintf("h%d.a.test:443", r.IntN(20))
			}
			var requests []string
			for range r.IntN(3) {
				path := ""
				for range 1 + r.IntN(4) {
					path += "/" + words[r.IntN(len(words))]
				}
				requests = append(requests, []string{"GET", "POST", "DELETE", "x-y"}[r.IntN(4)]+" "+path)
			}
			s.connect(target, requests...)
		}
		wantAllowed(t, s)
	}
}

func wantAllowed(t *testing.T, s *session) {
	t.Helper()
	proposal := s.propose()
	c, err := config.Parse([]byte(proposal.YAML()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, proposal.YAML())
	}
	p := &policy.Policy{Rules: c.Network.Rules}
	for _, e := range s.events {
		req, _ := targetOf(e)
		req.Method, req.Path = e.Method, e.Path
		if e.Verdict == "allow" && p.Decide(req).Verdict != policy.Allow {
			t.Fatalf("%s %s is not allowed by\n%s", req, req.Path, proposal.YAML())
		}
	}
	wild := map[string]bool{}
	for _, r := range s.Rules {
		wild[r.Host.String()] = true
	}
	for _, r := range p.Rules {
		if text := r.Host.String(); r.Verdict == policy.Allow && (r.Private || r.Net.IsValid() && !r.Net.IsSingleIP() || strings.HasPrefix(text, "*") && !wild[text]) {
			t.Fatalf("the rule %s is too wide", r)
		}
	}
}

// Whatever a record says, the proposal loads.
func FuzzPropose(f *testing.F) {
	f.Add("connect", "a.test", "", 443, "", "", "allow", "", "a.test:443 is allowed by default")
	f.Add("request", "a.test", "", 443, "GET", "/a/%2f/…", "allow", "*.test (GET)", "")
	f.Add("request", "", "10.0.0.1", 80, "x y", "/{redacted}/**", "deny", "", "no rule allows it")
	f.Add("dns", "localhost", "", 0, "", "", "deny", "", "no rule allows localhost")
	f.Fuzz(func(t *testing.T, kind, host, addr string, port int, method, path, verdict, rule, reason string) {
		e := audit.Event{Kind: audit.Kind(kind), Host: host, Addr: addr, Port: uint16(port), Method: method, Path: path, Verdict: verdict, Rule: rule, Reason: reason, Type: "A"}
		s := newSession(t, "{allow: [a.test], deny: [evil.test]}")
		for _, suffix := range []string{"", "/1", "/2", "/x", "/y", "/z", "/" + method} {
			e.Path = path + suffix
			s.events = append(s.events, e)
		}
		proposal := s.propose()
		c, err := config.Parse([]byte(proposal.YAML()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, proposal.YAML())
		}
		for _, r := range c.Network.Rules {
			if r.Verdict == policy.Allow && (r.Private || r.Net.IsValid() && !r.Net.IsSingleIP()) || r.Verdict == policy.Allow && r.Host.Match("evil.test") {
				t.Fatalf("the rule %s is proposed", r)
			}
		}
	})
}
