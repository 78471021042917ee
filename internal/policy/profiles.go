package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// place is one host of a profile.
type place struct {
	host  string
	what  access
	ports []uint16 // empty is 443
	why   string
}

// access is what a profile needs at a place. None of them writes; what can be read can still be asked for in a way
// that tells something, so a profile is for registries that one trusts with that.
type access int

const (
	read  access = iota // GET and HEAD
	fetch               // and what git's clone and fetch send to ask for what they want
)

// profiles are the ecosystems by name, and the reason for each host.
func profiles() map[string][]place {
	plain := []uint16{80, 443} // signed packages, which these are, are still fetched without TLS
	return map[string][]place{
		"node": {
			{host: "*.npmjs.org", why: "npm's packages"},
			{host: "*.yarnpkg.com", why: "yarn's name for the same, and yarn itself"},
			{host: "nodejs.org", why: "headers that native modules are built with"},
		},
		"python": {
			{host: "pypi.org", why: "index of Python packages"},
			{host: "*.pythonhosted.org", why: "files of Python packages"},
		},
		"go": {
			{host: "*.golang.org", why: "module mirror and checksum database"},
		},
		"rust": {
			{host: "*.crates.io", why: "index and files of crates"},
			{host: "*.rust-lang.org", why: "toolchains"},
		},
		"ruby": {
			{host: "rubygems.org", why: "gems"},
			{host: "*.rubygems.org", why: "index of gems"},
		},
		"java": {
			{host: "*.maven.org", why: "Maven Central"},
			{host: "*.maven.apache.org", why: "Maven Central, as Maven itself calls it"},
			{host: "*.gradle.org", why: "Gradle and its plugins"},
		},
		"debian": {
			{host: "*.debian.org", ports: plain, why: "Debian's packages"},
		},
		"ubuntu": {
			{host: "*.ubuntu.com", ports: plain, why: "Ubuntu's packages"},
		},
		"github": {
			{host: "github.com", what: fetch, why: "repositories to read"},
			{host: "api.github.com", why: "issues, pull requests and files to read"},
			{host: "codeload.github.com", why: "archives of repositories"},
			{host: "*.githubusercontent.com", why: "raw files, releases and large files"},
		},
		"gitlab": {
			{host: "gitlab.com", what: fetch, why: "repositories, issues and merge requests to read"},
		},
		"docker": {
			{host: "*.docker.io", why: "Docker Hub's images and its tokens for reading"},
			{host: "*.docker.com", why: "layers of Docker Hub's images"},
			{host: "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com", why: "layers of Docker Hub's images"},
			{host: "ghcr.io", why: "GitHub's images"},
			{host: "pkg-containers.githubusercontent.com", why: "layers of GitHub's images"},
		},
	}
}

// ProfileNames lists the profiles in order.
func ProfileNames() []string { return slices.Sorted(maps.Keys(profiles())) }

// Profile returns the rules of the profile called name, which origin asked for.
func Profile(name, origin string) ([]Rule, error) {
	places, ok := profiles()[name]
	if !ok {
		return nil, fmt.Errorf("unknown profile %q: there are %s", name, strings.Join(ProfileNames(), ", "))
	}
	var rules []Rule
	for _, p := range places {
		host, err := hostname.ParsePattern(p.host)
		if err != nil {
			return nil, err
		}
		r := Rule{Host: host, Ports: p.ports, Methods: []string{"GET", "HEAD"}, Verdict: Allow, Profile: name, Origin: origin, Why: p.why}
		if len(r.Ports) == 0 {
			r.Ports = []uint16{443}
		}
		rules = append(rules, r)
		if p.what == fetch {
			r.Methods, r.Paths, r.Why = []string{"POST"}, []string{"**/git-upload-pack"}, "git's clone and fetch"
			rules = append(rules, r)
		}
	}
	return rules, nil
}
