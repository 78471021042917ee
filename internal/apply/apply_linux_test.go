package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/changes"
)

// TestMain is also the process that the tests kill: with the variable set it applies the difference between two
// directories.
func TestMain(m *testing.M) {
	if args := os.Getenv("APPLY_FROM_TO"); args != "" {
		var p [3]string
		if err := json.Unmarshal([]byte(args), &p); err != nil {
			panic(err)
		}
		list, err := changes.Trees(context.Background(), p[1], p[2])
		if err != nil {
			panic(err)
		}
		fmt.Println("applying")
		if err := Run(context.Background(), p[0], Target{Dir: p[1]}, ops(list, p[2])); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ops is the whole of a difference.
func ops(list changes.List, after string) []Op {
	var all []Op
	for _, c := range list.Changes {
		open := func() (io.ReadCloser, error) { return os.Open(filepath.Join(after, c.Path)) }
		if c.From != "" {
			all = append(all, Op{Path: c.From, Old: c.Old}, Op{Path: c.Path, New: c.New, Open: open})
			continue
		}
		all = append(all, Op{Path: c.Path, Old: c.Old, New: c.New, Open: open})
	}
	return all
}

func dir(t *testing.T) string {
	t.Helper()
	d, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// grow makes a random tree: odd names, modes, links, empty directories, kinds that change.
func grow(t *testing.T, r *rand.Rand, root string, depth int) {
	t.Helper()
	names := []string{"a", "b", "c d", "\xff\xfe", "new\nline", "-x", ".hid", "ü", "*", strings.Repeat("l", 255)}
	for range r.IntN(6) {
		path := filepath.Join(root, names[r.IntN(len(names))])
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		var err error
		switch r.IntN(5) {
		case 0:
			if err = os.Symlink([]string{"a", "../..", "/etc/passwd", "loop"}[r.IntN(4)], path); err != nil {
				t.Fatal(err)
			}
		case 1, 2:
			if depth == 0 {
				continue
			}
			if err = os.Mkdir(path, 0o755); err == nil {
				grow(t, r, path, depth-1)
				err = os.Chmod(path, []fs.FileMode{0o755, 0o700, 0o775}[r.IntN(3)])
			}
		default:
			content := bytes.Repeat([]byte{byte(r.IntN(3))}, r.IntN(4)*r.IntN(2000))
			if err = os.WriteFile(path, content, 0o644); err == nil {
				err = os.Chmod(path, []fs.FileMode{0o644, 0o755, 0o600, 0o444}[r.IntN(4)])
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	list, err := changes.Trees(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Changes)+len(list.Repositories) == 0
}

func TestWhatDiffersIsAppliedExactly(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 300 {
		before, after, own := dir(t), dir(t), dir(t)
		grow(t, r, before, 3)
		if i%2 == 0 { // otherwise nothing is as it was
			if out, err := exec.Command("cp", "-a", before+"/.", after).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		grow(t, r, after, 3)
		list, err := changes.Trees(t.Context(), before, after)
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			list.JoinRenames()
		}
		if err := Run(t.Context(), own, Target{Dir: before}, ops(list, after)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if !same(t, before, after) {
			out, _ := exec.Command("diff", "-r", "--no-dereference", before, after).CombinedOutput()
			t.Fatalf("%d: they still differ: %s", i, out)
		}
		if left, _ := os.ReadDir(own); len(left) != 0 {
			t.Fatalf("%d: %v is left", i, left)
		}
	}
}

// fixture is a project, what it should become, and an apply's own directory.
func fixture(t *testing.T) (before, after, own string, all []Op) {
	t.Helper()
	before, after, own = dir(t), dir(t), dir(t)
	for path, content := range map[string]string{"kept": "k", "edited": "old", "gone": "g", "sub/edited": "old"} {
		for _, d := range []string{before, after} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(d, path)), 0o755); err != nil {
				t.Fatal(err)
			}
			if d == after && content == "old" {
				content = "new"
			}
			if d == before || path != "gone" {
				write(t, filepath.Join(d, path), content)
			}
		}
	}
	write(t, filepath.Join(after, "added"), "a")
	list, err := changes.Trees(t.Context(), before, after)
	if err != nil || len(list.Changes) != 4 {
		t.Fatalf("%v, %v", list, err)
	}
	return before, after, own, ops(list, after)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAConflictChangesNothing(t *testing.T) {
	for name, meddle := range map[string]func(t *testing.T, before string){
		"edited":                  func(t *testing.T, d string) { write(t, filepath.Join(d, "edited"), "the user's") },
		"of another mode":         func(t *testing.T, d string) { _ = os.Chmod(filepath.Join(d, "edited"), 0o600) },
		"removed":                 func(t *testing.T, d string) { _ = os.Remove(filepath.Join(d, "sub/edited")) },
		"edited, to be removed":   func(t *testing.T, d string) { write(t, filepath.Join(d, "gone"), "the user's") },
		"there already":           func(t *testing.T, d string) { write(t, filepath.Join(d, "added"), "the user's") },
		"a link to a file inside": func(t *testing.T, d string) { link(t, "kept", filepath.Join(d, "edited")) },
		"behind a link out": func(t *testing.T, d string) {
			out := t.TempDir()
			write(t, filepath.Join(out, "edited"), "old")
			link(t, out, filepath.Join(d, "sub"))
		},
		"a directory now": func(t *testing.T, d string) {
			_ = os.Remove(filepath.Join(d, "edited"))
			_ = os.Mkdir(filepath.Join(d, "edited"), 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, _, own, all := fixture(t)
			meddle(t, before)
			control := dir(t)
			if out, err := exec.Command("cp", "-a", before+"/.", control).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			err := Run(t.Context(), own, Target{Dir: before}, all)
			var conflict *ConflictError
			if !errors.As(err, &conflict) {
				t.Errorf("the error is %v", err)
			}
			if !same(t, before, control) {
				t.Error("the project has changed")
			}
			if left, _ := os.ReadDir(own); len(left) != 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
	before, after, own, all := fixture(t) // the control
	if err := Run(t.Context(), own, Target{Dir: before}, all); err != nil || !same(t, before, after) {
		t.Errorf("without a conflict: %v", err)
	}
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.RemoveAll(at); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func TestContentThatIsNotWhatWasShownIsRefused(t *testing.T) {
	before, after, own, all := fixture(t)
	control := dir(t)
	if out, err := exec.Command("cp", "-a", before+"/.", control).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write(t, filepath.Join(after, "edited"), "evil")
	var conflict *ConflictError
	if err := Run(t.Context(), own, Target{Dir: before}, all); !errors.As(err, &conflict) || conflict.Path != "edited" {
		t.Errorf("the error is %v", err)
	}
	if !same(t, before, control) {
		t.Error("the project has changed")
	}
}

func TestOddPathsAreRefused(t *testing.T) {
	file := changes.Entry{Kind: changes.File}
	for _, path := range []string{"", "/etc/x", "../x", "a/../../x", "a//b", "./a", ".git/hooks/post-checkout", "sub/.GIT/config", "a\x00b"} {
		if err := Run(t.Context(), dir(t), Target{Dir: dir(t)}, []Op{{Path: path, New: file}}); err == nil {
			t.Errorf("%q was applied", path)
		}
	}
	for _, kind := range []changes.Kind{changes.Special, changes.Unreadable} {
		if err := Run(t.Context(), dir(t), Target{Dir: dir(t)}, []Op{{Path: "x", New: changes.Entry{Kind: kind}}}); err == nil {
			t.Errorf("a %s was applied", kind)
		}
	}
}

// number is what a variable of the environment says, for long runs.
func number(t *testing.T, variable string, usual int) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(variable))
	if err != nil {
		return usual
	}
	return n
}

// TestKilledAppliesAreAllOrNothing kills an apply at random moments.
func TestKilledAppliesAreAllOrNothing(t *testing.T) {
	files, kills := number(t, "BAILEY_APPLY_FILES", 1000), number(t, "BAILEY_APPLY_KILLS", 12)
	r := rand.New(rand.NewPCG(7, 8))
	before, want := dir(t), dir(t)
	for i := range files {
		sub := fmt.Sprint("d", i%30)
		for _, d := range []string{before, want} {
			_ = os.Mkdir(filepath.Join(d, sub), 0o755)
		}
		if i%3 != 0 {
			write(t, filepath.Join(before, sub, fmt.Sprint(i)), fmt.Sprint("old", i))
		}
		if i%3 != 1 {
			write(t, filepath.Join(want, sub, fmt.Sprint(i)), fmt.Sprint("new", i))
		}
	}
	copyOf := func() string {
		d := dir(t)
		if out, err := exec.Command("cp", "-a", before+"/.", d).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return d
	}
	// run returns how long the apply took to its journal, and from there to its end. It is killed that long after
	// its start or, with journaled, after its journal is there.
	run := func(own, target string, journaled bool, after time.Duration) (first, second time.Duration) {
		args, _ := json.Marshal([3]string{own, target, want})
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "APPLY_FROM_TO="+string(args))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if !journaled {
			time.Sleep(after)
			_ = cmd.Process.Kill()
		}
		for journaled {
			if _, err := os.Lstat(filepath.Join(own, journalFile)); err == nil {
				break
			}
			if time.Since(start) > time.Minute {
				t.Fatal("there is no journal")
			}
		}
		first = time.Since(start)
		if journaled && after > 0 {
			time.Sleep(after)
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		return first, time.Since(start) - first
	}
	control := copyOf()
	first, second := run(dir(t), control, true, 0)
	if !same(t, control, want) {
		t.Fatal("without being killed, the apply did not end")
	}
	halfway := 0
	for i := range kills {
		own, target := dir(t), copyOf()
		if i%3 == 0 {
			run(own, target, false, time.Duration(r.Float64()*float64(first)))
		} else {
			run(own, target, true, 1+time.Duration(r.Float64()*float64(second)))
		}
		did, err := Recover(own)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		switch is, was := same(t, target, want), same(t, target, before); {
		case did && !is:
			t.Fatalf("%d: recovered, and not what was applied", i)
		case !is && !was:
			t.Fatalf("%d: neither before nor after", i)
		}
		if did {
			halfway++
		}
		if left, _ := os.ReadDir(own); len(left) != 0 {
			t.Fatalf("%d: %v is left", i, left)
		}
	}
	if halfway == 0 {
		t.Errorf("no kill of %d was between the journal and the end", kills)
	}
	t.Logf("%d of %d kills were between the journal and the end", halfway, kills)
}

func TestSlotsAreOnTheTargetsOwnFileSystem(t *testing.T) {
	before, after, _, all := fixture(t)
	own, err := os.MkdirTemp("/dev/shm", "apply-")
	if err != nil {
		t.Skip("no second file system: ", err)
	}
	defer os.RemoveAll(own)
	if one, err := sameMount(own, before); err != nil || one {
		t.Skip("/dev/shm is on the same file system")
	}
	if err := Run(t.Context(), own, Target{Dir: before}, all); err != nil || !same(t, before, after) {
		t.Errorf("applied from another file system: %v", err)
	}
	// Killed before it began.
	slots, err := makeSlots(own, before)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(slots); err != nil || filepath.Dir(slots) != before {
		t.Fatalf("the slots are %s, %v", slots, err)
	}
	if did, err := Recover(own); did || err != nil || !same(t, before, after) {
		t.Errorf("recovered: %v, %v", did, err)
	}
}
