package agent

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func seedInput() SeedInput {
	return SeedInput{Workspaces: []string{"/w/one"}, Env: map[string]string{
		"ANTHROPIC_API_KEY": "sk-ant-0123456789abcdefghij", "OPENAI_API_KEY": "sk-one", "GEMINI_API_KEY": "g"}}
}

func builtin(t *testing.T, name string) Agent {
	t.Helper()
	a, err := Find(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func plantFile(t *testing.T, home, name, text string) {
	t.Helper()
	path := filepath.Join(home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestSeedAnswersTheFirstQuestions(t *testing.T) {
	home := t.TempDir()
	for _, a := range Builtin() {
		if err := a.Seed(home, seedInput()); err != nil {
			t.Fatal(err)
		}
	}
	var got struct {
		HasCompletedOnboarding bool
		Projects               map[string]struct{ HasTrustDialogAccepted bool }
		CustomAPIKeyResponses  struct{ Approved []string } `json:"customApiKeyResponses"`
	}
	if err := json.Unmarshal([]byte(content(t, home+"/.claude.json")), &got); err != nil {
		t.Fatal(err)
	}
	if !got.HasCompletedOnboarding || !got.Projects["/w/one"].HasTrustDialogAccepted ||
		strings.Join(got.CustomAPIKeyResponses.Approved, " ") != "0123456789abcdefghij" {
		t.Errorf("claude: %+v", got)
	}
	for name, want := range map[string]string{
		".claude/settings.json": `"skipDangerousModePermissionPrompt": true`,
		".codex/config.toml":    "[projects.\"/w/one\"]\ntrust_level = \"trusted\"",
		".codex/auth.json":      `"OPENAI_API_KEY": "sk-one"`,
		".gemini/settings.json": `"selectedType": "gemini-api-key"`,
	} {
		if text := content(t, filepath.Join(home, name)); !strings.Contains(text, want) {
			t.Errorf("%s is %s", name, text)
		}
	}
}

func TestSeedChangesNothingTheSecondTime(t *testing.T) {
	home := t.TempDir()
	snapshot := func() string {
		var b strings.Builder
		for _, a := range Builtin() {
			if err := a.Seed(home, seedInput()); err != nil {
				t.Fatal(err)
			}
		}
		err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			fmt.Fprintln(&b, path, info.ModTime(), info.Sys().(*syscall.Stat_t).Ino)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if first, second := snapshot(), snapshot(); first != second || strings.Count(first, "\n") < 9 {
		t.Errorf("first\n%s\nthen\n%s", first, second)
	}
}

func TestSeedKeepsWhatTheAgentChanged(t *testing.T) {
	home := t.TempDir()
	plantFile(t, home, ".claude.json", `{"numStartups": 12345678901234567890, "html": "<&>", "hasCompletedOnboarding": false,
		"projects": {"/w/one": {"history": ["x"]}, "/w/two": {}}, "customApiKeyResponses": {"approved": ["old"], "rejected": []}}`)
	plantFile(t, home, ".codex/config.toml", "model = \"x\"\n[projects.\"/w/zero\"]\ntrust_level = \"untrusted\"")
	plantFile(t, home, ".codex/auth.json", `{"OPENAI_API_KEY": "sk-old", "tokens": {"a": 1}}`)
	in := seedInput()
	in.Workspaces = []string{"/w/one", "/w/zero", "/w/\x01odd"}
	for _, name := range []string{"claude", "codex"} {
		if err := builtin(t, name).Seed(home, in); err != nil {
			t.Fatal(err)
		}
	}
	claude := content(t, home+"/.claude.json")
	for _, want := range []string{"12345678901234567890", `"<&>"`, `"hasCompletedOnboarding": false`, `"x"`, `"/w/two": {}`, `"old",`, "0123456789abcdefghij"} {
		if !strings.Contains(claude, want) {
			t.Errorf("%s is not in %s", want, claude)
		}
	}
	codex := content(t, home+"/.codex/config.toml")
	if want := "model = \"x\"\n[projects.\"/w/zero\"]\ntrust_level = \"untrusted\"\n\n[projects.\"/w/one\"]\ntrust_level = \"trusted\"\n"; codex != want {
		t.Errorf("got %s\nwant %s", codex, want)
	}
	if auth := content(t, home+"/.codex/auth.json"); !strings.Contains(auth, "sk-one") || !strings.Contains(auth, `"a": 1`) {
		t.Errorf("the key of this start should be in %s", auth)
	}
	if info, err := os.Stat(home + "/.claude.json"); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSeedTouchesNothingThroughWhatTheSandboxPlanted(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(t *testing.T, home, outside string) error
	}{
		{"the file is a link out", func(t *testing.T, home, outside string) error {
			return os.Symlink(outside+"/target", home+"/.claude.json")
		}},
		{"the file is a dangling link out", func(t *testing.T, home, outside string) error {
			return os.Symlink(outside+"/new", home+"/.claude.json")
		}},
		{"the file is a link inside", func(t *testing.T, home, outside string) error {
			plantFile(t, home, "other", "{}")
			return os.Symlink("other", home+"/.claude.json")
		}},
		{"the directory is a link out", func(t *testing.T, home, outside string) error {
			return os.Symlink(outside, home+"/.claude")
		}},
		{"the directory is a file", func(t *testing.T, home, outside string) error {
			plantFile(t, home, ".claude", "")
			return nil
		}},
		{"the file is a pipe", func(t *testing.T, home, outside string) error { return syscall.Mkfifo(home+"/.claude.json", 0o600) }},
		{"the file is a directory", func(t *testing.T, home, outside string) error { return os.Mkdir(home+"/.claude.json", 0o700) }},
		{"the file is a hole of a terabyte", func(t *testing.T, home, outside string) error {
			plantFile(t, home, ".claude.json", "")
			return os.Truncate(home+"/.claude.json", 1<<40)
		}},
		{"the file is no JSON", func(t *testing.T, home, outside string) error {
			plantFile(t, home, ".claude.json", `{"a":`)
			return nil
		}},
		{"the file is null", func(t *testing.T, home, outside string) error {
			plantFile(t, home, ".claude.json", `null`)
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			home, outside := t.TempDir(), t.TempDir()
			plantFile(t, outside, "target", "{}")
			if err := c.plant(t, home, outside); err != nil {
				t.Skipf("cannot plant it here: %v", err)
			}
			err := builtin(t, "claude").Seed(home, seedInput())
			if err == nil || !strings.Contains(err.Error(), ".claude") || !strings.Contains(sandbox.Hint(err), home) {
				t.Errorf("got %v with hint %q", err, sandbox.Hint(err))
			}
			left, _ := os.ReadDir(outside)
			if len(left) != 1 || content(t, outside+"/target") != "{}" {
				t.Errorf("outside there is %v", left)
			}
		})
	}
}

func TestSeedReplacesAPlantedTemporaryFile(t *testing.T) {
	home, outside := t.TempDir(), t.TempDir()
	plantFile(t, outside, "target", "mine")
	if err := os.Symlink(outside+"/target", home+"/.claude.json.bailey-new"); err != nil {
		t.Fatal(err)
	}
	if err := builtin(t, "claude").Seed(home, seedInput()); err != nil {
		t.Fatal(err)
	}
	if content(t, outside+"/target") != "mine" || !strings.Contains(content(t, home+"/.claude.json"), "Onboarding") {
		t.Error("the write was redirected")
	}
}

func TestSeedGivesFilesToTheHomesOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	home := t.TempDir()
	if err := os.Chown(home, 1234, 2345); err != nil {
		t.Skipf("cannot change an owner here: %v", err)
	}
	if err := builtin(t, "claude").Seed(home, seedInput()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".claude", ".claude.json", ".claude/settings.json"} {
		info, err := os.Lstat(filepath.Join(home, name))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 2345 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
}

func FuzzAddJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}],"projects":{"/w":3}}`))
	f.Add([]byte(`{"projects":[],"approved":{}}`))
	f.Add([]byte(` `))
	f.Fuzz(func(t *testing.T, old []byte) {
		merge := addJSON(object{"new": true, "projects": object{"/w": object{"t": true}}, "approved": []any{"k"}})
		once, err := merge(old)
		if err != nil {
			return
		}
		twice, err := merge(once)
		if err != nil || string(once) != string(twice) {
			t.Errorf("not idempotent: %q then %q, %v", once, twice, err)
		}
	})
}

// TestSeedLeavesTokensWhereProgramsLook: what stands for them, and never over a file that somebody has.
func TestSeedLeavesTokensWhereProgramsLook(t *testing.T) {
	shell := builtin(t, "shell")
	in := SeedInput{Tokens: map[string]string{"github": "ghp_stands", "pypi": "pypi-stands", "npm": "npm_stands"}, Canaries: map[string]string{CanaryKeyID: "AKIAstands", CanaryKey: "stands"}}
	home := t.TempDir()
	if err := shell.Seed(home, in); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{".config/gh/hosts.yml": "oauth_token: ghp_stands\n", ".pypirc": "password = pypi-stands\n", ".aws/credentials": "AKIAstands"} {
		if got := content(t, filepath.Join(home, name)); !strings.Contains(got, want) {
			t.Errorf("%s says %s", name, got)
		}
	}
	home = t.TempDir()
	plantFile(t, home, ".pypirc", "[own]\n")
	if err := shell.Seed(home, SeedInput{Tokens: map[string]string{"pypi": "pypi-stands"}}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, filepath.Join(home, ".pypirc")); got != "[own]\n" {
		t.Errorf("somebody's own file says %s", got)
	}
	if _, err := os.Stat(filepath.Join(home, ".config/gh/hosts.yml")); err == nil {
		t.Error("there is a file for a token that is not there")
	}
}

// TestSeedKeepsLogins: what stands for a login lies where each agent looks for one, and an API key beside it does not win.
func TestSeedKeepsLogins(t *testing.T) {
	for name, want := range map[string]struct {
		path  string
		parts []string
	}{
		"claude": {".claude/.credentials.json", []string{`"accessToken": "ACCESS"`, `"refreshToken": "REFRESH"`}},
		"codex":  {".codex/auth.json", []string{`"access_token": "ACCESS"`, `"account_id": "account-1"`, `"id_token": "IDENTITY"`, `"auth_mode": "chatgpt"`}},
		"gemini": {".gemini/oauth_creds.json", []string{`"access_token": "ACCESS"`, `"refresh_token": "REFRESH"`, `"expiry_date"`}},
	} {
		home, in := t.TempDir(), seedInput()
		a := builtin(t, name)
		if err := a.Seed(home, in); err != nil { // as before the login
			t.Fatal(err)
		}
		in.Login = &Login{Access: "ACCESS", Refresh: "REFRESH", Identity: "IDENTITY", Account: "account-1", Scopes: []string{"one", "two"}}
		if err := a.Seed(home, in); err != nil {
			t.Fatal(err)
		}
		got := content(t, filepath.Join(home, want.path))
		for _, part := range want.parts {
			if !strings.Contains(got, part) {
				t.Errorf("%s has no %s: %s", want.path, part, got)
			}
		}
		if strings.Contains(got, "OPENAI_API_KEY") {
			t.Errorf("%s has a key too: %s", want.path, got)
		}
	}
}
