package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func TestParse(t *testing.T) {
	c, err := Parse([]byte(`
agents:
  zed:
    command: [zed-agent, --yes]
  aider:
    title: Aider
    command: [aider, --yes-always]
    env: {AIDER_CHECK_UPDATE: "false"}
    keys: [OPENAI_API_KEY]
    hosts:
      - {host: api.openai.com, port: 443, why: its model}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Agents) != 2 || c.Agents[0].Name != "aider" || c.Agents[1].Name != "zed" {
		t.Fatalf("agents are %v", c.Agents)
	}
	a := c.Agents[0]
	if a.Argv[1] != "--yes-always" || a.Env["AIDER_CHECK_UPDATE"] != "false" || a.Hosts[0].Port != 443 {
		t.Errorf("aider is %+v", a)
	}
	for _, empty := range []string{"", "# nothing\n", "agents:\n", "{}\n"} {
		if c, err := Parse([]byte(empty)); err != nil || len(c.Agents) != 0 {
			t.Errorf("%q gives %v, %v", empty, c, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	c, err := Parse([]byte("credentials:\n  - {secret: github, host: github.example.com, as: basic}\n  - {secret: db, host: \"db.example.com:8443\", as: \"header:X-Api-Key\", foreign: true}\n"))
	if err != nil || len(c.Credentials) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	one, two := c.Credentials[0], c.Credentials[1]
	if one.Secret != "github" || one.Host.String() != "github.example.com" || one.Port != 443 || !one.As[0].Basic || one.Foreign {
		t.Errorf("%+v", one)
	}
	if two.Secret != "db" || two.Port != 8443 || two.As[0].Header != "X-Api-Key" || !two.Foreign {
		t.Errorf("%+v", two)
	}
	for text, want := range map[string]string{
		"{secret: x, host: a.test}":                   "each says secret, host and as",
		"{secret: x, host: a.test, as: cookie:y}":     "a secret stands as bearer",
		"{secret: x, host: \"a.test:0\", as: bearer}": "is not HOST",
		"{secret: x, host: a.test, as: bearer, b: c}": "unknown field",
	} {
		if _, err := Parse([]byte("credentials: [" + text + "]\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for what, c := range map[string]struct{ text, want string }{
		"an unknown key":            {"agent: {}\n", `1:1: unknown field "agent"`},
		"a misspelled key":          {"agents:\n  a: {comand: [x]}\n", `unknown field "comand"`},
		"a duplicate key":           {"agents: {}\nagents: {}\n", "2:1: "},
		"a wrong type":              {"agents:\n  a:\n    command: 3\n", "3:14: "},
		"an alias":                  {"agents: &a {}\nx: *a\n", "aliases are not allowed"},
		"two documents":             {"agents: {}\n---\nagents: {}\n", "more than one document"},
		"text that is not YAML":     {"agents: [\n", "1:"},
		"a built-in agent":          {"agents: {claude: {command: [x]}}\n", "built in"},
		"no command":                {"agents: {a: {}}\n", "command is missing"},
		"everything wrong, at once": {"agents: {a: {}, B: {command: [x]}}\n", "invalid agent name"},
		"a large file":              {strings.Repeat("#", maxSize+1), "larger than"},
	} {
		_, err := Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if c, err := Load(path); err != nil || len(c.Agents) != 0 {
		t.Errorf("a missing file gives %v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte("agents:\n  a: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if err == nil || !strings.Contains(err.Error(), path+":2:6: ") || sandbox.Hint(err) == "" {
		t.Errorf("the error does not say where: %v", err)
	}
}

func TestLoadNetwork(t *testing.T) {
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, text := range map[string]string{"proposal.yaml": "agents: {x: {command: [x]}}\nnetwork: {default: allow, deny: [a.test]}\n", "bailey.yaml": "\nnetwork: {deny: [a.test]}\n"} {
		if n, err := LoadNetwork(write(name, text)); err != nil || len(n.Rules) != 1 || n.Rules[0].Origin != name+":2" {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	for what, tt := range map[string]struct{ name, text, want string }{
		"a wrong rule":          {"x.yaml", "network:\n  deny: [3]\n", "x.yaml:2:10: "},
		"a wrong project":       {"bailey.yaml", "network:\n  deny: [3]\n", "bailey.yaml:2:10: "},
		"a project that allows": {"bailey.yaml", "network: {default: allow}", "bailey.yaml:1:20: "},
		"a project's agents":    {"bailey.yaml", "agents: {}", "bailey.yaml:1:1: "},
	} {
		if n, err := LoadNetwork(write(tt.name, tt.text)); err == nil || len(n.Rules) > 0 || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v", what, n, err)
		}
	}
	if _, err := LoadNetwork(filepath.Join(t.TempDir(), "x.yaml")); err == nil {
		t.Error("a missing file is empty")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("agents:\n  a: {command: [x], hosts: [{host: h, port: 1}]}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil && len(c.Agents) > 0 {
			t.Error("a refused configuration is used in part")
		}
		for _, a := range c.Agents {
			if a.Check() != nil {
				t.Errorf("agent %q passes unchecked", a.Name)
			}
		}
	})
}
