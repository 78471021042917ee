package supervise

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// project is a workspace's own file with that text.
func project(t *testing.T, text string, trusted bool) []Project {
	t.Helper()
	p, err := config.ParseProject([]byte(text), "shop/bailey.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p.Path = "/src/shop/bailey.yaml"
	return []Project{{&p, trusted}}
}

func TestSourcesAreMergedAndDenialsWin(t *testing.T) {
	allow := policy.Entry{Host: "a.test"}
	builtIn := agent.Agent{Name: "x", Hosts: []agent.Host{{Name: "a.test", Port: 443, Why: "its model"}}}
	user, err := config.Parse([]byte("network: {allow: [a.test], profiles: [node]}"))
	if err != nil {
		t.Fatal(err)
	}
	denying, err := config.Parse([]byte("network: {deny: [a.test]}"))
	if err != nil {
		t.Fatal(err)
	}
	record := state.Record{Network: "deny", Allow: []string{"a.test"}}
	open := state.Record{Network: "allow"}
	closed := state.Record{Network: "deny"}
	for _, tt := range []struct {
		name    string
		sources Sources
		want    policy.Verdict
		origin  string
	}{
		{"nobody", Sources{Record: closed}, policy.Deny, ""},
		{"the agent", Sources{Record: closed, Agent: builtIn}, policy.Allow, "built-in: x"},
		{"the user", Sources{Record: closed, User: user.Network}, policy.Allow, "config.yaml:1"},
		{"the user, later", Sources{Record: closed, Global: state.Grants{Allow: []policy.Entry{allow}}}, policy.Allow, "bailey allow --global"},
		{"the command line", Sources{Record: record}, policy.Allow, "--allow"},
		{"this sandbox's grants", Sources{Record: closed, Own: state.Grants{Allow: []policy.Entry{allow}}}, policy.Allow, "bailey allow"},
		{"a project", Sources{Record: closed, Projects: project(t, "network: {allow: [a.test]}", false)}, policy.Deny, ""},
		{"a trusted project", Sources{Record: closed, Projects: project(t, "network: {allow: [a.test]}", true)}, policy.Allow, "shop/bailey.yaml:1"},
		{"a project's profile", Sources{Record: closed, Projects: project(t, "network: {profiles: [node]}", false)}, policy.Deny, ""},
		{"the user denies", Sources{Record: record, Agent: builtIn, User: denying.Network}, policy.Deny, "config.yaml:1"},
		{"the user denies, later", Sources{Record: record, Global: state.Grants{Deny: []policy.Entry{allow}}}, policy.Deny, "bailey deny --global"},
		{"a project denies", Sources{Record: record, Projects: project(t, "network: {deny: [a.test]}", false)}, policy.Deny, "shop/bailey.yaml:1"},
		{"a trusted project denies", Sources{Record: record, Projects: project(t, "network: {deny: [a.test]}", true)}, policy.Deny, "shop/bailey.yaml:1"},
		{"this sandbox's denials", Sources{Record: record, Own: state.Grants{Deny: []policy.Entry{allow}}}, policy.Deny, "bailey deny"},
		{"open by default", Sources{Record: open}, policy.Allow, "by default"},
		{"a project closes the default", Sources{Record: open, Projects: project(t, "network: {default: deny}", false)}, policy.Deny, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _, err := tt.sources.Policy()
			if err != nil {
				t.Fatal(err)
			}
			d := p.Decide(policy.Request{Host: "a.test", Port: 443})
			if d.Verdict != tt.want || !strings.Contains(d.Reason, tt.origin) {
				t.Errorf("%s: %s", d.Verdict, d.Reason)
			}
		})
	}
	if _, notices, _ := (Sources{Record: closed, Projects: project(t, "network: {allow: [a.test]}", false)}).Policy(); len(notices) != 1 ||
		!strings.Contains(notices[0], "bailey policy trust '/src/shop'") {
		t.Errorf("notices: %q", notices)
	}
	if _, notices, _ := (Sources{Record: closed, Projects: project(t, "network: {deny: [a.test]}", false)}).Policy(); len(notices) != 0 {
		t.Errorf("notices: %q", notices)
	}
	for name, s := range map[string]Sources{
		"an unknown mode":      {Record: state.Record{Network: "open"}},
		"no mode":              {},
		"an unknown profile":   {Record: state.Record{Network: "deny", Profiles: []string{"perl"}}},
		"a rule that is none":  {Record: state.Record{Network: "deny", Allow: []string{"*"}}},
		"a grant that is none": {Record: closed, Own: state.Grants{Allow: []policy.Entry{{}}}},
	} {
		if p, _, err := s.Policy(); !errors.Is(err, sandbox.ErrPolicy) || p != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// decide asks the running supervisor.
func (y *yard) decide(name hostname.Name) policy.Decision {
	y.t.Helper()
	p, err := y.api.Policy(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	return p.Decide(policy.Request{Host: name, Port: 443})
}

func (y *yard) want(name hostname.Name, want policy.Verdict) {
	y.t.Helper()
	if d := y.decide(name); d.Verdict != want {
		y.t.Errorf("%s: %s (%s), want %s", name, d.Verdict, d.Reason, want)
	}
}

func TestRulesChangeWhileASandboxRuns(t *testing.T) {
	y := newYard(t, nil)
	y.run()
	y.want("a.test", policy.Deny)
	grant := func(change func(func(*state.Grants) error) error, give bool) {
		t.Helper()
		err := change(func(g *state.Grants) error {
			if give {
				g.Add(policy.Allow, policy.Entry{Host: "a.test"})
			} else {
				g.Remove(policy.Allow, policy.Entry{Host: "a.test"})
			}
			return nil
		})
		if err == nil {
			err = y.api.Reload(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, change := range []func(func(*state.Grants) error) error{y.sb.ChangeGrants, y.store.ChangeGrants} {
		grant(change, true)
		y.want("a.test", policy.Allow)
		grant(change, false)
		y.want("a.test", policy.Deny)
	}
	// What cannot be read leaves what was.
	grant(y.sb.ChangeGrants, true)
	if err := os.WriteFile(filepath.Join(y.sb.Dir, state.GrantsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := y.api.Reload(t.Context()); !errors.Is(err, sandbox.ErrPolicy) {
		t.Errorf("damaged rules: %v", err)
	}
	y.want("a.test", policy.Allow)
}

func TestAProjectCountsAsItWasAtTheStart(t *testing.T) {
	y := newYard(t, nil)
	path := filepath.Join(y.sb.Workspaces[0].Path, config.ProjectFile)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("network: {allow: [a.test], deny: [evil.a.test]}\n")
	y.run()
	y.want("a.test", policy.Deny)
	p, err := config.ReadProject(y.sb.Workspaces[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	// An agent that rewrites the file, even with what is trusted by then, changes nothing.
	write("network: {allow: [a.test, b.test]}\n")
	if err := y.store.Trust(p.Path, p.Hash); err != nil {
		t.Fatal(err)
	}
	if err := y.api.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	y.want("a.test", policy.Allow)
	y.want("b.test", policy.Deny)
	if _, err := y.store.Distrust(p.Path); err != nil {
		t.Fatal(err)
	}
	if err := y.api.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	y.want("a.test", policy.Deny)
}

func TestAProjectThatCannotBeReadStopsTheStart(t *testing.T) {
	y := newYard(t, nil)
	path := filepath.Join(y.sb.Workspaces[0].Path, config.ProjectFile)
	if err := os.WriteFile(path, []byte("network:\n  deny: [3]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), y.cfg, y.sb.Name, func() { t.Error("it is ready") })
	if !errors.Is(err, sandbox.ErrPolicy) || !strings.Contains(err.Error(), path+":2:10: ") {
		t.Errorf("the error is %v", err)
	}
}
