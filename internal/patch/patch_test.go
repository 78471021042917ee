package patch

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// edit changes some lines of text at random.
func edit(r *rand.Rand, text string) string {
	lines := splitLines(text)
	for range r.IntN(6) {
		at := r.IntN(len(lines) + 1)
		switch r.IntN(3) {
		case 0:
			lines = append(lines[:at:at], append([]string{word(r) + "\n"}, lines[at:]...)...)
		case 1:
			if at < len(lines) {
				lines = append(lines[:at:at], lines[at+1:]...)
			}
		case 2:
			if at < len(lines) {
				lines = append(lines[:at:at], append([]string{word(r) + "\n"}, lines[at+1:]...)...)
			}
		}
	}
	text = strings.Join(lines, "")
	if r.IntN(8) == 0 {
		text = strings.TrimSuffix(text, "\n")
	}
	return text
}

func word(r *rand.Rand) string {
	return []string{"a", "b", "", "func main() {", "}", "\treturn", "ü\xff", "- x", "+ y", "\\ z", "@@ -1 +1 @@", "x\r"}[r.IntN(12)]
}

func text(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(60) {
		b.WriteString(word(r) + "\n")
	}
	return b.String()
}

func TestHunksLeadFromOneTextToTheOther(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		before := text(r)
		after := edit(r, edit(r, before))
		hunks := Hunks(before, after)
		var parts []Hunk
		for _, h := range hunks {
			parts = append(parts, h.Split()...)
		}
		for what, all := range map[string][]Hunk{"hunks": hunks, "parts": parts} {
			if got, ok := Pick(before, all); got != after || !ok {
				t.Fatalf("%d: all %s make %q of %q, not %q", i, what, got, before, after)
			}
		}
		if got, ok := Pick(before, nil); got != before || !ok {
			t.Fatalf("%d: no hunks make %q of %q", i, got, before)
		}
		if len(parts) > 0 && parts[0].OldLines > 0 {
			if got, ok := Pick("other\n"+before, parts[:1]); ok && got == "other\n"+after && before != after {
				t.Fatalf("%d: a hunk of another text was taken", i)
			}
		}
		// Some of the parts, and then the others, lead there too.
		chosen := slices.DeleteFunc(slices.Clone(parts), func(Hunk) bool { return r.IntN(2) == 0 })
		half := must(t, before, chosen...)
		if rest := Hunks(half, after); must(t, half, rest...) != after {
			t.Fatalf("%d: after some parts, the rest does not lead to %q", i, after)
		}
		// One at a time they lead there too, in whatever order.
		now := before
		for steps := 0; now != after; steps++ {
			left := Hunks(now, after)
			one := r.IntN(len(left))
			now = must(t, now, left[one])
			if steps > 100 {
				t.Fatalf("%d: one hunk at a time never makes %q of %q", i, after, before)
			}
		}
	}
}

func must(t *testing.T, before string, hunks ...Hunk) string {
	t.Helper()
	got, ok := Pick(before, hunks)
	if !ok {
		t.Fatalf("%q is taken for another text than that of %v", before, hunks)
	}
	return got
}

func TestSplit(t *testing.T) {
	before, after := "1\n2\n3\n4\n5\n6\n", "1\nTWO\n3\n4\n4a\n5\nSIX\n"
	hunks := Hunks(before, after)
	if len(hunks) != 1 {
		t.Fatalf("%v", hunks)
	}
	parts := hunks[0].Split()
	var headers []string
	for _, p := range parts {
		headers = append(headers, p.Header())
		if again := p.Split(); len(again) != 1 || again[0].String() != p.String() {
			t.Errorf("%s is split into %v", p, again)
		}
	}
	if got := strings.Join(headers, " "); got != "@@ -1,4 +1,4 @@ @@ -3,3 +3,4 @@ @@ -5,2 +6,2 @@" {
		t.Errorf("%s", got)
	}
	if got := must(t, before, parts[1]); got != "1\n2\n3\n4\n4a\n5\n6\n" {
		t.Errorf("the second alone makes %q", got)
	}
	if got := must(t, before, parts[0], parts[2]); got != "1\nTWO\n3\n4\n5\nSIX\n" {
		t.Errorf("the first and the last make %q", got)
	}
	if got, ok := Pick("1\n2\n3\n4\nx\n6\n", parts[1:2]); ok {
		t.Errorf("of another text it makes %q", got)
	}
}

