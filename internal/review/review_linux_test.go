package review

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/apply"
	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/changes/layertest"
	"github.com/bailey-sandbox/bailey/internal/patch"
	"github.com/bailey-sandbox/bailey/internal/risk"
)

// bench is a project, what an agent has made of it, and the means to look at both.
type bench struct {
	t *testing.T
	Place
}

func newBench(t *testing.T, project, layer map[string]string) *bench {
	t.Helper()
	root := t.TempDir()
	b := &bench{t, Place{Project: filepath.Join(root, "project"), Layer: filepath.Join(root, "layer"), Dir: filepath.Join(root, "review")}}
	for _, dir := range []string{b.Project, b.upper(), b.Dir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	layertest.Make(t, b.Project, project)
	time.Sleep(20 * time.Millisecond) // clocks of file systems are coarse
	b.Since = time.Now()
	layertest.Make(t, b.upper(), layer)
	return b
}

func (b *bench) read() *Review {
	b.t.Helper()
	r, err := Read(b.t.Context(), b.Place, risk.Assessor{})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// rounds is how often a race is run.
func rounds(t *testing.T) int {
	t.Helper()
	text, ok := os.LookupEnv("BAILEY_RACE_ROUNDS")
	if !ok {
		return 500
	}
	n, err := strconv.Atoi(text) // more of them in long runs
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// summary is one word for each item: its path, with ! where it cannot be applied and & where it was joined.
func summary(r *Review) string {
	var all []string
	for _, i := range r.Items {
		word := i.Path
		if i.From != "" {
			word = i.From + ">" + word
		}
		if i.Conflict != "" {
			word += "!"
		}
		if i.Joined {
			word += "&"
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

func (b *bench) want(want string) *Review {
	b.t.Helper()
	r := b.read()
	if got := summary(r); got != want {
		b.t.Errorf("to review is %q, not %q", got, want)
	}
	return r
}

// apply applies the items at the paths, all when there are none.
func (b *bench) apply(r *Review, paths ...string) {
	b.t.Helper()
	items, err := r.Select(paths)
	if err != nil {
		b.t.Fatal(err)
	}
	var choices []Choice
	for _, i := range items {
		choices = append(choices, Choice{Item: i})
	}
	if err := r.Apply(context.Background(), Owner{}, choices); err != nil {
		b.t.Fatal(err)
	}
}

// user and agent write a file, with some time between what each does.
func (b *bench) user(name, content string)  { b.write(b.Project, name, content) }
func (b *bench) agent(name, content string) { b.write(b.upper(), name, content) }

func (b *bench) write(root, name, content string) {
	b.t.Helper()
	time.Sleep(20 * time.Millisecond)
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) has(name, content string) {
	b.t.Helper()
	if got, err := os.ReadFile(filepath.Join(b.Project, name)); err != nil || string(got) != content {
		b.t.Errorf("the project's %s is %q, %v; not %q", name, got, err, content)
	}
}

const ten = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"

func TestWhatWasAppliedIsNotShownAgain(t *testing.T) {
	b := newBench(t, map[string]string{"a": "old", "gone": "g", "d/x": "x", "d/y": "y", "moved": "content"},
		map[string]string{"a": "new", "gone!": "", "d!": "", "n/m/f": "f", "moved!": "", "to/moved": "content"})
	r := b.want("a d/x d/y gone n/m/f moved>to/moved")
	b.apply(r)
	b.want("")
	b.has("a", "new")
	b.has("n/m/f", "f")
	b.has("to/moved", "content")
	for _, name := range []string{"gone", "d", "moved"} {
		if _, err := os.Lstat(filepath.Join(b.Project, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	// What the user does now is theirs, and the agent sees it after a restart.
	b.user("a", "the user's")
	b.want("")
	if err := b.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(b.upper()); slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "a" || e.Name() == "gone" }) {
		t.Errorf("the layer still has %v", entries)
	}
	b.want("")
}

func TestEditsOfBothAreJoinedOrAConflict(t *testing.T) {
	b := newBench(t, map[string]string{"f": ten, "g": ten}, nil)
	b.agent("f", strings.Replace(ten, "2\n", "two\n", 1))
	b.apply(b.want("f"))
	// The user edits one end, the agent the other.
	b.user("f", strings.Replace(strings.Replace(ten, "2\n", "two\n", 1), "10\n", "ten\n", 1))
	b.want("")
	b.agent("f", strings.Replace(strings.Replace(ten, "2\n", "two\n", 1), "4\n", "four\n", 1))
	b.apply(b.want("f&"))
	joined := "1\ntwo\n3\nfour\n5\n6\n7\n8\n9\nten\n"
	b.has("f", joined)
	b.want("")
	// The agent goes on from what it has, which is without the user's line.
	b.agent("f", strings.Replace(strings.Replace(strings.Replace(ten, "2\n", "two\n", 1), "4\n", "four\n", 1), "7\n", "seven\n", 1))
	b.apply(b.want("f&"))
	b.has("f", strings.Replace(joined, "7\n", "seven\n", 1))
	// Both change the same line.
	b.user("f", strings.Replace(strings.Replace(joined, "7\n", "seven\n", 1), "two", "TWO", 1))
	b.agent("f", strings.Replace(ten, "2\n", "zwei\n", 1))
	b.want("f!")
}

func TestAnEditOfTheUsersThatTheAgentNeverSawIsAConflict(t *testing.T) {
	b := newBench(t, map[string]string{"f": ten, "removed": "r"}, nil)
	b.agent("f", strings.Replace(ten, "2\n", "two\n", 1))
	b.user("f", ten+"11\n")
	r := b.want("f!")
	b.has("f", ten+"11\n")
	// Decided for the agent, it is what was shown.
	b.apply(r)
	b.has("f", strings.Replace(ten, "2\n", "two\n", 1))
	// One that the agent saw when it began is none.
	b = newBench(t, map[string]string{"f": ten}, nil)
	b.user("f", ten+"11\n")
	b.agent("f", "two\n"+ten+"11\n")
	b.want("f")
}

func TestHunksAreAppliedOneByOne(t *testing.T) {
	long := strings.Repeat("line\n", 20)
	old, now := "a\n"+long+"b\n"+long+"c\n", "A\n"+long+"B\n"+long+"C\n"
	b := newBench(t, map[string]string{"f": old}, map[string]string{"f": now})
	for _, step := range []struct {
		take []bool
		want string
	}{
		{[]bool{false, true, false}, "a\n" + long + "B\n" + long + "c\n"},
		{[]bool{true, false}, "A\n" + long + "B\n" + long + "c\n"},
		{[]bool{true}, now},
	} {
		r := b.want("f")
		before, after := r.Contents(r.Items[0])
		hunks := patch.Hunks(string(before), string(after))
		if len(hunks) != len(step.take) {
			t.Fatalf("there are %d hunks", len(hunks))
		}
		var taken []patch.Hunk
		for i, h := range hunks {
			if step.take[i] {
				taken = append(taken, h)
			}
		}
		if err := r.Apply(t.Context(), Owner{}, []Choice{{r.Items[0], taken}}); err != nil {
			t.Fatal(err)
		}
		b.has("f", step.want)
	}
	b.want("")
}

func TestOnlyWhatWasShownIsSeen(t *testing.T) {
	b := newBench(t, map[string]string{"a": "1", "b": "1"}, map[string]string{"a": "2", "b": "2"})
	r := b.read()
	if unseen, never, err := r.Unseen(r.Items); len(unseen) != 2 || !never || err != nil {
		t.Errorf("%v, %v, %v", unseen, never, err)
	}
	if err := r.Show(r.Items, true); err != nil {
		t.Fatal(err)
	}
	if unseen, never, err := b.read().Unseen(b.read().Items); len(unseen) != 0 || never || err != nil {
		t.Errorf("%v, %v, %v", unseen, never, err)
	}
	for name, meddle := range map[string]func(b *bench){
		"content": func(b *bench) { b.agent("a", "3") },
		"mode":    func(b *bench) { _ = os.Chmod(filepath.Join(b.upper(), "a"), 0o755) },
		"a link": func(b *bench) {
			_ = os.Remove(filepath.Join(b.upper(), "a"))
			_ = os.Symlink("b", filepath.Join(b.upper(), "a"))
		},
		"the project's": func(b *bench) { b.user("a", "mine") },
	} {
		b := newBench(t, map[string]string{"a": "1", "b": "1"}, map[string]string{"a": "2", "b": "2"})
		if err := b.read().Show(b.read().Items, true); err != nil {
			t.Fatal(err)
		}
		meddle(b)
		r := b.read()
		if unseen, _, err := r.Unseen(r.Items); len(unseen) != 1 || unseen[0].Path != "a" || err != nil {
			t.Errorf("%s: %v, %v", name, unseen, err)
		}
	}
}

// TestAnAgentThatKeepsWriting applies while a file is written again and again: what lands is what was read.
func TestAnAgentThatKeepsWriting(t *testing.T) {
	b := newBench(t, map[string]string{"f": "old", "other": "old"}, map[string]string{"f": "good", "other": "new"})
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		evil := filepath.Join(b.upper(), "f")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Remove(evil)
			switch i % 3 {
			case 0:
				_ = os.WriteFile(evil, []byte("evil"), 0o644)
			case 1:
				_ = os.Symlink("/etc/passwd", evil)
			default:
				_ = os.WriteFile(evil, []byte("good"), 0o644)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	conflicts, applied := 0, 0
	for range rounds(t) {
		r := b.read()
		i := slices.IndexFunc(r.Items, func(i Item) bool { return i.Path == "f" })
		if i < 0 || r.Items[i].New.Kind == changes.Unreadable {
			continue // as it was, between two writes, or in one
		}
		shown := r.Items[i]
		err := r.Apply(t.Context(), Owner{}, []Choice{{Item: shown}})
		var conflict *apply.ConflictError
		switch {
		case errors.As(err, &conflict):
			conflicts++
			b.has("f", "old")
		case err != nil:
			if !strings.Contains(err.Error(), "cannot write what") { // gone, or a link by now
				t.Fatal(err)
			}
			conflicts++
			b.has("f", "old")
		default:
			applied++
			info, err := os.Lstat(filepath.Join(b.Project, "f"))
			if err != nil && shown.New.Is() || err == nil && (info.Mode()&fs.ModeSymlink != 0) != (shown.New.Target != "") {
				t.Fatalf("%v was shown, and applied is %v, %v", shown.New, info, err)
			}
			if shown.New.Target == "" && shown.New.Is() {
				if got, err := os.ReadFile(filepath.Join(b.Project, "f")); err != nil || digest(got) != shown.New.Digest {
					t.Fatalf("%q landed, which was not shown: %v", got, err)
				}
			}
			// As it was, for the next time.
			_ = os.Remove(filepath.Join(b.Project, "f"))
			if err := os.WriteFile(filepath.Join(b.Project, "f"), []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(filepath.Join(b.Dir, basesFile))
			b.Since = time.Now().Add(time.Hour) // whatever the project has is what the agent began with
		}
	}
	if conflicts == 0 || applied == 0 {
		t.Errorf("%d conflicts, %d applied: the race was never run", conflicts, applied)
	}
	t.Logf("%d conflicts, %d applied", conflicts, applied)
}

func TestDiscarding(t *testing.T) {
	project := map[string]string{"a": "1", "b": "1", "d/x": "x", "d/y": "y", "e/z": "z", "m": "moved"}
	layer := map[string]string{"a": "2", "b!": "", "d!": "", "e/!": "", "e/new": "n", "n/f": "f", "m!": "", "to/m": "moved"}
	for _, c := range []struct {
		paths []string
		left  string
	}{
		{[]string{"a"}, "b d/x d/y e/new e/z n/f m>to/m"},
		{[]string{"a", "b", "n"}, "d/x d/y e/new e/z m>to/m"},
		{[]string{"d"}, "a b e/new e/z n/f m>to/m"},
		{[]string{"d/x"}, "a b d/y e/new e/z n/f m>to/m"},
		{[]string{"e/z"}, "a b d/x d/y e/new n/f m>to/m"},
		{[]string{"e"}, "a b d/x d/y n/f m>to/m"},
		{[]string{"m"}, "a b d/x d/y e/new e/z n/f"},
		{nil, ""},
	} {
		b := newBench(t, project, layer)
		r := b.want("a b d/x d/y e/new e/z n/f m>to/m")
		items, err := r.Select(c.paths)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Discard(items); err != nil {
			t.Fatal(err)
		}
		b.want(c.left)
		for name, content := range project {
			b.has(name, content)
		}
	}
}
