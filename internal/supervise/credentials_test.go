package supervise

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// lending is a sandbox and the secrets of its user.
type lending struct {
	t     *testing.T
	bound []config.Bound
	store *secret.Store
	sb    *state.Sandbox
}

func newLending(t *testing.T, r state.Record) *lending {
	t.Helper()
	dir := t.TempDir()
	states, err := state.Open(state.Dirs{State: filepath.Join(dir, "state"), Data: filepath.Join(dir, "data"), Config: filepath.Join(dir, "config")})
	if err != nil {
		t.Fatal(err)
	}
	r.Name, r.Network = "yard", "deny"
	sb, err := states.Create(r)
	if err != nil {
		t.Fatal(err)
	}
	return &lending{t, nil, &secret.Store{Dir: filepath.Join(dir, "data", state.SecretsDir), Getenv: func(string) string { return "" }}, sb}
}

func (l *lending) keep(e secret.Entry, value string) {
	l.t.Helper()
	e.Source = secret.Vault
	if err := l.store.Set(l.t.Context(), e, value); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lending) start(name string) *credentials {
	l.t.Helper()
	ag, err := agent.Find(name, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	c, err := newCredentials(l.store, l.bound, l.sb, ag)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// variables is the names of those inside.
func (l *lending) variables(c *credentials) []string {
	l.t.Helper()
	var names []string
	for _, kv := range c.env() {
		name, value, _ := strings.Cut(kv, "=")
		if value == "" || strings.Contains(value, "real") {
			l.t.Errorf("inside is %s", kv)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestWhatIsLent(t *testing.T) {
	for mode, want := range map[string]string{
		"": "", "none": "", "github": "GH_TOKEN GITHUB_TOKEN", "host": "ANTHROPIC_API_KEY EXAMPLE GH_TOKEN GITHUB_TOKEN", "anthropic,example": "ANTHROPIC_API_KEY EXAMPLE",
	} {
		l := newLending(t, state.Record{Credentials: mode})
		l.store.Lent.Env = map[string]string{"ANTHROPIC_API_KEY": "real-lent", "OPENAI_API_KEY": "real-not-claudes"}
		l.keep(secret.Entry{Name: "github", Service: "github"}, "real-kept")
		l.keep(secret.Entry{Name: "gitlab", Service: "gitlab", Sandboxes: []string{"other"}}, "real-elsewhere")
		l.keep(secret.Entry{Name: "example", Env: []string{"EXAMPLE"}, Bindings: []secret.Binding{{Host: "api.example.test", As: []string{"bearer"}}}}, "real-own")
		c := l.start("claude")
		if got := strings.Join(l.variables(c), " "); got != want {
			t.Errorf("--credentials %q: inside are %s, want %s", mode, got, want)
		}
	}
	l := newLending(t, state.Record{Credentials: "gitlab"})
	ag, _ := agent.Find("claude", nil)
	if _, err := newCredentials(l.store, l.bound, l.sb, ag); err == nil {
		t.Error("a secret that is not there is lent")
	}
}

func TestPlaceholdersLastAsLongAsTheSandbox(t *testing.T) {
	l := newLending(t, state.Record{Credentials: "host"})
	l.keep(secret.Entry{Name: "github", Service: "github"}, "real")
	first := l.start("shell").env()
	again := l.start("shell").env()
	if !slices.Equal(first, again) || len(first) != 2 {
		t.Errorf("at the second start they are %v, were %v", again, first)
	}
	other := newLending(t, state.Record{Credentials: "host"})
	other.keep(secret.Entry{Name: "github", Service: "github"}, "real")
	if env := other.start("shell").env(); slices.Equal(first, env) {
		t.Error("two sandboxes have the same")
	}
	if info, err := os.Stat(filepath.Join(l.sb.Dir, state.CredentialsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// The variable's own file form, as Docker's secrets have it, and a variable that the user named.
func TestLentVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("real-of-the-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLending(t, state.Record{Credentials: "host", Lent: []string{"GITLAB_TOKEN"}})
	l.store.Lent.Env = map[string]string{"ANTHROPIC_API_KEY_FILE": file, "GITLAB_TOKEN": "real-named", "GITHUB_TOKEN": "real-not-named"}
	c := l.start("claude")
	if got := strings.Join(l.variables(c), " "); got != "ANTHROPIC_API_KEY GITLAB_TOKEN" {
		t.Errorf("inside are %s", got)
	}
	all, err := c.lendable()
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, lent := range all {
		value, err := c.value(lent)(t.Context())
		if want := map[string]string{"anthropic": "real-of-the-file", "gitlab": "real-named"}[lent.Name]; value != want || err != nil {
			t.Errorf("%s is %q, %v", lent.Name, value, err)
		}
	}
}

// Where the user has pointed an agent at another server, that one gets the key; not where it has no TLS.
func TestBaseURLs(t *testing.T) {
	l := newLending(t, state.Record{Credentials: "host", Env: []string{"ANTHROPIC_BASE_URL=https://gateway.test:8443/v1"}})
	l.keep(secret.Entry{Name: "anthropic", Service: "anthropic"}, "real")
	k, err := l.start("claude").keeper(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !k.Bound("gateway.test", 8443) || !k.Bound("api.anthropic.com", 443) || k.Bound("gateway.test", 443) {
		t.Error("the key is bound elsewhere")
	}
	l = newLending(t, state.Record{Credentials: "host", Env: []string{"ANTHROPIC_BASE_URL=http://gateway.test"}})
	l.keep(secret.Entry{Name: "anthropic", Service: "anthropic"}, "real")
	if k, err := l.start("claude").keeper(nil); err != nil || k.Bound("gateway.test", 80) || k.Bound("gateway.test", 443) {
		t.Errorf("a server without TLS gets the key: %v", err)
	}
}

func TestASecretThatIsTakenAwayGoesNowhere(t *testing.T) {
	l := newLending(t, state.Record{Credentials: "host"})
	l.keep(secret.Entry{Name: "github", Service: "github"}, "real")
	c := l.start("shell")
	before, err := c.keeper(nil)
	if err != nil || !before.Bound("github.com", 443) {
		t.Fatalf("%v", err)
	}
	if err := l.store.Remove(t.Context(), "github"); err != nil {
		t.Fatal(err)
	}
	if after, err := c.keeper(nil); err != nil || after.Bound("github.com", 443) {
		t.Errorf("it is still bound: %v", err)
	}
}

// TestTheConfigurationBindsMore: hosts beside those of the secret itself, and of that secret only.
func TestTheConfigurationBindsMore(t *testing.T) {
	l := newLending(t, state.Record{Credentials: "host"})
	host, port, err := credential.ParseHost("github.example.com")
	if err != nil {
		t.Fatal(err)
	}
	l.bound = []config.Bound{{Secret: "github", Binding: credential.Binding{Host: host, Port: port, As: []credential.Place{{Header: "Authorization", Basic: true}}}}}
	l.keep(secret.Entry{Name: "github", Service: "github"}, "real-github")
	l.keep(secret.Entry{Name: "gitlab", Service: "gitlab"}, "real-gitlab")
	for _, lent := range l.start("claude").begun {
		hosts := ""
		for _, b := range lent.resolved.Bindings {
			hosts += b.Host.String() + " "
		}
		if more := strings.Contains(hosts, "github.example.com"); more != (lent.Name == "github") || lent.Name == "github" && !strings.Contains(hosts, "api.github.com") {
			t.Errorf("%s may go to %s", lent.Name, hosts)
		}
	}
}