func TestMergeJoinsWhatDoesNotTouch(t *testing.T) {
	base := "1\n2\n3\n4\n5\n6\n7\n"
	for _, c := range []struct{ name, ours, theirs, want string }{
		{"apart", "one\n2\n3\n4\n5\n6\n7\n", "1\n2\n3\n4\n5\n6\nseven\n", "one\n2\n3\n4\n5\n6\nseven\n"},
		{"the same", "1\n2\nx\n4\n5\n6\n7\n", "1\n2\nx\n4\n5\n6\n7\n", "1\n2\nx\n4\n5\n6\n7\n"},
		{"one of them nothing", base, "1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\n6\n"},
		{"the same line", "1\n2\nx\n4\n5\n6\n7\n", "1\n2\ny\n4\n5\n6\n7\n", ""},
		{"neighbours", "1\n2\nx\n4\n5\n6\n7\n", "1\n2\n3\ny\n5\n6\n7\n", ""},
		{"edited and removed", "1\n2\nx\n4\n5\n6\n7\n", "1\n6\n7\n", ""},
		{"two insertions at one place", "1\nx\n2\n3\n4\n5\n6\n7\n", "1\ny\n2\n3\n4\n5\n6\n7\n", ""},
	} {
		got, ok := Merge(base, c.ours, c.theirs)
		back, okBack := Merge(base, c.theirs, c.ours)
		if got != c.want || ok != (c.want != "") || got != back || ok != okBack {
			t.Errorf("%s: %q, %v and %q, %v; want %q", c.name, got, ok, back, okBack, c.want)
		}
	}
}

// TestGitAgrees has git and patch apply what File writes.
func TestGitAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	binary := func() []byte {
		b := make([]byte, r.IntN(300))
		for i := range b {
			b[i] = byte(r.UintN(256))
		}
		return append(b, 0)
	}
	paths := []string{"file", "a b", "dir/sub/x.go", "ü", "tab\there", `quo"te`, `back\slash`, "new\nline", "-dash"}
	var patch bytes.Buffer
	type end struct {
		mode    uint32
		content []byte
	}
	base, git := t.TempDir(), t.TempDir()
	want := map[string]end{}
	for i := range 300 {
		path := filepath.Join("d"+string(rune('a'+i%26)), strings.Repeat("n", i/26+1), paths[i%len(paths)])
		before, after := &Side{path, 0o100644, []byte(text(r))}, &Side{path, 0o100644, nil}
		after.Content = []byte(edit(r, string(before.Content)))
		switch i % 7 {
		case 1:
			before = nil
		case 2:
			after = nil
		case 3:
			after.Path += ".moved"
		case 4:
			after.Mode = 0o100755
		case 5:
			before.Content, after.Content = binary(), binary()
		case 6:
			after.Mode, after.Content = 0o120000, []byte("to/nowhere")
		}
		if before != nil {
			full := filepath.Join(git, before.Path)
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, before.Content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if after != nil {
			want[after.Path] = end{after.Mode, after.Content}
		}
		patch.Write(File(before, after))
	}
	file := filepath.Join(base, "p")
	if err := os.WriteFile(file, patch.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "apply", "--whitespace=nowarn", file)
	cmd.Dir = git
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(git))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git apply: %v: %s\n%s", err, out, bytes.Join(bytes.SplitAfter(patch.Bytes(), []byte("\n"))[985:1000], nil))
	}
	for path, e := range want {
		full := filepath.Join(git, path)
		info, err := os.Lstat(full)
		if err != nil {
			t.Error(err)
			continue
		}
		var got []byte
		if e.mode == 0o120000 {
			target, _ := os.Readlink(full)
			got = []byte(target)
		} else if got, err = os.ReadFile(full); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(got, e.content) || e.mode == 0o100755 && info.Mode()&0o100 == 0 {
			t.Errorf("%q is %q (%v), not %q", path, got, info.Mode(), e.content)
		}
	}
	count := 0
	_ = filepath.WalkDir(git, func(_ string, d os.DirEntry, _ error) error {
		if !d.IsDir() {
			count++
		}
		return nil
	})
	if count != len(want) {
		t.Errorf("git made %d files, not %d", count, len(want))
	}
}
