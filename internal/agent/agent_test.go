package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func TestBuiltinAgentsAreValid(t *testing.T) {
	for _, a := range Builtin() {
		if err := a.check(); err != nil {
			t.Errorf("%s: %v", a.Name, err)
		}
		for _, p := range []Platform{{"amd64", "glibc", false}, {"amd64", "musl", true}, {"arm64", "glibc", false}, {"arm64", "musl", false}} {
			if _, err := a.native(p); err != nil && len(a.Native) > 0 {
				t.Error(err)
			}
		}
	}
}

func TestNativePicksTheBestProgram(t *testing.T) {
	for _, c := range []struct {
		agent    string
		platform Platform
		want     string
	}{
		{"claude", Platform{"amd64", "musl", true}, "@anthropic-ai/claude-code-linux-x64-musl"},
		{"codex", Platform{"arm64", "glibc", false}, "@openai/codex-linux-arm64"},
		{"opencode", Platform{"amd64", "glibc", true}, "opencode-linux-x64"},
		{"opencode", Platform{"amd64", "glibc", false}, "opencode-linux-x64-baseline"},
	} {
		if n, err := builtin(t, c.agent).native(c.platform); err != nil || n.Package != c.want {
			t.Errorf("%s on %v: got %v, %v", c.agent, c.platform, n.Package, err)
		}
	}
}

func TestFind(t *testing.T) {
	custom := []Agent{{Name: "mine", Argv: []string{"mine"}}}
	if a, err := Find("mine", custom); err != nil || a.Name != "mine" {
		t.Errorf("a user's own: %v, %v", a, err)
	}
	_, err := Find("cluade", custom)
	if err == nil || !strings.Contains(err.Error(), `unknown agent "cluade"; known are claude, codex, opencode, gemini, shell, mine`) || sandbox.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestCommandAppendsTheUsersArguments(t *testing.T) {
	a := builtin(t, "claude")
	for bin, want := range map[string]string{
		"/agents/claude": "/agents/claude --dangerously-skip-permissions -p hi",
		"":               "claude --dangerously-skip-permissions -p hi",
	} {
		if got := strings.Join(a.Command(bin, []string{"-p", "hi"}), " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	good := Agent{Name: "mine", Package: "@a/b", Argv: []string{"mine"}, Env: map[string]string{"A_1": "x"},
		Hosts: []Host{{Name: "api.test", Port: 443, Why: "the model"}}, Native: []Native{{Package: "@a/b-x64", Bin: "bin/x"}}}
	if err := good.Check(); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	for name, spoil := range map[string]func(*Agent){
		"a name with a slash":            func(a *Agent) { a.Name = "../x" },
		"a built-in name":                func(a *Agent) { a.Name = "claude" },
		"no command":                     func(a *Agent) { a.Argv = nil },
		"an empty program":               func(a *Agent) { a.Argv = []string{""} },
		"a NUL in an argument":           func(a *Agent) { a.Argv = []string{"x", "a\x00b"} },
		"a variable with an equals sign": func(a *Agent) { a.Env = map[string]string{"A=B": ""} },
		"a NUL in a variable":            func(a *Agent) { a.Env = map[string]string{"A": "\x00"} },
		"a key's name with a space":      func(a *Agent) { a.Keys = []string{"A B"} },
		"a host that is a URL":           func(a *Agent) { a.Hosts = []Host{{Name: "https://x", Port: 443}} },
		"a host without a port":          func(a *Agent) { a.Hosts = []Host{{Name: "api.test"}} },
		"a package that leaves its path": func(a *Agent) { a.Package = "../../x" },
		"a scope that leaves its path":   func(a *Agent) { a.Package = "@../x" },
		"a native program outside":       func(a *Agent) { a.Native = []Native{{Package: "x", Bin: "../x"}} },
		"native programs of nothing":     func(a *Agent) { a.Package = "" },
	} {
		a := good
		spoil(&a)
		if err := a.Check(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestCarryInTakesInstructionsAndNothingElse(t *testing.T) {
	home := t.TempDir()
	for _, f := range []string{"CLAUDE.md", ".credentials.json", "settings.json", "hooks/x", "plugins/x", "projects/x", "skills/a/SKILL.md"} {
		plantFile(t, home, ".claude/"+f, "x")
	}
	plantFile(t, home, "elsewhere/secret", "x")
	links := map[string]string{
		".claude/agents":        "../elsewhere",      // leaves
		".claude/commands":      ".credentials.json", // stays, but is no instruction
		".claude/output-styles": "skills",            // is one
	}
	for at, to := range links {
		if err := os.Symlink(to, filepath.Join(home, at)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, m := range builtin(t, "claude").CarryIn(home) {
		if m.Kind != sandbox.MountBind || !m.ReadOnly {
			t.Errorf("%+v is not read-only", m)
		}
		got = append(got, strings.TrimPrefix(m.Target, home+"/.claude/")+"="+strings.TrimPrefix(m.Source, home+"/.claude/"))
	}
	if want := []string{"CLAUDE.md=CLAUDE.md", "skills=skills", "output-styles=skills"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCarryInFollowsADirectoryThatIsKeptElsewhere(t *testing.T) {
	home := t.TempDir()
	plantFile(t, home, "dotfiles/CLAUDE.md", "x")
	if err := os.Symlink("dotfiles", home+"/.claude"); err != nil {
		t.Fatal(err)
	}
	got := builtin(t, "claude").CarryIn(home)
	if len(got) != 1 || got[0].Source != home+"/dotfiles/CLAUDE.md" || got[0].Target != home+"/.claude/CLAUDE.md" {
		t.Errorf("got %+v", got)
	}
}
