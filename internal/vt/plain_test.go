package vt

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
)

func TestOneLineMakesHostileTextVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain äöü 漢字":          "plain äöü 漢字",
		"two\nlines":            `two\u000alines`,
		"over\rwritten":         `over\u000dwritten`,
		"\x1b[31mred":           `\u001b[31mred`,
		"c1 \u009b31m":          `c1 \u009b31m`,
		"bidi \u202egnp.exe":    `bidi \u202egnp.exe`,
		"isolated \u2066x":      `isolated \u2066x`,
		"separator \u2028 next": `separator \u2028 next`,
		"zero\u200bwidth":       `zero\u200bwidth`,
		"tagged \U000e0041":     `tagged \ue0041`,
		"filler \u3164":         `filler \u3164`,
		"broken \xff\xfe":       `broken \xff\xfe`,
		"c1 byte \x9b31m":       `c1 byte \x9b31m`,
	} {
		if got := OneLine(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestJSONKeepsItsMeaning(t *testing.T) {
	text := "a \u009b31m \u202e \U000e0041 \x7f \u2028 漢字 ä"
	raw, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	safe := JSON(raw)
	var back string
	if err := json.Unmarshal(safe, &back); err != nil || back != text {
		t.Errorf("%q came back as %q, %v", text, back, err)
	}
	if strings.ContainsFunc(string(safe), hostile) || !strings.Contains(string(safe), "漢字 ä") {
		t.Errorf("%q became %q", text, safe)
	}
}

func TestPlainLeavesControlSequencesOut(t *testing.T) {
	for text, want := range map[string]string{
		"a\r\nb\tc\n":                     "a\nb\tc\n",
		"\x1b[1;31mred\x1b[0m":            "red",
		"\x1b]0;title\x07text":            "text",
		"\x1b]52;c;aGk=\x1b\\text":        "text",
		"\x1b]8;;file:///x\x1b\\text":     "text",
		"\x1bP1$tx\x1b\\text":             "text",
		"\x1b_Gx\x1b\\\x1b^x\x1b\\text":   "text",
		"\x1b[6n\x1b[c\x1b[21t\x05text":   "text",
		"\x1b(Btext\x1b7\x1b=":            "text",
		"\x1bctext":                       "text",
		"bell\a, backspace\b, delete\x7f": "bell, backspace, delete",
		"c1 \u009b31m":                    "c1 31m",
		"c1 byte \x9b31m \x9d52;c;x\x9c":  "c1 byte \uFFFD31m \uFFFD52;c;x\uFFFD",
		"ünïcode 漢":                       "ünïcode 漢",
		"\x1b[?1049h\x1b[2J\x1b[Hscreen":  "screen",
		"safe\rEVIL":                      "safeEVIL",
		"user\u202etxt.exe zero\u200b":    "usertxt.exe zero",
		"lost \x1b]0;never ended":         "lost ",
		"\x1b]0;never ended\x1b[1mtext":   "text",
	} {
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			var out bytes.Buffer
			if _, err := io.Copy(&Plain{W: &out}, r); err != nil || out.String() != want {
				t.Errorf("%q became %q, %v, want %q", text, out.String(), err, want)
			}
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte("\x1b]0;t\x07x\x1b[31m\u009b"), 3)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var whole, parts bytes.Buffer
		_, _ = (&Plain{W: &whole}).Write(text)
		if strings.ContainsFunc(whole.String(), func(r rune) bool { return r != '\n' && r != '\t' && (unicode.IsControl(r) || hostile(r)) }) {
			t.Errorf("%q became %q", text, whole.String())
		}
		p := &Plain{W: &parts}
		cut = min(max(cut, 0), len(text))
		_, _ = p.Write(text[:cut])
		_, _ = p.Write(text[cut:])
		if got, want := parts.String(), whole.String(); got != want {
			t.Errorf("%q cut at %d became %q, whole %q", text, cut, got, want)
		}
	})
}
