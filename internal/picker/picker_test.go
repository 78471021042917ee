package picker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/patch"
)

func model(rows, cols int) *Model {
	long := strings.Repeat("line\n", 10)
	old := "a\n" + long + "b\n" + long + "c\n"
	return New("review", []File{
		{Title: "A risky", Notes: []string{"executes: it runs"}, Risky: true, Hunks: patch.Hunks("", "x\n")},
		{Title: "M text", Hunks: patch.Hunks(old, "A\n"+long+"B\n"+long+"C\n"), Add: 3, Del: 3},
		{Title: "A \x1b[2Jbinary"},
		{Title: "A fifo", Blocked: true},
		{Title: "M wide", Hunks: patch.Hunks("x\n", "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字\n")},
	}, rows, cols)
}

func press(m *Model, keys ...string) {
	for _, k := range keys {
		m.Key(k)
	}
}

// taken says of each file what is taken: x all, / some, - nothing.
func taken(m *Model) string {
	var b strings.Builder
	for i := range m.files {
		switch _, all, some := m.Taken(i); {
		case all:
			b.WriteByte('x')
		case some:
			b.WriteByte('/')
		default:
			b.WriteByte('-')
		}
	}
	return b.String()
}

func TestDecisions(t *testing.T) {
	for _, c := range []struct {
		keys string
		want string
	}{
		{"", "-----"},
		{"A", "-xx-x"},
		{"y", "x----"},
		{"j n A", "--x-x"},
		{"j enter y", "-/---"},
		{"j enter n y y", "-/---"},
		{"j enter y y y", "-x---"},
		{"j enter y a", "-x---"},
		{"j enter a", "-x---"},
		{"j enter a K d", "-----"},
		{"j enter y d", "-/---"},
		{"j enter y u", "-----"},
		{"A u", "-----"},
		{"A y u u", "-----"},
		{"G k y", "-----"}, // a fifo cannot be taken
		{"j j y", "--x--"},
		{"/ c enter enter y", "-/---"}, // the last hunk of the second file, whose last line is a C
	} {
		m := model(24, 80)
		press(m, strings.Fields(c.keys)...)
		if got := taken(m); got != c.want {
			t.Errorf("%s: %s, not %s", c.keys, got, c.want)
		}
	}
}

func TestEnds(t *testing.T) {
	for keys, want := range map[string]Outcome{
		"q": Quit, "ctrl-c": Quit, "w": Open, "w y": Open, "A w": Open, "A w n": Open, "A w y": Apply, "A w ctrl-c": Quit, "/ q": Open, "? q": Open,
	} {
		m := model(24, 80)
		press(m, strings.Fields(keys)...)
		if m.Outcome() != want {
			t.Errorf("%s: %v, not %v", keys, m.Outcome(), want)
		}
	}
}

// TestEveryWindowIsFilledAndSafe goes through all keys in windows of all sizes.
func TestEveryWindowIsFilledAndSafe(t *testing.T) {
	keys := strings.Fields("enter s tab j j J s y u n J a K pgdn pgup J J tab esc j G k g ? x / a b backspace enter N A w n end home")
	for _, size := range [][2]int{{24, 80}, {5, 20}, {50, 200}, {1, 1}} {
		m := model(size[0], size[1])
		for i, k := range append([]string{""}, keys...) {
			m.Key(k)
			lines := m.View()
			if len(lines) != m.rows {
				t.Fatalf("%v, after %v: %d lines of %d", size, keys[:i], len(lines), m.rows)
			}
			for _, l := range lines {
				columns := 0
				for _, r := range l.Text {
					columns += runeWidth(r)
					if r < ' ' {
						t.Fatalf("%v, after %v: %q", size, keys[:i], l.Text)
					}
				}
				if columns > m.cols {
					t.Fatalf("%v, after %v: %d columns: %q", size, keys[:i], columns, l.Text)
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"y": "[y]", "\x1b[A\x1b[B": "[up down]", "\x1b": "[esc]", "ab\r": "[a b enter]", "\x03": "[ctrl-c]", "\x7f\t": "[backspace tab]", "ü漢": "[ü 漢]",
		"\x1b[200~evil": "[]", "\xff": "[]", "": "[]",
	} {
		if got := fmt.Sprint(Parse([]byte(in))); got != want {
			t.Errorf("%q: %s, not %s", in, got, want)
		}
	}
}

func TestSplittingAHunk(t *testing.T) {
	before, after := "1\n2\n3\n4\n", "one\n2\n3\nfour\n"
	m := New("t", []File{{Title: "M f", Hunks: patch.Hunks(before, after)}}, 24, 80)
	picked := func() string {
		hunks, _, _ := m.Taken(0)
		text, ok := patch.Pick(before, hunks)
		if !ok {
			t.Fatal("the hunks are not of this text")
		}
		return text
	}
	press(m, "s")
	if m.say == "" || len(m.files[0].Hunks) != 1 {
		t.Error("it is split in the list")
	}
	press(m, "enter", "s", "n", "y")
	if got := picked(); got != "1\n2\n3\nfour\n" {
		t.Errorf("the second part alone makes %q", got)
	}
	press(m, "s")
	if m.say != "this hunk has only one part" {
		t.Errorf("a part can be split: %q", m.say)
	}
	press(m, "u", "u", "u", "y")
	if got := picked(); got != after || len(m.files[0].Hunks) != 1 {
		t.Errorf("after undo, and y, it is %q of %d hunks", got, len(m.files[0].Hunks))
	}
}
