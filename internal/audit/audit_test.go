package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

func open(t *testing.T, path string, limit int64) *File {
	t.Helper()
	f, err := OpenFile(path, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// read returns the events of the files in order; every line must be one event.
func read(t *testing.T, paths ...string) []Event {
	t.Helper()
	var events []Event
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.Lines(string(data)) {
			var e Event
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				t.Fatalf("line %q: %v", text, err)
			}
			events = append(events, e)
		}
	}
	return events
}

func wantSequence(t *testing.T, events []Event, first, n uint64) {
	t.Helper()
	if uint64(len(events)) != n {
		t.Fatalf("%d events, want %d", len(events), n)
	}
	for i, e := range events {
		if e.Seq != first+uint64(i) {
			t.Fatalf("event %d has number %d, want %d", i, e.Seq, first+uint64(i))
		}
	}
}

func TestFileKeepsEveryEventOnceFromManyGoroutines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := open(t, path, 1<<30)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 100 {
				if err := f.Record(Event{Kind: KindConnect, Host: fmt.Sprintf("h%d-%d.test", i, j), Verdict: "deny"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	events := read(t, path)
	wantSequence(t, events, 1, 2000)
	seen := map[string]bool{}
	for _, e := range events {
		if seen[e.Host] || e.Time.IsZero() {
			t.Fatalf("event %+v", e)
		}
		seen[e.Host] = true
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
}

func TestFileContinuesItsNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := open(t, path, 1<<20)
	for range 3 {
		_ = f.Record(Event{Reason: strings.Repeat("\U0001f512", maxText), Host: strings.Repeat("\x80", maxText)})
	}
	_ = f.Close()
	if err := f.Record(Event{}); err == nil {
		t.Error("a closed record takes events")
	}
	full := open(t, path+"-full", 1)
	_ = full.Record(Event{})
	_ = full.Close()
	if err := full.Record(Event{}); err == nil {
		t.Error("a closed record takes an event that rotates it")
	}
	again := open(t, path, 1<<20)
	if err := again.Record(Event{}); err != nil {
		t.Fatal(err)
	}
	wantSequence(t, read(t, path), 1, 4)
}

func TestFileRemovesATornLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := open(t, path, 1<<20)
	_ = f.Record(Event{Host: "a.test"})
	_ = f.Record(Event{Host: "b.test"})
	whole, _ := os.ReadFile(path)
	first := bytes.IndexByte(whole, '\n') + 1
	for cut := first; cut < len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, path, 1<<20)
		if err := again.Record(Event{Host: "c.test"}); err != nil {
			t.Fatal(err)
		}
		wantSequence(t, read(t, path), 1, 2)
		_ = again.Close()
	}
	// A torn first line, and the zeros that a power cut leaves.
	for _, content := range []string{`{"time":"20`, string(whole[:first]) + "\x00\x00\x00"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, path, 1<<20)
		_ = again.Record(Event{})
		wantSequence(t, read(t, path), 1, uint64(1+strings.Count(content, "\n")))
	}
}

func TestFileRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := open(t, path, 2000)
	for range 100 {
		if err := f.Record(Event{Host: "a.test"}); err != nil {
			t.Fatal(err)
		}
	}
	events := read(t, path+".1", path)
	wantSequence(t, events, 101-uint64(len(events)), uint64(len(events)))
	for _, p := range []string{path, path + ".1"} {
		if info, err := os.Stat(p); err != nil || info.Size() > 2000 {
			t.Errorf("%s: %v bytes, %v", p, info.Size(), err)
		}
	}
	// Killed between the renaming and the new file.
	_ = f.Close()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	again := open(t, path, 2000)
	_ = again.Record(Event{})
	wantSequence(t, read(t, path), 101, 1)
}

func TestFileFailsAndRecovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	f := open(t, path, 200)
	if err := f.Record(Event{Host: "a.test"}); err != nil {
		t.Fatal(err)
	}
	// A directory in the way stops the rotation.
	if err := os.MkdirAll(filepath.Join(path+".1", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Record(Event{Host: strings.Repeat("a", 200)}); err == nil {
		t.Fatal("an event is recorded though the file could not be rotated")
	}
	if err := os.RemoveAll(path + ".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Record(Event{Host: strings.Repeat("a", 200)}); err != nil {
		t.Fatal(err)
	}
	wantSequence(t, read(t, path+".1", path), 1, 2)
	// Nor does a file that somebody removed stop it for good.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Record(Event{Host: strings.Repeat("a", 200)}); err != nil {
		t.Fatal(err)
	}
	wantSequence(t, read(t, path), 3, 1)
}

func TestOpenFileRefuses(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := OpenFile(victim, 1000); err != nil {
		t.Fatalf("control: an empty regular file: %v", err)
	} else {
		_ = f.Close()
	}
	paths := map[string]func(string) error{
		"a symbolic link":    func(p string) error { return os.Symlink(victim, p) },
		"a FIFO":             func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"a directory":        func(p string) error { return os.Mkdir(p, 0o700) },
		"another file's end": func(p string) error { return os.WriteFile(p, []byte("not ours\nnor this\n"), 0o600) },
	}
	for name, make := range paths {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := make(p); err != nil {
				t.Fatal(err)
			}
			if f, err := OpenFile(p, 1000); err == nil {
				_ = f.Close()
				t.Error("opened")
			}
		})
	}
	if _, err := OpenFile(filepath.Join(dir, "new"), 0); err == nil {
		t.Error("a record without a limit is opened")
	}
}

func TestLineIsHarmless(t *testing.T) {
	for _, s := range []string{"a\nb", "a\r", "\x1b]52;c;AAAA\x07", "\x7f", "\u0085\u009b31m", "\u2028\u2029", "\u202egro.live\u2066",
		"\u200b\ufeff\u00ad", "\U000e0041", "\xff\xfe", "</script>", `"}`, "日本語", strings.Repeat("é\n", 5000)} {
		text, err := line(Event{Host: s, Reason: s, Kind: Kind(s), Time: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range text[:len(text)-1] {
			if c < 0x20 || c > 0x7e {
				t.Fatalf("line for %q holds byte %#x", s, c)
			}
		}
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatalf("line for %q: %v", s, err)
		}
		if utf8.ValidString(s) && len(s) < maxText && e.Host != s {
			t.Errorf("%q comes back as %q", s, e.Host)
		}
		if len(text) > tail/4 {
			t.Errorf("line for %.20q is %d bytes long", s, len(text))
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\u2028b", "\x1b[31m")
	f.Fuzz(func(t *testing.T, host, reason string) {
		text, err := line(Event{Host: host, Reason: reason, Seq: 1, Time: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexFunc(text[:len(text)-1], func(r rune) bool { return r < 0x20 || r > 0x7e }) >= 0 || !json.Valid(text) || len(text) > tail {
			t.Fatalf("line %q", text)
		}
	})
}

type sink struct {
	events []Event
	err    error
}

func (s *sink) Record(e Event) error { s.events = append(s.events, e); return s.err }

func TestTee(t *testing.T) {
	broken, whole := &sink{err: errors.New("full")}, &sink{}
	if err := (Tee{broken, whole}).Record(Event{Host: "a.test"}); !errors.Is(err, broken.err) {
		t.Errorf("error is %v", err)
	}
	if len(whole.events) != 1 {
		t.Error("one sink's failure keeps the event from the next")
	}
	if err := (Tee{whole}).Record(Event{}); err != nil {
		t.Error(err)
	}
	if (Tee{}).Record(Event{}) == nil {
		t.Error("no sink records")
	}
}

func BenchmarkRecord(b *testing.B) {
	f, err := OpenFile(filepath.Join(b.TempDir(), "audit.jsonl"), 16<<20)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	e := Event{Kind: KindConnect, Host: "api.example.com", Port: 443, Addr: "93.184.215.14", Verdict: "allow", Rule: "*.example.com", Reason: "api.example.com:443 is allowed"}
	for b.Loop() {
		if err := f.Record(e); err != nil {
			b.Fatal(err)
		}
	}
}
