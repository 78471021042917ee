//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// needAgent fetches the agent's program into the machine's cache when it is not there yet.
func (u *user) needAgent(name string) {
	u.t.Helper()
	out := u.bailey("run", "--rm", "--network", "none", name, ".", "--", "--version")
	if out.code == 125 && strings.Contains(out.stderr, "registry") {
		machine.Lack(u.t, "agents", out.stderr)
	}
	if out.code != 0 || out.stdout == "" {
		u.t.Fatalf("%s --version: exit code %d\n%s%s", name, out.code, out.stdout, out.stderr)
	}
}

// work is what the model has an agent do: change a file, make one, and run a command, in that project.
func work(project string) []modelapi.Turn {
	readme := filepath.Join(project, "README.md")
	return []modelapi.Turn{
		modelapi.Read(readme),
		modelapi.Edit(readme, "before", "after"),
		modelapi.Write(filepath.Join(project, "notes.txt"), "written by a tool\n"),
		modelapi.Run("echo $((6 * 7)) > answer.txt; pwd >> answer.txt"),
		modelapi.Say("FINISHED-ALL"),
	}
}

// worked checks what work has left in the project: that, and nothing else.
func (u *user) worked() {
	u.t.Helper()
	for name, want := range map[string]string{
		"README.md":  "the shop, after\n",
		"notes.txt":  "written by a tool\n",
		"answer.txt": "42\n" + u.project + "\n",
	} {
		if got := u.read(name); got != want {
			u.t.Errorf("%s is %q, want %q", name, got, want)
		}
		owned(u.t, filepath.Join(u.project, name))
	}
	entries, err := os.ReadDir(u.project)
	if err != nil || len(entries) != 3 {
		u.t.Errorf("the project has %v, want three files (%v)", entries, err)
	}
}

// ours are bailey's own directories below a home, and the project, in which the agent works.
func ours() []string { return []string{".local/state/bailey", ".local/share/bailey", "src/shop"} }

func TestClaudeCodeWorksInTheProjectAndNowhereElse(t *testing.T) {
	u := newUser(t)
	u.needAgent("claude")
	m := serveModelTLS(u, work(u.project)...)
	before := u.manifest(ours()...)
	out := u.bailey(m.run("--name", "main", "claude", ".", "--", "-p", "change the shop")...)
	if out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") {
		t.Errorf("exit code %d\n%s%s", out.code, out.stdout, out.stderr)
	}
	u.worked()
	m.answered(t, 4)
	u.logged("main", "change the shop")
	untouched(t, before, u.manifest(ours()...))
}

// logged checks that Claude Code's own record of the conversation is in the sandbox's home.
func (u *user) logged(box, prompt string) {
	u.t.Helper()
	logs, err := filepath.Glob(filepath.Join(u.sandboxDir(box), "home/.claude/projects/*/*.jsonl"))
	if err != nil || len(logs) != 1 {
		u.t.Fatalf("want one session log, got %q (%v)", logs, err)
	}
	data, err := os.ReadFile(logs[0])
	if err != nil {
		u.t.Fatal(err)
	}
	for _, want := range []string{prompt, "FINISHED-ALL", u.project} {
		if !strings.Contains(string(data), want) {
			u.t.Errorf("the session log lacks %q", want)
		}
	}
}

func TestClaudeCodeWorksInATerminal(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "main")
	u.needAgent("claude")
	m := serveModel(t, work(u.project)...)
	before := u.manifest(ours()...)
	settings := s.settings()
	s.line(shell(append([]string{"bailey"}, m.run("--name", "main", "claude", ".")...)...))
	s.await("bypass permissions on")
	s.line("change the shop")
	s.await("FINISHED-ALL")
	s.leaveClaude()
	u.worked()
	m.answered(t, 4)
	u.logged("main", "change the shop")
	untouched(t, before, u.manifest(ours()...))
	if got := s.settings(); got != settings {
		t.Errorf("the terminal's settings were %s and are %s", settings, got)
	}
}
