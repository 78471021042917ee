package agent

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadRegistry(t *testing.T) {
	env := map[string]string{"TOKEN": "from-env"}
	for _, c := range []struct {
		name, npmrc, variable string
		pkg, ask              string // ask is a URL whose login is wanted
		base, login           string
	}{
		{name: "nothing configured is the public registry", pkg: "a", base: "https://registry." + NPMDomain + "/"},
		{name: "a mirror, with comments, quotes and spaces", npmrc: "; c\n# registry=http://no/\n registry = \"https://mirror.test/npm\" \n",
			pkg: "a", base: "https://mirror.test/npm/"},
		{name: "the variable beats the file", npmrc: "registry=https://file.test/", variable: "https://env.test", pkg: "a", base: "https://env.test/"},
		{name: "a scope has its own", npmrc: "registry=https://m.test\n@acme:registry=https://acme.test/x/", pkg: "@acme/a", base: "https://acme.test/x/"},
		{name: "another scope has not", npmrc: "registry=https://m.test\n@acme:registry=https://acme.test/x/", pkg: "@other/a", base: "https://m.test/"},
		{name: "a token from the environment", npmrc: "//m.test/npm/:_authToken=${TOKEN}", pkg: "a", base: "https://registry." + NPMDomain + "/",
			ask: "https://m.test/npm/a/-/a.tgz", login: "Bearer from-env"},
		{name: "a token for a longer path wins", npmrc: "//m.test/:_authToken=no\n//m.test/npm:_authToken=yes", pkg: "a",
			base: "https://registry." + NPMDomain + "/", ask: "https://m.test/npm/a", login: "Bearer yes"},
		{name: "a token is for its host and path alone", npmrc: "//m.test/npm/:_authToken=no\n//m.test:_authToken=no2", pkg: "a",
			base: "https://registry." + NPMDomain + "/", ask: "https://m.test.evil.test/npm/a"},
		{name: "basic authentication", npmrc: "//m.test/:_auth=dTpw", pkg: "a", base: "https://registry." + NPMDomain + "/",
			ask: "https://m.test/a", login: "Basic dTpw"},
		{name: "a section is skipped", npmrc: "[x]\nregistry=https://no.test/", pkg: "a", base: "https://registry." + NPMDomain + "/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			if err := os.WriteFile(filepath.Join(home, ".npmrc"), []byte(c.npmrc), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := ReadRegistry(home, func(name string) string {
				if name == "npm_config_registry" {
					return c.variable
				}
				return env[name]
			})
			if err != nil {
				t.Fatal(err)
			}
			if u, err := r.baseFor(c.pkg); err != nil || u.String() != c.base {
				t.Errorf("registry %v, %v; want %s", u, err, c.base)
			}
			if u, _ := url.Parse(c.ask); r.login(u) != c.login {
				t.Errorf("login %q, want %q", r.login(u), c.login)
			}
		})
	}
}

func TestReadRegistryRefusesWhatIsNoHTTPAddress(t *testing.T) {
	for _, base := range []string{"file:///etc", "registry.test", "https://", "https://%zz", "https://a.test#", "https://a.test/?q"} {
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, ".npmrc"), []byte("registry="+base), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := ReadRegistry(home, func(string) string { return "" }); err == nil {
			t.Errorf("%q was taken: %+v", base, r)
		}
	}
	if _, err := ReadRegistry(t.TempDir(), func(string) string { return "" }); err != nil {
		t.Errorf("without the file: %v", err)
	}
}

func FuzzParseNpmrc(f *testing.F) {
	f.Add("registry=https://a.test/\n@s:registry='x'\n//h/:_authToken=${T}\n")
	f.Add("${${}=\n[\n=\n//:_auth=")
	f.Add("//:_authToken=0")
	f.Add("registry=http://0#")
	f.Fuzz(func(t *testing.T, text string) {
		r := parseNpmrc(text, func(name string) string { return "v" })
		unnamed := &url.URL{Scheme: "https", Host: "any.test", Path: "/a"}
		if r.login(unnamed) != "" && !strings.Contains(text, "any.test") {
			t.Errorf("a login goes to a host that nobody named: %q", r.logins)
		}
		if u, err := r.baseFor("@s/x"); err == nil && (u.Host == "" || !strings.HasSuffix(u.Path, "/")) {
			t.Errorf("base %v", u)
		}
	})
}
