package policy

import (
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

func TestPushIn(t *testing.T) {
	for _, c := range []struct{ path, query, repository string }{
		{"/acme/shop.git/git-receive-pack", "", "acme/shop"},
		{"/acme/shop/git-receive-pack", "", "acme/shop"},
		{"/a/b/c.git/info/refs", "service=git-receive-pack", "a/b/c"},
		{"/a%6d/x.git/git-receive-pack", "", "am/x"},
		// What some server may take for a push is one, to no repository that a rule can name.
		{"/acme//shop.git/git-receive-pack", "", ""},
		{"/acme/shop.git/git%2dreceive-pack/", "", ""},
		{"/acme/shop.git/GIT-Receive-Pack", "", ""},
		{"/acme/shop.git/git%252dreceive-pack", "", ""},
		{"/acme/shop.git/git-receive-pack;a=b", "", ""},
		{"/acme%2fshop.git/git-receive-pack", "", ""},
		{"/x", "a=b&service=git-receive-pack", ""},
		{"/acme/shop.git/info/refs", "service=Git%2DReceive%2Dpack", "acme/shop"},
		{"/acme/../shop/info/refs", "service=git-receive-pack", ""},
	} {
		if p := PushIn(c.path, c.query); p == nil || p.Repository != c.repository {
			t.Errorf("%s?%s is %+v, not a push to %q", c.path, c.query, p, c.repository)
		}
	}
	for _, c := range [][2]string{{"/acme/shop.git/git-upload-pack", ""}, {"/acme/shop.git/info/refs", "service=git-upload-pack"}, {"/", ""}, {"", ""}, {"/git-receive-pack.md", ""}, {"/a//b", "q=1"}} {
		if p := PushIn(c[0], c[1]); p != nil {
			t.Errorf("%v is taken for a push: %+v", c, p)
		}
	}
}

func TestPushes(t *testing.T) {
	main := Push{Repository: "acme/shop", Ref: "refs/heads/main"}
	fix := Push{Repository: "acme/shop", Ref: "refs/heads/bailey/fix-1"}
	with := func(p Push, change func(*Push)) Push { change(&p); return p }
	rewrites := func(p *Push) { p.Rewrites = true }
	workflows := func(p *Push) { p.Workflows = true }
	tag := Push{Repository: "acme/shop", Ref: "refs/tags/v1"}
	for _, c := range []struct {
		rules []Entry
		p     Push
		want  Verdict
	}{
		{[]Entry{{Host: "a.test"}}, main, Deny}, // whatever else is allowed there
		{[]Entry{{Host: "a.test", Methods: []string{"POST"}, Paths: []string{"**/git-receive-pack"}}}, main, Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:main"}}}, main, Allow},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:main"}}}, Push{Repository: "acme/shop"}, Allow},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:main"}}}, Push{Repository: "acme/other"}, Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:main"}}}, Push{}, Deny},
		{[]Entry{{Host: "a.test", Push: []string{"**:**"}}}, Push{}, Deny},
		{[]Entry{{Host: "b.test", Push: []string{"acme/shop:main"}}}, main, Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:main"}}}, fix, Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/*:bailey/**"}}}, fix, Allow},
		{[]Entry{{Host: "a.test", Push: []string{"acme/*:bailey/**"}}}, main, Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:main"}}}, with(main, rewrites), Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:+main"}}}, with(main, rewrites), Allow},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:main", "acme/shop:+bailey/**"}}}, with(main, rewrites), Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:+main"}}}, with(main, workflows), Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:main"}, Workflows: true}}, with(main, workflows), Allow},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:**"}}}, tag, Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:tags/v*"}}}, tag, Allow},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:tags/v*"}}}, Push{Repository: "acme/shop", Ref: "refs/heads/tags/v1"}, Deny},
		{[]Entry{{Host: "a.test", Push: []string{"acme/shop:refs/for/*"}}}, Push{Repository: "acme/shop", Ref: "refs/for/main"}, Allow},
	} {
		for _, unspoken := range []Verdict{Deny, Ask, Allow} {
			p := &Policy{Default: unspoken}
			for _, e := range c.rules {
				r, err := e.Rule(Allow, "test")
				if err != nil {
					t.Fatal(err)
				}
				p.Rules = append(p.Rules, r)
			}
			d := p.Decide(Request{Host: "a.test", Port: 443, Method: "POST", Path: "/x", Push: &c.p})
			if d.Verdict != c.want {
				t.Errorf("%v, and %s by default: %s is %s: %s", p.Rules, unspoken, c.p.String(), d.Verdict, d.Reason)
			}
			if d.Verdict == Deny && c.p.Repository != "" && !strings.HasPrefix(d.Cure, "bailey allow --push ") {
				t.Errorf("the cure is %q", d.Cure)
			}
		}
	}
	// A rule for pushes is for nothing else.
	r, err := Entry{Host: "a.test", Push: []string{"acme/shop:main"}}.Rule(Allow, "test")
	if err != nil {
		t.Fatal(err)
	}
	p := &Policy{Rules: []Rule{r}}
	if d := p.Decide(Request{Host: "a.test", Port: 443, Method: "POST", Path: "/acme/shop.git/git-upload-pack"}); d.Verdict != Deny {
		t.Errorf("a rule for pushes allows a fetch: %s", d.Reason)
	}
	if d := p.Decide(Request{Host: "a.test", Port: 443}); d.Verdict != Allow || !d.Inspect {
		t.Errorf("the connection is %s, inspected %v", d.Verdict, d.Inspect)
	}
	if got := r.String(); got != "a.test (push acme/shop:main)" {
		t.Errorf("the rule reads %q", got)
	}
}

func TestRulesForPushesThatNobodyCanMean(t *testing.T) {
	for _, e := range []Entry{
		{Push: []string{"acme/shop"}}, {Push: []string{"acme/shop:"}}, {Push: []string{":main"}}, {Push: []string{"acme/shop:+"}},
		{Push: []string{"acme/shop.git:main"}}, {Push: []string{"acme/../x:main"}}, {Push: []string{"/acme/x:main"}}, {Workflows: true},
		{Push: []string{"a/b:main"}, Methods: []string{"GET"}}, {Push: []string{"a/b:main"}, TLS: "tunnel"}, {Push: []string{"a/b:main"}, Protocol: "tcp", Port: 22},
	} {
		e.Host = "a.test"
		if r, err := e.Rule(Allow, "test"); err == nil {
			t.Errorf("%+v became %s", e, r)
		}
	}
	if _, err := (Entry{Host: "a.test", Push: []string{"a/b:main"}}).Rule(Deny, "test"); err == nil {
		t.Error("a rule can deny pushes only, which reads as if others were allowed")
	}
}

// The sandbox chooses what a push names, and people paste the cure.
func FuzzPushCure(f *testing.F) {
	f.Add("acme/shop", "refs/heads/main", true, false)
	f.Add("a;rm -rf ~", "refs/heads/$(id)", false, true)
	f.Add("--global", "refs/tags/x", false, false)
	f.Fuzz(func(t *testing.T, repository, ref string, rewrites, workflows bool) {
		req := Request{Host: hostname.Name("a.test"), Port: 443, Method: "POST", Path: "/x", Push: &Push{repository, ref, rewrites, workflows}}
		d := (&Policy{}).Decide(req)
		if d.Verdict != Deny {
			t.Fatalf("%q is %s", repository, d.Verdict)
		}
		if strings.ContainsAny(strings.ReplaceAll(d.Cure, ":bailey/**'", ""), "$`;&|<>()\"\\\n*?[]{}~!#") || strings.Contains(d.Cure, " --global") {
			t.Fatalf("the cure is %q", d.Cure)
		}
	})
}
