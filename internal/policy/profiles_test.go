package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestProfilesOnlyRead(t *testing.T) {
	want := []string{"debian", "docker", "github", "gitlab", "go", "java", "node", "python", "ruby", "rust", "ubuntu"}
	if got := ProfileNames(); !slices.Equal(got, want) {
		t.Errorf("profiles are %v", got)
	}
	for _, name := range ProfileNames() {
		rules, err := Profile(name, "test")
		if err != nil || len(rules) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range rules {
			if r.Why == "" || r.Profile != name || r.Origin != "test" || r.Verdict != Allow || r.Private || r.Protocol != HTTP || r.TLS != Inspect {
				t.Errorf("%s: %+v", name, r)
			}
			fetch := slices.Equal(r.Methods, []string{"POST"}) && slices.Equal(r.Paths, []string{"**/git-upload-pack"})
			if !fetch && !slices.Equal(r.Methods, []string{"GET", "HEAD"}) {
				t.Errorf("%s: %s does more than read", name, r)
			}
			again, err := r.Entry().Rule(Allow, r.Origin)
			again.Profile, again.Why = r.Profile, r.Why
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("%s: %s is not a rule that could be written: %v", name, r, err)
			}
		}
	}
	if _, err := Profile("perl", "test"); err == nil || !strings.Contains(err.Error(), "debian, docker") {
		t.Errorf("an unknown profile: %v", err)
	}
}

func TestProfileGithub(t *testing.T) {
	rules, err := Profile("github", "test")
	if err != nil {
		t.Fatal(err)
	}
	p := &Policy{Rules: rules}
	for request, want := range map[string]Verdict{
		"github.com:443": Allow, "github.com:22": Deny, "github.com:80": Deny, "gist.github.com:443": Deny,
		"GET github.com:443/acme/shop.git/info/refs?service=git-upload-pack": Allow,
		"POST github.com:443/acme/shop.git/git-upload-pack":                  Allow,
		"POST github.com:443/acme/shop.git/git-receive-pack":                 Deny,
		"POST github.com:443/acme/shop/issues":                               Deny,
		"GET api.github.com:443/repos/acme/shop":                             Allow,
		"POST api.github.com:443/repos/acme/shop/issues":                     Deny,
		"POST api.github.com:443/graphql/git-upload-pack":                    Deny,
	} {
		d := p.Decide(wholeRequest(t, request))
		if d.Verdict != want {
			t.Errorf("%s: %s, want %s", request, d.Reason, want)
		}
	}
	if d := p.Decide(wholeRequest(t, "github.com:443")); !d.Inspect || d.Tunnel {
		t.Errorf("the profile's connections are not inspected: %+v", d)
	}
}
