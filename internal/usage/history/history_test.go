package history

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// home writes files, by their paths, below a directory of its own.
func home(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read is every call of the only agent that has logs in dir, one a line, sorted.
func read(t testing.TB, dir string) (string, Skipped) {
	t.Helper()
	found := Find(func(string) string { return "" }, dir)
	if len(found) != 1 {
		t.Fatalf("found %+v", found)
	}
	var calls []string
	skipped, err := found[0].Read(func(c usage.Call) bool {
		cost := c.Cost.Decimal()
		if c.Unpriced != "" {
			cost = "?"
		}
		if c.Agent != found[0].Agent || c.Sandbox != "" {
			t.Errorf("%+v", c)
		}
		tok := c.Tokens
		calls = append(calls, fmt.Sprintf("%s %s %s %s in %d write %d+%d read %d out %d think %d search %d $%s", c.Time.Format("01-02T15:04:05"), c.Session, c.Model, c.Request,
			tok.Input, tok.CacheWrite, tok.CacheWrite1h, tok.CacheRead, tok.Output, tok.Thinking, tok.Searches, cost))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(calls)
	return strings.Join(calls, "\n"), skipped
}

func compare(t *testing.T, got, want string) {
	t.Helper()
	if got != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant\n%s", got, strings.TrimSpace(want))
	}
}

func TestFind(t *testing.T) {
	dir := home(t, map[string]string{".claude/projects/p/s.jsonl": "", ".config/claude/projects/x": "", ".codex/archived_sessions/x": "", "other/projects/x": "", "more/projects/x": "",
		".local/share/opencode/x": "", ".gemini/tmp/x": "", "codex/sessions/x": ""})
	tell := func(env map[string]string) string {
		var all []string
		for _, s := range Find(func(k string) string { return env[k] }, dir) {
			all = append(all, s.Agent+" "+strings.ReplaceAll(strings.Join(s.Dirs, " "), dir, "~"))
		}
		return strings.Join(all, "\n")
	}
	compare(t, tell(nil), `
claude ~/.config/claude/projects ~/.claude/projects
codex ~/.codex/archived_sessions
opencode ~/.local/share/opencode
gemini ~/.gemini/tmp`)
	compare(t, tell(map[string]string{"CLAUDE_CONFIG_DIR": "~/other, " + dir + "/more/projects,,/none", "CODEX_HOME": "~/codex", "OPENCODE_DATA_DIR": "/none", "GEMINI_DATA_DIR": "~"}), `
claude ~/other/projects ~/more/projects
codex ~/codex/sessions
gemini ~`)
	if got := Find(func(string) string { return "" }, t.TempDir()); got != nil {
		t.Errorf("%v", got)
	}
	if _, err := (Source{Agent: "nobody"}).Read(nil); err == nil {
		t.Error("anything can be read")
	}
}

// TestNothingLeadsOut has a history with everything in it that is not a log.
func TestNothingLeadsOut(t *testing.T) {
	line := claudeLine("m1", "r1", 5, "")
	dir := home(t, map[string]string{".claude/projects/p/a.jsonl": line, "secret/b.jsonl": claudeLine("m2", "r2", 7, ""), ".claude/projects/p/not.txt": claudeLine("m3", "r3", 9, "")})
	projects := filepath.Join(dir, ".claude/projects")
	for name, to := range map[string]string{"p/out.jsonl": filepath.Join(dir, "secret/b.jsonl"), "out": filepath.Join(dir, "secret"), "p/again.jsonl": "a.jsonl"} {
		if err := os.Symlink(to, filepath.Join(projects, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(projects, "pipe.jsonl"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(projects, "dir.jsonl"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, skipped := read(t, dir)
	compare(t, got, "11-20T14:46:26 s claude-opus-4-8 m1 in 5 write 0+0 read 0 out 1 think 0 search 0 $?")
	if skipped.Files+skipped.Lines+skipped.Long+skipped.Duplicates != 0 {
		t.Errorf("%+v", skipped)
	}
	// What takes a log's place after it was listed is refused too.
	root, err := os.OpenRoot(projects)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"p/out.jsonl", "pipe.jsonl", "dir.jsonl", "../../secret/b.jsonl", "out/b.jsonl"} {
		if f, err := (file{root: root, path: name}).open(); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
}

// TestPartsHaveEveryLineOnce compares with a plain reading, over lines of all lengths around the borders of the parts.
func TestPartsHaveEveryLineOnce(t *testing.T) {
	var text strings.Builder
	want := int64(0)
	for i := range 40 {
		// The border of a part lies at every place of a line for some i.
		filler := strings.Repeat("x", partSize/3-200+i)
		text.WriteString(claudeLine(fmt.Sprint("m", i), "r", i+1, filler))
		want += int64(i + 1)
	}
	text.WriteString("\n\n" + claudeLine("long", "r", 1000, strings.Repeat("y", maxLine)) + claudeLine("last", "r", 100, ""))
	want += 100
	dir := home(t, map[string]string{".claude/projects/p/a.jsonl": strings.TrimSuffix(text.String(), "\n")})
	sum := int64(0)
	skipped, err := Claude([]string{filepath.Join(dir, ".claude/projects")}, func(c usage.Call) bool { sum += c.Input; return true })
	if err != nil || sum != want || skipped.Long != 1 || skipped.Lines+skipped.Duplicates != 0 {
		t.Errorf("%d, not %d; %+v, %v", sum, want, skipped, err)
	}
}

func TestSessionsAreNamedAfterTheirFiles(t *testing.T) {
	line := func(message string) string {
		return strings.Replace(claudeLine(message, "r", 1, ""), `"sessionId":"s",`, "", 1)
	}
	dir := home(t, map[string]string{".claude/projects/p/a.jsonl": line("1"), ".claude/projects/p/b/subagents/x.jsonl": line("2"), ".claude/projects/p/c/x.jsonl": line("3"),
		".claude/projects/p/\x1b[31m\xff.jsonl": line("4"), ".claude/projects/d.jsonl": line("5")})
	got, _ := read(t, dir)
	var sessions []string
	for l := range strings.Lines(got) {
		sessions = append(sessions, strings.Join([]string{strings.Fields(l)[1], strings.Fields(l)[3]}, " "))
	}
	if want := []string{"?[31m\ufffd 4", "a 1", "b 2", "c 3", "d 5"}; !slices.Equal(sessions, want) {
		t.Errorf("%q, not %q", sessions, want)
	}
}

func TestYieldMayStop(t *testing.T) {
	dir := home(t, map[string]string{".codex/sessions/a.jsonl": codexLog, ".claude/projects/p/a.jsonl": claudeLine("a", "r", 1, "") + claudeLine("b", "r", 1, "")})
	for _, s := range Find(func(string) string { return "" }, dir) {
		n := 0
		if _, err := s.Read(func(usage.Call) bool { n++; return false }); err != nil || n != 1 {
			t.Errorf("%s: %d, %v", s.Agent, n, err)
		}
	}
}
