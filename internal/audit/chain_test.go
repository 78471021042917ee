package audit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// record is the lines of a record of n events, without their ends.
func record(t testing.TB, n int) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f, err := OpenFile(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range n {
		if err := f.Record(Event{Kind: KindConnect, Host: "a.test", Verdict: "deny"}); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func verify(lines []string) (Chain, error) {
	text := strings.Join(lines, "\n")
	if len(lines) > 0 {
		text += "\n"
	}
	return Verify(strings.NewReader(""), iotest.OneByteReader(strings.NewReader(text)))
}

func TestVerify(t *testing.T) {
	lines := record(t, 6)
	whole, err := verify(lines)
	if want := (Chain{Lines: 6, First: 1, Last: 6, Hash: hashLine([]byte(lines[5]))}); err != nil || whole != want {
		t.Fatalf("%+v, %v", whole, err)
	}
	if strings.Contains(lines[0], `"prev"`) {
		t.Errorf("the very first line has a hash: %s", lines[0])
	}
	if c, err := verify(nil); err != nil || c != (Chain{}) {
		t.Errorf("an empty record: %+v, %v", c, err)
	}
	if c, err := Verify(strings.NewReader(strings.Join(lines[2:], "\n")+"\n"), strings.NewReader("")); err != nil || c.First != 3 || c.Unchained != 0 || c.Hash != whole.Hash {
		t.Errorf("a record whose beginning is not kept: %+v, %v", c, err)
	}
	c, err := Verify(strings.NewReader(lines[0]+"\n"+lines[1]), strings.NewReader(lines[2]+"\n"))
	if b := (*Break)(nil); !errors.As(err, &b) || b.File != 0 || b.Line != 2 {
		t.Errorf("an older file without an end: %+v, %v", c, err)
	}
	if c, err := Verify(strings.NewReader(lines[0] + "\n" + lines[1])); err != nil || c.Lines != 1 || !c.Torn {
		t.Errorf("half a line at the end: %+v, %v", c, err)
	}
	broken := errors.New("input/output error")
	if _, err := Verify(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

func TestVerifyFindsTheFirstLineThatDoesNotFit(t *testing.T) {
	lines := record(t, 6)
	for name, tt := range map[string]struct {
		change func(l []string) []string
		line   int
	}{
		"a changed line":           {func(l []string) []string { l[2] = strings.Replace(l[2], "deny", "allow", 1); return l }, 4},
		"one more space":           {func(l []string) []string { l[2] = " " + l[2]; return l }, 4},
		"a removed line":           {func(l []string) []string { return slices.Delete(l, 2, 3) }, 3},
		"removed first lines":      {func(l []string) []string { return l[2:] }, 1},
		"a removed second line":    {func(l []string) []string { return append(l[:1], l[2:]...) }, 2},
		"an inserted line":         {func(l []string) []string { return slices.Insert(l, 3, l[2]) }, 4},
		"two that changed places":  {func(l []string) []string { l[2], l[3] = l[3], l[2]; return l }, 3},
		"a renumbered insertion":   {func(l []string) []string { l[3] = strings.Replace(l[2], `"seq":3`, `"seq":4`, 1); return l }, 4},
		"a hash that is gone":      {func(l []string) []string { l[3] = strings.Replace(l[3], `"prev"`, `"other"`, 1); return l }, 4},
		"what is no JSON":          {func(l []string) []string { l[3] = "x"; return l }, 4},
		"what is no event":         {func(l []string) []string { l[3] = "{}"; return l }, 4},
		"an empty line":            {func(l []string) []string { l[3] = ""; return l }, 4},
		"a line that is too long":  {func(l []string) []string { l[3] += strings.Repeat(" ", MaxLine); return l }, 4},
		"a first line with a hash": {func(l []string) []string { l[0] = strings.Replace(l[0], `,"kind"`, `,"prev":"00","kind"`, 1); return l }, 1},
		"a second beginning":       {func(l []string) []string { return append(l, lines[0]) }, 7},
	} {
		var b *Break
		if c, err := verify(tt.change(slices.Clone(lines))); !errors.As(err, &b) || b.File != 1 || b.Line != tt.line || c != (Chain{}) {
			t.Errorf("%s: %+v, %v; want line %d", name, c, err, tt.line)
		}
	}
}

// The end of a record is what only its last hash can vouch for, kept elsewhere.
func TestTheLastHashTellsOfTheEnd(t *testing.T) {
	lines := record(t, 6)
	whole, _ := verify(lines)
	for name, changed := range map[string][]string{
		"the last line is changed": append(slices.Clone(lines[:5]), strings.Replace(lines[5], "deny", "allow", 1)),
		"the last line is removed": lines[:5],
	} {
		if c, err := verify(changed); err != nil || c.Hash == whole.Hash {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestTheChainGoesOnOverRotationsAndRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	var hash string
	for run := range 40 {
		f := open(t, path, 2000)
		for range 1 + run%5 {
			if err := f.Record(Event{Host: "a.test", Verdict: "deny"}); err != nil {
				t.Fatal(err)
			}
		}
		_ = f.Close()
		switch run % 4 {
		case 1: // cut off within a line
			text, _ := os.ReadFile(path)
			if err := os.WriteFile(path, append(text, `{"time":"20`...), 0o600); err != nil {
				t.Fatal(err)
			}
		case 2: // killed within a rotation
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
		}
		c := verifyFiles(t, path)
		if c.Unchained != 0 || c.Hash == hash {
			t.Fatalf("run %d: %+v", run, c)
		}
		hash = c.Hash
	}
}

func verifyFiles(t *testing.T, path string) Chain {
	t.Helper()
	var files []io.Reader
	for _, p := range []string{path + ".1", path} {
		text, err := os.ReadFile(p)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		files = append(files, bytes.NewReader(text))
	}
	c, err := Verify(files...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnOlderRecordIsContinued(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	const old = `{"time":"2026-01-02T03:04:05Z","seq":1,"kind":"connect","verdict":"deny"}
{"time":"2026-01-02T03:04:05Z","seq":2,"kind":"connect","verdict":"deny"}
{"time":"2026-01-02T03:04:05Z","seq":3,"kind":"connect","verdict":"deny"}
`
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := verifyFiles(t, path); c.Unchained != 3 {
		t.Errorf("%+v", c)
	}
	f := open(t, path, 1<<20)
	for range 3 {
		if err := f.Record(Event{Verdict: "deny"}); err != nil {
			t.Fatal(err)
		}
	}
	// The third is covered by the hash in the fourth.
	if c := verifyFiles(t, path); c.Lines != 6 || c.Unchained != 2 {
		t.Errorf("%+v", c)
	}
	text, _ := os.ReadFile(path)
	for changed, found := range map[string]bool{`"seq":3,"kind":"wish"`: true, `"seq":2,"kind":"wish"`: false} {
		_, err := Verify(strings.NewReader(strings.Replace(string(text), strings.Replace(changed, "wish", "connect", 1), changed, 1)))
		if (err != nil) != found {
			t.Errorf("%s: %v", changed, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	lines := record(f, 3)
	f.Add(strings.Join(lines, "\n")+"\n", "")
	f.Add(lines[0]+"\n", lines[1]+"\n"+lines[2])
	f.Add("{}\n", "\x00")
	f.Fuzz(func(t *testing.T, older, newer string) {
		c, err := Verify(strings.NewReader(older), strings.NewReader(newer))
		var b *Break
		if err != nil {
			if !errors.As(err, &b) || b.Line < 1 || b.Why == "" || c != (Chain{}) {
				t.Fatalf("%+v, %v", c, err)
			}
			return
		}
		if c.Lines > 0 && (c.Last-c.First != c.Lines-1 || len(c.Hash) != 64 || c.Unchained > c.Lines) {
			t.Fatalf("%+v", c)
		}
		// In a record that fits, no byte but the last line's can be changed unseen.
		if c.Lines > 1 && c.Unchained == 0 && older != "" && strings.Count(older, "\n") > 0 && strings.Count(newer, "\n") > 0 {
			if again, err := Verify(strings.NewReader(" "+older), strings.NewReader(newer)); err == nil {
				t.Fatalf("%+v is %+v with a byte more", c, again)
			}
		}
	})
}
