package vt

import (
	"bytes"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// filtered is what is left of text, cut into parts of n bytes.
func filtered(interactive bool, text string, n int) (string, *Filter) {
	var out bytes.Buffer
	f := &Filter{W: &out, Interactive: interactive}
	for part := range slices.Chunk([]byte(text), n) {
		if written, err := f.Write(part); written != len(part) || err != nil {
			panic(err)
		}
	}
	return out.String(), f
}

func TestWhatDrawsPasses(t *testing.T) {
	for name, text := range map[string]string{
		"text":                       "plain äöü 漢字 👩‍💻 \u202eabc\r\n\tx\b\a\f",
		"colours":                    "\x1b[1;38;2;1;2;3;48:5:17mx\x1b[0m\x1b[4:3mx\x1b[m",
		"the cursor":                 "\x1b[H\x1b[2;3H\x1b[5A\x1b[s\x1b[u\x1b7\x1b8\x1bM\x1bD\x1bE\x1b[3 q",
		"clearing":                   "\x1b[2J\x1b[3J\x1b[K\x1b[?2J\x1bc",
		"scrolling":                  "\x1b[2;10r\x1b[3S\x1b[T\x1b[2L\x1b[2M\x1b[2P\x1b[2@\x1b[2X\x1b[5b",
		"screens and modes":          "\x1b[?1049h\x1b[?25l\x1b[?2026h\x1b[?1;2004;1004h\x1b[?1002;1006h\x1b[4h\x1b[4l\x1b[?7l",
		"line drawing":               "\x1b(0lqk\x1b(B\x1b)0\x0elqk\x0f",
		"kitty's keyboard":           "\x1b[>1u\x1b[=5;1u\x1b[<u",
		"xterm's modified keys":      "\x1b[>4;2m\x1b[>4m",
		"a title":                    "\x1b[22;0t\x1b]0;claude: größer\a\x1b]2;x\x1b\\",
		"a link":                     "\x1b]8;id=1;https://example.com/a?b=c\x1b\\here\x1b]8;;\x1b\\",
		"progress and notifications": "\x1b]9;4;1;50\a\x1b]9;done\a\x1b]777;notify;a;b\a",
		"colours of the terminal":    "\x1b]11;#000000\a\x1b]111\a\x1b]12;red\x1b\\\x1b]112\a",
		"a control in a sequence":    "\r\x1b[2J",
	} {
		for n := range len(text) {
			if got, _ := filtered(true, text, n+1); got != text {
				t.Errorf("%s, in parts of %d: %q became %q", name, n+1, text, got)
			}
		}
	}
}

// TestWhatDrawsPassesWithoutAKeyboard is the control of what is dropped there.
func TestWhatDrawsPassesWithoutAKeyboard(t *testing.T) {
	const text = "\x1b[?1049h\x1b[31mx\x1b[2J\x1b[?25l\x1b[?2004h"
	if got, _ := filtered(false, text, 1); got != text {
		t.Errorf("%q became %q", text, got)
	}
}

func TestWhatActsOnTheUserDoesNotPass(t *testing.T) {
	for name, text := range map[string]string{
		"the clipboard, written":          "\x1b]52;c;aGk=\a",
		"the clipboard, read":             "\x1b]52;c;?\x1b\\",
		"the clipboard, with a zero":      "\x1b]052;c;aGk=\a",
		"the clipboard of kitty":          "\x1b]5522;type=read;Lg==\x1b\\",
		"reporting the title":             "\x1b[21t",
		"reporting the icon":              "\x1b[20t",
		"the title's form":                "\x1b[>1t\x1b[>2T",
		"answerback":                      "\x05",
		"who are you, the old way":        "\x1bZ",
		"asking for settings":             "\x1bP$qm\x1b\\",
		"asking for capabilities":         "\x1bP+q544e\x1b\\",
		"programming keys":                "\x1bP0;0|17/6c730a\x1b\\",
		"tmux's control mode":             "\x1bP1000p%begin\r\n\x1b\\",
		"passing through tmux":            "\x1bPtmux;\x1b\x1b]52;c;aGk=\a\x1b\\",
		"reading the screen":              "\x1b[1;1;1;1;24;80*y",
		"printing":                        "\x1b[5i\x1b[i",
		"moving the window":               "\x1b[3;0;0t\x1b[2t\x1b[8;1;1t",
		"files by kitty's graphics":       "\x1b_Gt=f,a=T;L2V0Yy9wYXNzd2Q=\x1b\\",
		"privacy message":                 "\x1b^x\x1b\\",
		"start of string":                 "\x1bXx\x1b\\",
		"screen's title":                  "\x1bktitle\x1b\\",
		"the directory":                   "\x1b]7;file:///tmp/evil\a",
		"the command":                     "\x1b]633;E;rm -rf ~\a\x1b]133;C\a",
		"iTerm's commands":                "\x1b]1337;File=inline=0:aGk=\a",
		"functions of an editor":          "\x1b]51;[\"call\",\"Tapi_x\",[]]\a",
		"macros of ConEmu":                "\x1b]9;6;shell\a",
		"links that start programs":       "\x1b]8;;vscode://x\x1b\\\x1b]8;;file:///tmp/x.desktop\x1b\\",
		"leaving UTF-8":                   "\x1b%@",
		"asking for C1 controls":          "\x1b G",
		"another terminal's language":     "\x1b[?2l",
		"locking the keyboard":            "\x1b[2h\x1b[12l",
		"resizing":                        "\x1b[?3h",
		"saved modes":                     "\x1b[?2004r\x1b[?1000s",
		"stopping output":                 "\x13",
		"ignored characters":              "\x00\x01\x7f",
		"an absurd number":                "\x1b[999999999b",
		"an unfinished command":           "\x1b]52;c;aGk=",
		"an unfinished sequence":          "\x1b[31",
		"a cancelled sequence":            "\x1b]52;c;aGk\x18\x1b[3\x1a",
		"a long title":                    "\x1b]0;" + strings.Repeat("x", maxSequence) + "\a",
		"a title with a control":          "\x1b]0;a\nb\a",
		"a title with a C1 control":       "\x1b]0;a\u009b21tb\a",
		"a title that is not UTF-8":       "\x1b]0;a\x9c\x9b21t\a",
		"a negative number":               "\x1b]-1;x\a",
		"reports that nobody waits for":   "\x1b[?1003;1006h\x1b[?1004h\x1b[?2048h\x1b[>1u\x1b[=5u",
		"questions that nobody waits for": "\x1b[c\x1b[>c\x1b[6n\x1b[5n\x1b[>0q\x1b[?u\x1b[?2026$p\x1b[18t\x1b]11;?\a\x1b]4;1;?\a",
	} {
		for _, n := range []int{1, 2, 3, len(text)} {
			if got, f := filtered(false, text, n); got != "" || f.Reset() != "" || f.Talks() {
				t.Errorf("%s, in parts of %d: %q became %q", name, n, text, got)
			}
		}
	}
}

func TestHalvesOfSequencesDoNotMeet(t *testing.T) {
	for text, want := range map[string]string{
		"\x1b]52;c;\x1b]52;c;aGk=\aok":   "ok",
		"\x1b]0;x\x1b[21tok":             "ok",
		"\x1b\x1b]52;c;aGk=\aok":         "ok",
		"\x1b\x05]0;t\aok":               "\x1b[22;0t\x1b]0;t\aok",
		"\x1b[3\x051mok":                 "\x1b[31mok",
		"\u009b21tok":                    "21tok",
		"\x9b21tok":                      "\uFFFD21tok",
		"\x9d52;c;aGk=\x9cok":            "\uFFFD52;c;aGk=\uFFFDok",
		"\xc2\x1b[21tok":                 "\uFFFDok",
		"\xe2\x82ok":                     "\uFFFD\uFFFDok",
		"\x1b[?1049;2;1000hok":           "\x1b[?1049hok",
		"\x1b[3ä1mok":                    "ä1mok",
		"\x1b]8;;vscode://x\x1b\\ok":     "ok",
		"\x1b[23t\x1b[22t\x1b[23t":       "\x1b[22t\x1b[23t",
		"\x1b]2;a\a\x1b]2;b\a":           "\x1b[22;0t\x1b]2;a\a\x1b]2;b\a",
		"\x1b[12;\x1b[31mok\x1b[\n2Jthe": "\x1b[31mok\n\x1b[2Jthe",
	} {
		for n := range len(text) {
			if got, _ := filtered(false, text, n+1); got != want {
				t.Errorf("%q, in parts of %d, became %q, want %q", text, n+1, got, want)
			}
		}
	}
}

func TestQuestionsPassWhileSomebodyWaits(t *testing.T) {
	for _, text := range []string{
		"\x1b[c", "\x1b[>c", "\x1b[0c", "\x1b[6n", "\x1b[?996n", "\x1b[>0q", "\x1b[?u", "\x1b[?4m", "\x1b[?2026$p", "\x1b[18t",
		"\x1b]11;?\a", "\x1b]10;?\x1b\\", "\x1b]4;1;?\a",
	} {
		if got, f := filtered(true, text, 1); got != text || !f.Talks() {
			t.Errorf("%q became %q, talks: %v", text, got, f.Talks())
		}
	}
	for _, text := range []string{"\x1b[21t", "\x1b[20t", "\x05", "\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\", "\x1b[=c", Fence, "\x1b[?15n", "\x1b[1;1;1;1;24;80*y", "\x1b]52;c;?\a"} {
		if got, f := filtered(true, text, 1); got != "" || f.Talks() {
			t.Errorf("%q became %q, talks: %v", text, got, f.Talks())
		}
	}
}

func TestTheClipboardIsReported(t *testing.T) {
	if _, f := filtered(true, "\x1b]52;c;aGk=\a", 1); !f.Clipboard() {
		t.Error("a write to the clipboard was not seen")
	}
	if _, f := filtered(true, "\x1b]0;52;c;\a52", 1); f.Clipboard() {
		t.Error("a title was taken for the clipboard")
	}
}

// The label stands before titles that were set before it and after it, and who leaves gets the title of before.
func TestALabelStandsBeforeTheTitle(t *testing.T) {
	var out bytes.Buffer
	f := &Filter{W: &out}
	for _, step := range []struct{ label, text, want string }{
		{"", "\x1b]1;icon\a", "\x1b[22;0t\x1b]1;icon\a"},
		{"$1.00", "text", "\x1b]2;$1.00\atext"},
		{"$1.00", "\x1b]0;work\x1b\\\x1b]1;icon\a", "\x1b]0;$1.00 · work\x1b\\\x1b]1;icon\a"},
		{"$2.50", "\x1b]2;re", "\x1b]2;$2.50 · work\a"},
		{"$2.75", "st\a", "\x1b]2;$2.75 · work\a\x1b]2;$2.75 · rest\a"},
		{"", "", "\x1b]2;rest\a"},
	} {
		out.Reset()
		if err := f.Label(step.label); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(f, step.text)
		if out.String() != step.want {
			t.Errorf("with the label %q, %q became %q", step.label, step.text, out.String())
		}
	}
	if got := f.Reset(); !strings.HasPrefix(got, "\x1b[23;0t") {
		t.Errorf("the title is not given back: %q", got)
	}
}

func TestLeavingResetsWhatWasLeftOn(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "",
		"\x1b[?1049h\x1b[?25l":                         "\x1b[?1049l\x1b[?25h\x1b[0m",
		"\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l":     "",
		"\x1b[?2004h\x1b[?1002;1006h":                  "\x1b[?1006l\x1b[?1002l\x1b[?2004l\x1b[0m",
		"\x1b[?12h\x1b[?1007h":                         "",
		"\x1b[1049h \x1b[?1049$p":                      "", // other sequences with the same number
		"\x1b[?" + strings.Repeat("1", 200) + "h":      "",
		"\x1b[31mred":                                  "\x1b[0m",
		"\x1b[31mred\x1b[m":                            "",
		"\x1b[31m\x1b7\x1b[0m\x1b8":                    "\x1b[0m",
		"\x1b[2;5r":                                    "\x1b7\x1b[r\x1b8\x1b[0m",
		"\x1b[2;5r\x1b[r":                              "",
		"\x1b[?7l\x1b[4h\x1b=":                         "\x1b[?7h\x1b[4l\x1b>\x1b[0m",
		"\x1b[>1u\x1b[?1049h\x1b[>5u\x1b[>7u":          "\x1b[<2u\x1b[?1049l\x1b[<1u\x1b[0m",
		"\x1b[>1u\x1b[<u":                              "",
		"\x1b[>4;2m":                                   "\x1b[>4m\x1b[0m",
		"\x1b[>4;2m\x1b[>4;0m":                         "",
		"\x1b[5 q":                                     "\x1b[0 q\x1b[0m",
		"\x1b)0\x0e":                                   "\x0f\x1b)B\x1b[0m",
		"\x1b(0":                                       "\x1b(B\x1b[0m",
		"\x1b]8;;https://example.com\a":                "\x1b]8;;\x1b\\\x1b[0m",
		"\x1b]8;;https://example.com\a\x1b]8;;\a":      "",
		"\x1b]11;#000\a\x1b]10;#fff\a\x1b]110\a":       "\x1b]111\x1b\\\x1b[0m",
		"\x1b]10;#fff;#000\a":                          "\x1b]110\x1b\\\x1b]111\x1b\\\x1b[0m",
		"\x1b]4;1;#000\a":                              "\x1b]104\x1b\\\x1b[0m",
		"\x1b]0;title\a":                               "\x1b[23;0t\x1b[0m",
		"\x1b[22t\x1b]0;title\a\x1b[23t":               "",
		"\x1b[?1049h\x1b[?1003h\x1b[2;3r\x1b[31m\x1bc": "",
	} {
		for n := range max(len(text), 1) {
			if _, f := filtered(true, text, n+1); f.Reset() != want {
				t.Errorf("after %q, in parts of %d: %q, want %q", text, n+1, f.Reset(), want)
			}
		}
	}
}

func TestReportsAreExpectedFromTheModesThatMakeThem(t *testing.T) {
	for text, want := range map[string]bool{
		"\x1b[?1003h": true, "\x1b[?1004h": true, "\x1b[>1u": true, "\x1b[?1049;2004h": false, "\x1b[?1003h\x1b[?1003l": false,
	} {
		if _, f := filtered(true, text, 1); f.Talks() != want {
			t.Errorf("%q: %v", text, f.Talks())
		}
	}
}

// harmless is what may leave a filter, written down a second time and coarsely: the test's own opinion.
func harmless() *regexp.Regexp {
	return regexp.MustCompile("\x1b\\[[<=>?]?[0-9;:]*[ !$]?[@-~]" +
		"|\x1b\\](0|1|2|4|8|9|1[0-9]|104|11[0-9]|777)(;[^\x00-\x1f\x7f]*)?(\a|\x1b\\\\)" +
		"|\x1b[()*+][0AB]|\x1b#[34568]|\x1b[78=>DEHMc]|[\a-\x0f]")
}

func check(t *testing.T, text []byte, interactive bool, cut int) {
	whole, f := filtered(interactive, string(text), max(len(text), 1))
	parts, _ := filtered(interactive, string(text), cut)
	if whole != parts {
		t.Errorf("%q became %q, in parts of %d %q", text, whole, cut, parts)
	}
	rest := harmless().ReplaceAllString(whole, "")
	if !utf8.ValidString(whole) || strings.ContainsFunc(rest, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }) {
		t.Errorf("%q became %q, in which %q is left", text, whole, rest)
	}
	if again, _ := filtered(interactive, whole, cut); again != whole {
		t.Errorf("%q became %q and then %q", text, whole, again)
	}
	// A second filter sees the first one's reset undo everything.
	if _, after := filtered(interactive, whole+f.Reset(), cut); after.Reset() != "" {
		t.Errorf("after %q and %q there is still to reset %q", whole, f.Reset(), after.Reset())
	}
}

// pieces are what random streams are made of, so that most of their sequences are nearly right.
func pieces() []string {
	return strings.Split("\x1b|[|]|P|_|\\|\a|;|?|>|<|=|h|l|m|r|t|u|n|c|q|$|p| |52|0|1|2|4|8|9|10|11|21|22|23|1049|1003|2004|25|7|69|?1049h|[31m|]0;t|]8;;https://x|]11;#fff|ä|漢|\xc2|\x9b|\x9c|\u009b|\xf0\x9f|\x18|\r|\n|\x05|text|(0|(B|\x0e|7|8", "|")
}

func TestRandomStreamsInRandomParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := pieces()
	for range 20000 {
		var text []byte
		for range r.IntN(30) {
			text = append(text, all[r.IntN(len(all))]...)
		}
		check(t, text, r.IntN(2) == 0, 1+r.IntN(5))
		if t.Failed() {
			return
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte("\x1b]52;c;aGk=\a\x1b[?1049h\x1b[31m\u009bx\x1b]0;t\x1b\\"), true, 3)
	f.Add([]byte("\x1bPtmux;\x1b\x1b]52;c;\a\x1b\\\x1b[21t\x05"), false, 1)
	f.Fuzz(func(t *testing.T, text []byte, interactive bool, cut int) {
		check(t, text, interactive, 1+int(uint(cut)%64))
	})
}

func TestAFilterWritesTextAtOnceAndKeepsLittle(t *testing.T) {
	var out bytes.Buffer
	f := &Filter{W: &out}
	for _, part := range []string{"a", "b", "\x1b[1", "mc", "\xe6\xbc", "\xa2", "\x1b]0;"} {
		_, _ = io.WriteString(f, part)
	}
	if out.String() != "ab\x1b[1mc漢" {
		t.Errorf("%q was written", out.String())
	}
	endless := bytes.Repeat([]byte("x"), 1<<16)
	for range 100 {
		_, _ = f.Write(endless)
	}
	if n := cap(f.parser.seq.body); n > 2*maxSequence {
		t.Errorf("%d bytes are held of a sequence without an end", n)
	}
	if _, err := io.WriteString(&Filter{W: failing{}}, "x"); err == nil {
		t.Error("a write that failed is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func BenchmarkFilter(b *testing.B) {
	for name, text := range map[string]string{
		"text":    strings.Repeat("the quick brown fox jumps over the lazy dog\r\n", 700),
		"unicode": strings.Repeat("─ größer 漢字 👍 │\r\n", 1000),
		"colours": strings.Repeat("\x1b[38;5;12mfunc\x1b[0m \x1b[1mmain\x1b[22m() {\r\n", 800),
	} {
		b.Run(name, func(b *testing.B) {
			data := []byte(text)
			f := &Filter{W: io.Discard}
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_, _ = f.Write(data)
			}
		})
	}
}
