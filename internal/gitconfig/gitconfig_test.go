package gitconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSyntax(t *testing.T) {
	got := Parse([]byte("# c\n[Core] bare = false\n\tworkTree = \"a \\\"b\\\" \"c # no\n\tflag\n\tx = one \\\n two ; no\n" +
		"[include \"a]b\"]\r\n\tpath=../y\r\n[includeIf.x]\n path = z"))
	want := []Setting{{"core", "bare", "false"}, {"core", "worktree", `a "b" c`}, {"core", "x", "one  two"}, {"include", "path", "../y"}, {"includeif", "path", "z"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestIdentityIsWhatGitReads(t *testing.T) {
	if Identity(Parse([]byte("[core]\n\teditor = vi\n"))) != nil {
		t.Error("an identity is made of nothing")
	}
	name := `Ann "the \ smith" O'Neil # ; [x]`
	text := Identity([]Setting{{"user", "name", "first"}, {"user", "signingkey", "K"}, {"user", "email", "ann@example.test"}, {"user", "name", name}})
	want := []Setting{{"user", "name", name}, {"user", "email", "ann@example.test"}}
	if got := Parse(text); !slices.Equal(got, want) {
		t.Errorf("%q reads as %q", text, got)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not here to be asked")
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(git, "config", "--file", file, "user.name").Output()
	if err != nil || strings.TrimSuffix(string(out), "\n") != name {
		t.Errorf("git reads %q, %v", out, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"[core]\n\tworktree = \"x\\", "[a \"]\"]b=c", "[", "=", "x\\\n", "[user]\nname=\"a\\\nb\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		settings := Parse(data)
		for _, s := range settings {
			if strings.ToLower(s.Key) != s.Key || strings.ToLower(s.Section) != s.Section {
				t.Errorf("setting %q", s)
			}
		}
		written := Identity(settings)
		if again := Identity(Parse(written)); string(again) != string(written) {
			t.Errorf("%q is read back as %q", written, again)
		}
	})
}

func TestOnlyWhatGitWritesItselfIsHarmless(t *testing.T) {
	for text, want := range map[string]bool{
		"":                            true,
		"[core]\n\tbare = false\n":    true,
		"[core]\n; x\n# y\nbare=true": true,
		"[remote \"origin\"]\n\turl = https://x.test/a b.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"main\"]\n\tmerge = refs/heads/main\n": true,
		"[core]\n\tfsmonitor = evil\n":                      false,
		"[CORE]\n\tFsMonitor = evil\n":                      false,
		"[core] fsmonitor = evil\n":                         false,
		"[core]fsmonitor=a]\n":                              false,
		"[core]\n\tbare = x\\\n\tfsmonitor = evil\n":        false,
		"[core]\n\tbare = \"\n\tfsmonitor = evil\n":         false,
		"[core]\n\tbare = x\r\tfsmonitor = evil\n":          false,
		"[core]\n\tbare\n":                                  false,
		"[core]\n\tworktree = /home/ann\n":                  false,
		"[core.x]\n\tbare = false\n":                        false,
		"[remote \"x\"] url = \"]\n\tfetch = y\n":           false,
		"[remote \"x]\n\turl = y\n":                         false,
		"[remote \"x\"]\n\tuploadpack = evil\n":             false,
		"[remote \"x\"]\n\tvcs = evil\n":                    false,
		"[include]\n\tpath = evil\n":                        false,
		"[includeIf \"gitdir:/\"]\n\tpath = evil\n":         false,
		"[filter \"x\"]\n\tclean = evil\n":                  false,
		"[alias]\n\tst = !evil\n":                           false,
		"\xef\xbb\xbf[core]\n\tfsmonitor = evil\n":          false,
		"bare = false\n":                                    false,
		"[merge \"x\"]\n\tdriver = evil\n":                  false,
		"[submodule \"x\"]\n\tupdate = !evil\n":             false,
		"[core]\n\thookspath = evil\n":                      false,
		"[protocol \"ext\"]\n\tallow = always\n":            false,
		"[url \"ext::sh\"]\n\tinsteadOf = https://x.test\n": false,
	} {
		if got := Harmless([]byte(text)); got != want {
			t.Errorf("%q is harmless: %v", text, got)
		}
	}
}

// What is called harmless has in Parse's eyes no other settings than the list's.
func FuzzHarmless(f *testing.F) {
	for _, seed := range []string{"[core]\n\tbare = false\n", "[core]\nx=\\\n", "[remote \"a\"]\nurl=b", "[a]b=c]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !Harmless(data) {
			return
		}
		for _, s := range Parse(data) {
			if !slices.Contains(harmless(s.Section), s.Key) {
				t.Errorf("%q sets %q", data, s)
			}
		}
	})
}
