package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/oauth"
	"github.com/bailey-sandbox/bailey/internal/secret"
)

func newSecretImport(a *app) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "import [flags]",
		Short: "Find secrets on this machine and keep them",
		Long: `Find the secrets of known services where their programs keep them on this machine, and ask for each
whether bailey should keep a copy: variables of this shell, the logins of Claude Code, Codex and Gemini CLI,
GitHub's file, ~/.netrc, ~/.npmrc and ~/.pypirc. Nothing is changed where it was found; but a login that
bailey renews may end where it was found, as providers take each renewal once. Without a terminal they are
only listed, unless --all.`,
		Example: "  bailey secret import\n  bailey secret import --all",
		Args:    takes(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.secretImport(cmd.Context(), all) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "keep all without asking")
	return cmd
}

// finding is a secret that lies somewhere on the host.
type finding struct{ service, where, value string }

func (a *app) secretImport(ctx context.Context, all bool) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	secrets := a.secrets(store)
	found := a.findSecrets(ctx)
	if len(found) == 0 {
		a.note("nothing was found")
		return nil
	}
	kept := 0
	for _, f := range found {
		fmt.Fprintf(a.Out, "%s\t%s\n", f.service, f.where)
		if !all && (!a.isTTY() || a.confirm("Keep it as "+f.service+"?", "no", "") != nil) {
			continue
		}
		e := secret.Entry{Name: f.service, Service: f.service, Source: secret.DefaultSource(ctx)}
		if err := a.keepSecret(ctx, secrets, e, f.value); err != nil {
			return err
		}
		kept++
	}
	if kept == 0 {
		a.note("nothing was kept")
		return nil
	}
	return a.tellAll(ctx, store)
}

// findSecrets looks in the places where programs keep them, the likeliest first, and returns one for each service.
func (a *app) findSecrets(ctx context.Context) []finding {
	home := a.getenv("HOME")
	var all []finding
	for _, s := range credential.Services() {
		for _, name := range s.Env {
			all = append(all, finding{s.Name, "the variable " + name, a.getenv(name)})
		}
	}
	path := filepath.Join(cmp.Or(a.getenv("CODEX_HOME"), filepath.Join(home, ".codex")), "auth.json")
	all = append(all, loginIn("codex-login", path))
	all = append(all, loginIn("claude-login", filepath.Join(cmp.Or(a.getenv("CLAUDE_CONFIG_DIR"), filepath.Join(home, ".claude")), ".credentials.json")))
	all = append(all, loginIn("gemini-login", filepath.Join(home, ".gemini/oauth_creds.json")))
	var codex struct {
		Key string `json:"OPENAI_API_KEY"`
	}
	_ = json.Unmarshal(small(path), &codex)
	all = append(all, finding{"openai", path, codex.Key})
	path = filepath.Join(cmp.Or(a.getenv("GH_CONFIG_DIR"), filepath.Join(home, ".config/gh")), "hosts.yml")
	all = append(all, finding{"github", path, after(string(small(path)), "oauth_token:")})
	if _, err := exec.LookPath("gh"); err == nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "gh", "auth", "token", "--hostname", "github.com")
		cmd.Env = a.cfg.Environ
		out, _ := cmd.Output()
		all = append(all, finding{"github", "gh auth token", strings.TrimSpace(string(out))})
	}
	path = filepath.Join(home, ".npmrc")
	all = append(all, finding{"npm", path, after(string(small(path)), "npmjs.org/:_authToken=")})
	path = filepath.Join(home, ".pypirc")
	all = append(all, finding{"pypi", path, after(string(small(path)), "password", " ", "=", ":")})
	path = filepath.Join(home, ".netrc")
	for host, service := range map[string]string{"github.com": "github", "gitlab.com": "gitlab"} {
		all = append(all, finding{service, path, netrc(string(small(path)), host)})
	}
	var found []finding
	seen := map[string]bool{}
	for _, f := range all {
		if f.value != "" && !strings.HasPrefix(f.value, "${") && !seen[f.service] {
			seen[f.service] = true
			found = append(found, f)
		}
	}
	return found
}

// loginIn is the login in an agent's own file.
func loginIn(service, path string) finding {
	f := finding{service: service, where: path}
	if t, err := oauth.ParseAgentFile(small(path)); err == nil {
		f.value = t.Encode()
	}
	return f
}

// small returns a file's content, or nothing when it cannot be read or is larger than such files are.
func small(path string) []byte {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 {
		return nil
	}
	data, _ := os.ReadFile(path)
	return data
}

// after is the rest of the first line that has key, without what may stand between them and without quotes.
func after(text, key string, between ...string) string {
	for line := range strings.Lines(text) {
		if _, rest, ok := strings.Cut(line, key); ok && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			return strings.Trim(strings.TrimSpace(strings.TrimLeft(rest, strings.Join(between, "")+" ")), `"'`)
		}
	}
	return ""
}

// netrc is the password for host, in a file as ftp(1) has it.
func netrc(text, host string) string {
	words := strings.Fields(text)
	for i := 0; i+1 < len(words); i++ {
		if words[i] != "machine" || words[i+1] != host {
			continue
		}
		for j := i + 2; j+1 < len(words) && words[j] != "machine"; j += 2 {
			if words[j] == "password" {
				return words[j+1]
			}
		}
	}
	return ""
}
