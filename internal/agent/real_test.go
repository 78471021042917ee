package agent

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// TestTheRealClaudeCode fetches the program from the registry, once per machine, and lets it do one turn
// of work in a seeded home.
func TestTheRealClaudeCode(t *testing.T) {
	a := builtin(t, "claude")
	in := fetchReal(t, a)
	if in.Node || in.Version == "" {
		t.Errorf("got %+v", in)
	}
	api := &modelapi.Server{Turns: []modelapi.Turn{modelapi.Run("echo SANDBOX-RAN > proof"), modelapi.Say("All done.")}}
	server := httptest.NewServer(api)
	defer server.Close()
	home, work := t.TempDir(), t.TempDir()
	env := map[string]string{"HOME": home, "PATH": os.Getenv("PATH"), "ANTHROPIC_BASE_URL": server.URL, "ANTHROPIC_API_KEY": "sk-ant-of-the-test-0123456789"}
	if err := a.Seed(home, SeedInput{Workspaces: []string{work}, Env: env}); err != nil {
		t.Fatal(err)
	}
	argv := a.Command(in.Bin, []string{"-p", "hi"})
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = work
	for _, vars := range []map[string]string{a.Env, env} {
		for name, value := range vars {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "All done.") {
		t.Fatalf("%v: %s", err, out)
	}
	if got := content(t, filepath.Join(work, "proof")); got != "SANDBOX-RAN\n" {
		t.Errorf("the command wrote %q", got)
	}
}

// fetchReal skips when there is no registry, unless BAILEY_REQUIRE has the word agents.
func fetchReal(t *testing.T, a Agent) Installed {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	registry, err := ReadRegistry(home, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	defer client.CloseIdleConnections()
	in, err := Store{Dir: filepath.Join(cache, "bailey-test", "bailey", "agents"), Registry: registry, HTTP: client}.Ensure(t.Context(), a, "")
	if errors.Is(err, errUnreachable) && !strings.Contains(os.Getenv("BAILEY_REQUIRE"), "agents") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return in
}
