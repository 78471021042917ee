package leaks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func load(t testing.TB) *Rules {
	t.Helper()
	r, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Tokens that look like the real ones, put together here so that nobody's search for secrets stops at this file.
func github() string { return "ghp_" + "x7Kq2mVb9Lw4Rt8Zc1Ny6Hj3Pf5Ds0Ga2Qe4" }

func aws() string { return "AKIA" + "Q3EGRZ7NX2JH5WKD" }

func TestEveryExpressionCompiles(t *testing.T) {
	r := load(t)
	if len(r.rules) < 200 {
		t.Errorf("%d rules", len(r.rules))
	}
	for _, rule := range r.rules {
		if rule.ID == "" || rule.regex == nil && rule.path == nil {
			t.Errorf("%+v", rule)
		}
		if rule.regex != nil {
			if n := rule.regex().NumSubexp(); rule.SecretGroup > n {
				t.Errorf("%s: group %d of %d", rule.ID, rule.SecretGroup, n)
			}
		}
		if rule.path != nil {
			rule.path()
		}
		for _, a := range append(rule.allowlists, r.allowed) {
			fits(append(slices.Clone(a.paths), a.regexes...), "")
		}
	}
}

func TestScan(t *testing.T) {
	r := load(t)
	for _, test := range []struct{ path, text, want string }{
		{"a.go", "nothing\nto see\n", ""},
		{"a.go", "x\ntoken := \"" + github() + "\"\n", "github-pat:2"},
		{".aws/credentials", "aws_access_key_id = " + aws() + "\n", "aws-access-token:1"},
		{"a.txt", "aws = AKIAIOSFODNN7EXAMPLE\n", ""}, // Amazon's own example
		{"k.pem", "-----BEGIN RSA PRIVATE KEY-----\n" + strings.Repeat("MIIEowIBAAKCAQEAx7Kq2mVb9Lw4Rt8Zc1Ny6Hj3Pf5Ds0Ga2Qe4\n", 4) + "-----END RSA PRIVATE KEY-----\n", "private-key:1"},
		{"config.yaml", "db:\n  api_key: \"zq8Kx2Vn7Lw3Rt9Yc4Mb6Hj1Pf5Ds0Ga\"\n", "generic-api-key:2"},
		{"config.yaml", "api_key: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n", ""}, // no entropy
		{"config.yaml", "api_key: \"" + github() + "\"\n", "github-pat:1"},     // not twice
		{"config.yaml", "api_key: \"" + github() + "\" # gitleaks:allow\n", ""},
		{"package-lock.json", "token \"" + github() + "\"\n", ""},
		{"a.bin", "\x00token \"" + github() + "\"\n", ""},
		{"id.p12", "whatever", "pkcs12-file:0"},
		{"chart.yml", "kind: Secret\napiVersion: v1\nmetadata:\n  name: x\ndata:\n  password: c2VjcmV0LXBhc3N3b3JkLTEyMw==\n", "generic-api-key:6 kubernetes-secret-yaml:1"},
	} {
		var got []string
		for _, f := range r.Scan(test.path, []byte(test.text)) {
			got = append(got, fmt.Sprintf("%s:%d", f.Rule, f.Line))
			if f.Path != test.path || f.What == "" {
				t.Errorf("%+v", f)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s %q: %v, want %s", test.path, test.text, got, test.want)
		}
	}
}

func TestTreeReadsPlainFilesOnly(t *testing.T) {
	r, dir, outside := load(t), t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	secret := "token = \"" + github() + "\"\n"
	write(filepath.Join(dir, "src/a.go"), secret)
	write(filepath.Join(dir, ".env"), secret)
	write(filepath.Join(dir, ".git/config"), secret)
	write(filepath.Join(dir, "node_modules/x/a.js"), secret)
	write(filepath.Join(dir, "large.txt"), secret+strings.Repeat("x", maxFile))
	write(filepath.Join(outside, "secret"), secret)
	for name, to := range map[string]string{"link": filepath.Join(outside, "secret"), "away": outside, "again": "src"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	found, partly, err := r.Tree(t.Context(), dir)
	if err != nil || partly == "" {
		t.Errorf("%q, %v", partly, err)
	}
	var paths []string
	for _, f := range found {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	if want := []string{".env", "src/a.go"}; !slices.Equal(paths, want) {
		t.Errorf("found in %v, want %v", paths, want)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.Tree(ended, dir); err == nil {
		t.Error("it does not end when it is asked to")
	}
}

// TestHistory reads what the real git says of a repository whose secrets were removed again.
func TestHistory(t *testing.T) {
	r, dir := load(t), t.TempDir()
	script := `git init -q -b main . && git config user.name a && git config user.email a@b.test
printf 'token = "%s"\n' "$S" > a.txt && git add -A && git commit -qm one
printf 'nothing\n' > a.txt && git add -A && git commit -qm 'commit 0123abc
+++ b/never.txt'
git checkout -qb side && mkdir 'a b' && printf '++ b/never\n+key = "%s"\n' "$S" > 'a b/ü.txt' && printf '%s' "$S" > "$(printf 'odd\ttoken')" && git add -A && git commit -qm two
git checkout -q main`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "S="+github())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := LogArgs(dir, 10)
	log, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range r.History(t.Context(), log) {
		if f.Rule != "github-pat" || f.Commit == "" || f.Line != 0 {
			t.Errorf("%+v", f)
		}
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	if want := []string{"a b/ü.txt", "a.txt", `odd\ttoken`}; !slices.Equal(paths, want) {
		t.Errorf("found in %v, want %v", paths, want)
	}
}

func FuzzScan(f *testing.F) {
	f.Add("a.go", "token := \""+github()+"\"\n")
	f.Add("x.yaml", "password: hunter2hunter2hunter2\n")
	r := load(f)
	f.Fuzz(func(t *testing.T, path, text string) {
		lines := strings.Count(text, "\n") + 1
		for _, found := range r.Scan(path, []byte(text)) {
			if found.Line < 0 || found.Line > lines || found.Path != path {
				t.Errorf("%+v of %d lines", found, lines)
			}
		}
		for _, found := range r.History(t.Context(), []byte(text)) {
			if found.Commit == "" || found.Path == "" {
				t.Errorf("%+v", found)
			}
		}
	})
}

func BenchmarkTree(b *testing.B) {
	r := load(b)
	for b.Loop() {
		if _, _, err := r.Tree(b.Context(), "../.."); err != nil {
			b.Fatal(err)
		}
	}
}
