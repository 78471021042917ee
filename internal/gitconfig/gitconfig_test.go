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
