//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// TestTheOtherAgentsWorkInTheProject runs each with its own tools. That the model's script gets to its end shows
// that every tool's result came back to it.
func TestTheOtherAgentsWorkInTheProject(t *testing.T) {
	const opencode = `{"model":"anthropic/claude-sonnet-4-5","small_model":"anthropic/claude-sonnet-4-5","share":"disabled",` +
		`"autoupdate":false,"permission":"allow","provider":{"anthropic":{"options":{"baseURL":"%s/v1","apiKey":"%s"}}}}`
	const codex = `model_providers.mock={name="mock",base_url="%s/v1",wire_api="responses",env_key="OPENAI_API_KEY"}`
	for _, c := range []struct {
		agent string
		setup func(m *model) (env, args []string)
	}{
		{"codex", func(m *model) (env, args []string) {
			return []string{"OPENAI_API_KEY=" + modelKey, "OPENAI_BASE_URL=" + m.url()}, []string{
				"-c", "model_provider=mock", "-c", fmt.Sprintf(codex, m.url()), "-m", "mock-1", "exec", "--skip-git-repo-check", "hi"}
		}},
		{"opencode", func(m *model) (env, args []string) {
			return []string{"OPENCODE_CONFIG_CONTENT=" + fmt.Sprintf(opencode, m.url(), modelKey)}, []string{"run", "hi"}
		}},
		{"gemini", func(m *model) (env, args []string) {
			return []string{"GEMINI_API_KEY=" + modelKey, "GOOGLE_GEMINI_BASE_URL=" + m.url()}, []string{"-p", "hi"}
		}},
	} {
		t.Run(c.agent, func(t *testing.T) {
			if c.agent == "gemini" {
				needNode(t)
			}
			u := newUser(t)
			u.needAgent(c.agent)
			m := serveModelTLS(u,
				modelapi.Read(filepath.Join(u.project, "README.md")),
				modelapi.Write(filepath.Join(u.project, "notes.txt"), "written by a tool\n"),
				// Gemini CLI refuses what has $( in it.
				modelapi.Run("expr 6 '*' 7 > answer.txt; pwd >> answer.txt"),
				modelapi.Say("FINISHED-ALL"),
			)
			before := u.manifest(ours()...)
			env, args := c.setup(m)
			run := []string{"run", "--rm", "--allow", "host.bailey.internal:" + m.port}
			for _, kv := range env {
				run = append(run, "-e", kv)
			}
			out := u.bailey(append(append(run, c.agent, ".", "--"), args...)...)
			if !strings.Contains(out.stdout, "FINISHED-ALL") {
				t.Errorf("exit code %d\n%s%s\n%s", out.code, out.stdout, out.stderr, m.summary())
			}
			for name, want := range map[string]string{"notes.txt": "written by a tool", "answer.txt": "42\n" + u.project} {
				if got := strings.TrimSpace(u.read(name)); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
				owned(t, filepath.Join(u.project, name))
			}
			if !m.streamed() {
				t.Errorf("nothing was streamed:\n%s", m.summary())
			}
			u.noSandboxes()
			untouched(t, before, u.manifest(ours()...))
		})
	}
}

// streamed reports whether the client asked for a stream, in any of the interfaces.
func (m *model) streamed() bool {
	for _, r := range m.Requests() {
		if strings.Contains(r.Path, ":streamGenerateContent") || bytes.Contains(r.Body, []byte(`"stream":true`)) {
			return true
		}
	}
	return false
}

// needNode skips where there is no node that Gemini CLI runs on.
func needNode(t *testing.T) {
	t.Helper()
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		machine.Lack(t, "node", err.Error())
	}
	var major int
	if _, err := fmt.Sscanf(string(out), "v%d.", &major); err != nil || major < 20 {
		machine.Lack(t, "node", fmt.Sprintf("it has %q and needs 20 or newer", out))
	}
}
