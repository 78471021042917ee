package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// killAt names the step at which TestMain's child kills itself; killStore is the store it works on.
const killAt, killStore = "BAILEY_TEST_KILL_AT", "BAILEY_TEST_STORE"

func TestMain(m *testing.M) {
	if at := os.Getenv(killAt); at != "" {
		dieAt(at)
	}
	os.Exit(m.Run())
}

// dieAt creates and removes the sandbox "victim" and gets killed at the given step.
func dieAt(at string) {
	s, err := Open(dirsIn(os.Getenv(killStore)))
	if err != nil {
		panic(err)
	}
	s.step = func(step string) error {
		if step == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
	sb, err := s.Create(Record{Name: "victim"})
	if err != nil {
		panic(err)
	}
	if err := sb.Remove(); err != nil {
		panic(err)
	}
	os.Exit(0)
}

func dirsIn(dir string) Dirs {
	return Dirs{State: dir + "/state/bailey", Data: dir + "/data/bailey", Config: dir + "/config/bailey"}
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(dirsIn(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *Store, name string) *Sandbox {
	t.Helper()
	sb, err := s.Create(Record{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return sb
}

func names(t *testing.T, s *Store) (good, bad []string) {
	t.Helper()
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Sandbox == nil || e.Sandbox.Dir != s.Dir(e.Name) {
			t.Errorf("entry %q has no sandbox with a directory", e.Name)
		}
		if e.Err == nil {
			good = append(good, e.Name)
		} else {
			bad = append(bad, e.Name)
		}
	}
	return good, bad
}

func TestRecordSurvivesTheRoundTrip(t *testing.T) {
	s := newStore(t)
	asked := Record{Name: "a-b", Agent: "claude", Args: []string{"-p", "x y"}, Env: []string{"A=\n\""},
		Workspaces: []Workspace{{Path: "/p, q:r", ReadOnly: true}}, Volumes: []Volume{{Host: "/h", Guest: "/g"}},
		Allow: []string{"example.test:443"}, Limits: sandbox.Limits{CPUs: 1.5, Memory: 1 << 40}}
	made, err := s.Create(asked)
	if err != nil {
		t.Fatal(err)
	}
	if len(made.MachineID) != 32 || made.Created.IsZero() || made.Version != recordVersion {
		t.Errorf("Create filled in %+v", made.Record)
	}
	read, err := s.Load("a-b")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read.Record, made.Record) {
		t.Errorf("read  %+v\nwrote %+v", read.Record, made.Record)
	}
	next := read.Record
	next.Allow = append(next.Allow, "other.test")
	if err := read.Save(next); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Load("a-b"); err != nil || !reflect.DeepEqual(again.Record, next) {
		t.Errorf("after Save: %+v, %v", again.Record, err)
	}
	next.Name = "other"
	if err := read.Save(next); err == nil {
		t.Error("Save accepted another name")
	}
	if left, _ := os.ReadDir(read.Dir); len(left) != 1 {
		t.Errorf("Save left %v", left)
	}
	if _, err := s.Load("absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Load of nothing: %v", err)
	}
	if _, err := s.Load("../a-b"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("Load of a path: %v", err)
	}
}

func TestEverythingIsPrivate(t *testing.T) {
	s := newStore(t)
	sb := create(t, s, "x")
	if _, err := sb.TryLock(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err := filepath.WalkDir(s.dirs.State, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen++
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || seen < 5 {
		t.Errorf("saw %d files, %v", seen, err)
	}
}

func TestOneOfFiftyCreatesWins(t *testing.T) {
	s := newStore(t)
	var wg sync.WaitGroup
	errs := make(chan error, 50)
	for range 50 {
		wg.Go(func() {
			_, err := s.Create(Record{Name: "same"})
			errs <- err
		})
	}
	wg.Wait()
	won := 0
	for range 50 {
		if err := <-errs; err == nil {
			won++
		} else if !errors.Is(err, ErrExists) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d won", won)
	}
	if good, bad := names(t, s); len(good) != 1 || len(bad) != 0 {
		t.Errorf("listed %v, damaged %v", good, bad)
	}
}

func TestDamageStaysInOneRecord(t *testing.T) {
	s := newStore(t)
	create(t, s, "fine")
	valid, err := os.ReadFile(filepath.Join(s.Dir("fine"), RecordFile))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(valid), `"fine"`, `"hurt"`)
	damage := map[string]string{
		"empty":                      "",
		"truncated":                  text[:len(text)/2],
		"zeroed":                     strings.Repeat("\x00", len(text)),
		"of an unknown version":      strings.Replace(text, `"version": 1`, `"version": 2`, 1),
		"without a version":          strings.Replace(text, `"version": 1,`, ``, 1),
		"with an unknown field":      strings.Replace(text, `"version": 1,`, `"version": 1, "network_off": true,`, 1),
		"of another sandbox":         string(valid),
		"with a relative workspace":  strings.Replace(text, `"version": 1,`, `"version": 1, "workspaces": [{"path": "../x"}],`, 1),
		"with something after it":    text + "{}",
		"as long as memory":          text + strings.Repeat(" ", maxRecord),
		"which is the one undamaged": text,
	}
	for what, content := range damage {
		t.Run("a record "+what, func(t *testing.T) {
			create(t, s, "hurt")
			if err := os.WriteFile(filepath.Join(s.Dir("hurt"), RecordFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			sb, err := s.Load("hurt")
			if content == text {
				if err != nil {
					t.Fatalf("the control is refused: %v", err)
				}
			} else if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), s.Dir("hurt")+"/"+RecordFile) {
				t.Errorf("Load: %v", err)
			} else if good, bad := names(t, s); len(good) != 1 || len(bad) != 1 {
				t.Errorf("listed %v, damaged %v", good, bad)
			}
			if err := sb.Remove(); err != nil {
				t.Errorf("Remove: %v", err)
			}
		})
	}
	if good, bad := names(t, s); len(good) != 1 || len(bad) != 0 {
		t.Errorf("at the end: listed %v, damaged %v", good, bad)
	}
}

func TestKilledAtEveryStep(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for step, want := range map[string]int{"state.made": 0, "state.written": 0, "state.renamed": 1, "state.aside": 0} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			child := exec.Command(exe)
			child.Env = append(os.Environ(), killAt+"="+step, killStore+"="+dir)
			out, err := child.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("child was not killed: %v\n%s", err, out)
			}
			s, err := Open(dirsIn(dir))
			if err != nil {
				t.Fatal(err)
			}
			if good, bad := names(t, s); len(good) != want || len(bad) != 0 {
				t.Errorf("listed %v, damaged %v", good, bad)
			}
			before, _ := os.ReadDir(s.root)
			if len(before) != 1 {
				t.Errorf("the kill left %v, expected one directory", before)
			}
			if err := s.Sweep(); err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(s.root); len(left) != want {
				t.Errorf("after Sweep: %v", left)
			}
			sb, err := s.Load("victim")
			if want == 0 {
				sb, err = s.Create(Record{Name: "victim"})
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := sb.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLockTellsWhoLives(t *testing.T) {
	s := newStore(t)
	sb := create(t, s, "x")
	expectHeld := func(want bool, wantPID int) {
		t.Helper()
		if held, pid, err := sb.Locked(); err != nil || held != want || pid != wantPID {
			t.Errorf("Locked() = %v, %d, %v", held, pid, err)
		}
	}
	expectHeld(false, 0)
	lock, err := sb.TryLock()
	if err != nil {
		t.Fatal(err)
	}
	expectHeld(true, os.Getpid())
	other, err := s.Load("x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.TryLock(); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second TryLock: %v", err)
	}
	if err := other.Remove(); !errors.Is(err, ErrLocked) {
		t.Errorf("Remove by another: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := other.Lock(ctx); !errors.Is(err, ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock with a deadline: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	expectHeld(false, 0)
	if _, err := other.Lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := other.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := sb.TryLock(); !errors.Is(err, ErrNotFound) {
		t.Errorf("TryLock of a removed sandbox: %v", err)
	}
}

func TestRemoveTakesAllAndFollowsNothing(t *testing.T) {
	s := newStore(t)
	sb := create(t, s, "x")
	outside := filepath.Join(t.TempDir(), "outside")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(outside, 0o755))
	must(os.WriteFile(outside+"/kept", nil, 0o644))
	work := sb.Dir + "/layers/work/work"
	must(os.MkdirAll(work+"/inner", 0o700))
	must(os.Symlink(outside, work+"/link"))
	must(os.Symlink(outside, sb.Dir+"/home"))
	must(os.Chmod(work+"/inner", 0))
	must(os.Chmod(work, 0))
	must(sb.Remove())
	if left, err := os.ReadDir(s.root); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("outside became %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(outside + "/kept"); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeDeletedIsReportedAndSweptLater(t *testing.T) {
	s := newStore(t)
	sb := create(t, s, "x")
	stuck := sb.Dir + "/layers/stuck"
	if err := os.MkdirAll(stuck, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(stuck, 12345, 12345); err != nil {
		t.Skip("needs root to make another user's file")
	}
	if out, err := exec.Command("chattr", "+i", stuck).CombinedOutput(); err != nil {
		t.Skipf("needs a file system with immutable files: %s", out)
	}
	err := sb.Remove()
	var left *LeftoverError
	if !errors.As(err, &left) || len(left.Foreign) != 1 || !strings.HasSuffix(left.Foreign[0], "/layers/stuck") {
		t.Fatalf("Remove: %v", err)
	}
	defer exec.Command("chattr", "-i", left.Foreign[0]).Run()
	if good, bad := names(t, s); len(good)+len(bad) != 0 {
		t.Errorf("still listed: %v, %v", good, bad)
	}
	create(t, s, "x") // the name is free
	if err := s.Sweep(); !errors.As(err, &left) {
		t.Errorf("Sweep: %v", err)
	}
	if out, err := exec.Command("chattr", "-i", left.Foreign[0]).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	if err := s.Sweep(); err != nil {
		t.Errorf("last Sweep: %v", err)
	}
	if rest, err := os.ReadDir(s.root); err != nil || len(rest) != 1 {
		t.Errorf("left %v, %v", rest, err)
	}
}
