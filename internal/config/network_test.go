package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const example = `
network:
  default: deny
  allow:
    - "*.npmjs.org"
    - host: api.github.com
      methods: [GET]
      paths: ["/repos/acme/**"]
    - { host: db.internal, port: 5432, protocol: tcp, private: true }
    - { host: pinned.test, ports: [443, 8443], tls: tunnel }
    - { cidr: 10.0.0.0/8, port: 80 }
  deny:
    - gist.github.com
    - { host: api.github.com, methods: [DELETE] }
  profiles: [go, python]
`

func TestParseNetwork(t *testing.T) {
	c, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if c.Network.Default != "deny" {
		t.Errorf("the default is %q", c.Network.Default)
	}
	var got []string
	for _, r := range c.Network.Rules {
		got = append(got, r.Verdict.String()+" "+r.String()+" "+r.Profile+" "+r.Origin)
	}
	want := []string{
		"allow *.npmjs.org  config.yaml:5",
		"allow api.github.com (GET /repos/acme/**)  config.yaml:6",
		"allow private:tcp:db.internal:5432  config.yaml:9",
		"allow tunnel:pinned.test:443,8443  config.yaml:10",
		"allow 10.0.0.0/8:80  config.yaml:11",
		"deny gist.github.com  config.yaml:13",
		"deny api.github.com (DELETE)  config.yaml:14",
		"allow *.golang.org:443 (GET HEAD) go config.yaml:15",
		"allow pypi.org:443 (GET HEAD) python config.yaml:15",
		"allow *.pythonhosted.org:443 (GET HEAD) python config.yaml:15",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the rules are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, nothing := range []string{"network:\n", "network: {}\n", "network: {allow: [], deny: [], profiles: []}\n", "network: {default: }\n"} {
		if c, err := Parse([]byte(nothing)); err != nil || len(c.Network.Rules) > 0 || c.Network.Default != "" {
			t.Errorf("%q: %+v, %v", nothing, c.Network, err)
		}
	}
}

func TestParseNetworkRefuses(t *testing.T) {
	for what, c := range map[string]struct{ text, want string }{
		"an unknown key":            {"network: {alow: []}", `1:11: unknown field "alow"`},
		"a misspelled key of rules": {"network:\n  allow:\n    - {host: a.test, method: [GET]}", `3:22: unknown field "method"`},
		"a key twice":               {"network:\n  allow:\n    - {host: a.test, host: b.test}", "3:22: "},
		"a wrong type":              {"network:\n  allow:\n    - {host: a.test, port: https}", "3:28: "},
		"a port out of range":       {"network:\n  allow:\n    - {host: a.test, port: 70000}", "3:8: 70000 is not a port"},
		"a number for a rule":       {"network:\n  allow:\n    - 3", "3:7: a rule is HOST"},
		"a list for a rule":         {"network:\n  allow:\n    - [a.test]", "3:7: a rule is HOST"},
		"nothing for a rule":        {"network:\n  allow:\n    -\n", "host is missing"},
		"an empty rule":             {"network:\n  allow:\n    - {}", "host is missing"},
		"an empty text":             {"network:\n  allow:\n    - ''", "host is missing"},
		"a tagged rule":             {"network:\n  allow:\n    - !!str a.test", "3:7: anchors, tags and aliases"},
		"a text for a list":         {"network: {allow: a.test}", "1:18: "},
		"a URL":                     {"network:\n  deny:\n    - https://a.test", "3:7: invalid rule"},
		"a denial with protocol":    {"network:\n  deny:\n    - {host: a.test, protocol: tcp}", "3:8: a rule that denies"},
		"a denial with tcp:":        {"network:\n  deny:\n    - tcp:a.test:22", "3:7: invalid rule"},
		"a tunnel with methods":     {"network:\n  allow:\n    - {host: a.test, tls: tunnel, methods: [GET]}", "3:8: methods, paths and pushes cannot be seen"},
		"a why of two lines":        {"network:\n  deny:\n    - a.test\n    - {host: b.test, why: \"a\\nb\"}", "4:8: why is not one line"},
		"a long why":                {"network:\n  deny:\n    - {host: b.test, why: " + strings.Repeat("a", 201) + "}", "3:8: why has more than 200 bytes"},
		"a why that is no text":     {"network:\n  deny:\n    - {host: b.test, why: [a]}", "3:27: "},
		"an unknown default":        {"network: {default: maybe}", `1:20: unknown default "maybe"`},
		"a default in capitals":     {"network: {default: Allow}", `unknown default "Allow"`},
		"a default that is no word": {"network: {default: true}", "1:20: a word is wanted"},
		"an unknown profile":        {"network:\n  profiles: [node, perl]", `2:20: unknown profile "perl"`},
		"too many rules":            {"network:\n  deny:\n" + strings.Repeat("    - a.test\n", maxRules+1), "1003:7: more than 1000 rules"},
		"deep brackets":             {"network: {allow: " + strings.Repeat("[", 50000), "1:33: it is nested too deeply"},
		"deep mappings":             {"network: {allow: " + strings.Repeat("{a: ", 10000), "it is nested too deeply"},
		"deep lists":                {"network:\n  allow:\n    " + strings.Repeat("- ", 20000), "it is nested too deeply"},
		"everything wrong, at once": {"network:\n  default: askme\n  allow:\n    - a b\n    - {hots: a.test}\n  profiles: [perl]", "2:12: unknown default \"askme\": write deny, ask or allow; 4:7: invalid rule"},
		"and the rest of it":        {"network:\n  default: askme\n  allow:\n    - a b\n    - {hots: a.test}\n  profiles: [perl]", `; 5:8: unknown field "hots"; 6:14: unknown profile "perl"`},
	} {
		cfg, err := Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
		if len(cfg.Network.Rules) > 0 {
			t.Errorf("%s: a refused file is used in part", what)
		}
	}
}

func TestReadProject(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ProjectFile)
	if p, err := ReadProject(dir); p != nil || err != nil {
		t.Errorf("a project without a file: %+v, %v", p, err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("network: {deny: [a.test]}\n")
	p, err := ReadProject(dir)
	if err != nil || p.Path != path || len(p.Hash) != 64 || len(p.Network.Rules) != 1 || p.Network.Rules[0].Verdict != policy.Deny ||
		p.Network.Rules[0].Origin != filepath.Base(dir)+"/bailey.yaml:1" {
		t.Fatalf("%+v, %v", p, err)
	}
	write("network: {deny: [a.test]} \n")
	if again, err := ReadProject(dir); err != nil || again.Hash == p.Hash {
		t.Errorf("another text has the same hash: %v", err)
	}
	refused := map[string]func(){
		"a wrong rule":         func() { write("network:\n  deny: [3]\n") },
		"another section":      func() { write("agents: {}\n") },
		"default allow":        func() { write("network: {default: allow}\n") },
		"a large file":         func() { write(strings.Repeat("#", maxProject+1)) },
		"text that is no YAML": func() { write("network: [\n") },
		"a symbolic link": func() {
			write("network: {}\n")
			_ = os.Rename(path, path+".real")
			_ = os.Symlink(path+".real", path)
		},
		"a dangling link": func() { _ = os.Symlink("nowhere", path) },
		"a FIFO":          func() { _ = syscall.Mkfifo(path, 0o600) },
		"a directory":     func() { _ = os.Mkdir(path, 0o700) },
	}
	for what, prepare := range refused {
		_ = os.RemoveAll(path)
		prepare()
		p, err := ReadProject(dir)
		if p != nil || !errors.Is(err, sandbox.ErrPolicy) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
	_ = os.Remove(path)
	write("network:\n  deny: [3]\n")
	if _, err := ReadProject(dir); err == nil || !strings.Contains(err.Error(), path+":2:10: ") {
		t.Errorf("the error does not say where: %v", err)
	}
}

func FuzzParseProject(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("network: {allow: [{}], profiles: [3]}"))
	f.Add([]byte("network:\n  allow:\n    -\n"))
	f.Add([]byte("network: {allow: [{host: a.test, methods: !x\n}]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProject(text, "bailey.yaml")
		n := p.Network
		if err != nil {
			if len(n.Rules) > 0 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%+v, %v", n, err)
			}
			return
		}
		if n.Default != "" && n.Default != "deny" && n.Default != "ask" {
			t.Errorf("the default is %q", n.Default)
		}
		for _, r := range n.Rules {
			if _, err := r.Entry().Rule(r.Verdict, ""); err != nil {
				t.Errorf("the rule %s passes unchecked: %v", r, err)
			}
		}
	})
}
