package credential

import (
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

func TestPlaces(t *testing.T) {
	for text, want := range map[string]Place{
		"bearer":                         {Header: "Authorization", Form: "Bearer {}"},
		"basic":                          {Header: "Authorization", Basic: true},
		"header:X-Api-Key":               {Header: "X-Api-Key", Form: "{}"},
		"header:Authorization:token {}":  {Header: "Authorization", Form: "token {}"},
		"query:key":                      {Query: "key", Form: "{}"},
		"sigv4":                          {Header: "Authorization", SigV4: true},
		"sigv4:eu-central-1/s3":          {Header: "Authorization", SigV4: true, Scope: "eu-central-1/s3"},
		"header:X-Signature:v1={};alg=a": {Header: "X-Signature", Form: "v1={};alg=a"},
	} {
		p, err := ParsePlace(text)
		if err != nil || p != want {
			t.Errorf("ParsePlace(%q) = %+v, %v", text, p, err)
		}
		if p.String() != text {
			t.Errorf("%q comes back as %q", text, p)
		}
	}
	for _, text := range []string{"", "bearer:x", "basic:x", "header", "header:", "header:a b", "header:X:", "header:X:{}{}", "header:X:a\nb{}", "query", "query:", "query:a=b", "cookie:x", "sigv4:x", "sigv4:/s3", "sigv4:a/b/c"} {
		if p, err := ParsePlace(text); err == nil {
			t.Errorf("ParsePlace(%q) = %+v", text, p)
		}
	}
}

func TestServicesAreWhole(t *testing.T) {
	for _, s := range Services() {
		if s.Name == "" || s.Title == "" || len(s.Env) == 0 && !strings.HasSuffix(s.Name, "-login") || len(s.Bindings) == 0 {
			t.Errorf("%+v", s)
		}
		for _, b := range s.Bindings {
			if b.Host == (hostname.Pattern{}) || len(b.As) == 0 {
				t.Errorf("%s: %+v", s.Name, b)
			}
			for _, p := range b.As {
				if p == (Place{}) {
					t.Errorf("%s: a place of %s is none", s.Name, b.Host)
				}
			}
		}
	}
}

func TestPlaceholdersLookRightAndDiffer(t *testing.T) {
	for _, s := range Services() {
		one, other := s.Shape.New(), s.Shape.New()
		if one == other || !strings.HasPrefix(one, s.Shape.Prefix) || !strings.HasSuffix(one, s.Shape.Suffix) {
			t.Errorf("%s: %q, %q", s.Name, one, other)
		}
		if !s.Shape.Fits(one) || s.Shape.Fits("") || len(parts(one)) > 1 != s.Parts {
			t.Errorf("%s: %q does not fit its own shape", s.Name, one)
		}
	}
}

func TestNothingIsBoundToCleartext(t *testing.T) {
	s, _ := FindService("anthropic")
	target := Target{Host: "api.anthropic.com", Port: 443, TLS: true}
	if !s.Bindings[0].Matches(target) {
		t.Fatal("the service's own host does not match")
	}
	for _, other := range []Target{{Host: "api.anthropic.com", Port: 443}, {Host: "api.anthropic.com", Port: 8443, TLS: true}, {Host: "evil.test", Port: 443, TLS: true}, {Port: 443, TLS: true}} {
		if s.Bindings[0].Matches(other) {
			t.Errorf("%+v matches", other)
		}
	}
}
