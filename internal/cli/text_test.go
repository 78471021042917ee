package cli

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestOneLineMakesHostileTextVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain äöü 漢字":          "plain äöü 漢字",
		"two\nlines":            `two\u000alines`,
		"\x1b[31mred":           `\u001b[31mred`,
		"c1 \u009b31m":          `c1 \u009b31m`,
		"bidi \u202egnp.exe":    `bidi \u202egnp.exe`,
		"separator \u2028 next": `separator \u2028 next`,
		"zero\u200bwidth":       `zero\u200bwidth`,
		"broken \xff\xfe":       `broken \xff\xfe`,
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestPlainLeavesControlSequencesOut(t *testing.T) {
	for text, want := range map[string]string{
		"a\r\nb\tc\n":                     "a\nb\tc\n",
		"\x1b[1;31mred\x1b[0m":            "red",
		"\x1b]0;title\x07text":            "text",
		"\x1b]52;c;aGk=\x1b\\text":        "text",
		"\x1bP1$tx\x1b\\text":             "text",
		"\x1b(Btext\x1b7\x1b=":            "text",
		"bell\a, backspace\b, delete\x7f": "bell, backspace, delete",
		"c1 \u009b31m":                    "c1 31m",
		"ünïcode 漢":                       "ünïcode 漢",
		"\x1b[?1049h\x1b[2J\x1b[Hscreen":  "screen",
	} {
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			var out bytes.Buffer
			if _, err := io.Copy(&plain{w: &out}, r); err != nil || out.String() != want {
				t.Errorf("%q became %q, %v, want %q", text, out.String(), err, want)
			}
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte("\x1b]0;t\x07x\x1b[31m\u009b"), 3)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var whole, parts bytes.Buffer
		_, _ = (&plain{w: &whole}).Write(text)
		if strings.ContainsFunc(whole.String(), func(r rune) bool { return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f }) {
			t.Errorf("%q became %q", text, whole.String())
		}
		p := &plain{w: &parts}
		cut = min(max(cut, 0), len(text))
		_, _ = p.Write(text[:cut])
		_, _ = p.Write(text[cut:])
		if got, want := parts.String(), whole.String(); got != want {
			t.Errorf("%q cut at %d became %q, whole %q", text, cut, got, want)
		}
	})
}

func TestModesResetsWhatIsStillOn(t *testing.T) {
	for text, want := range map[string]string{
		"nothing":              "",
		"\x1b[?1049h\x1b[?25l": "\x1b[?1049l\x1b[?25h\x1b[0m",
		"\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l": "",
		"\x1b[?2004h\x1b[?1002;1006h":              "\x1b[?1006l\x1b[?1002l\x1b[?2004l\x1b[0m",
		"\x1b[?7h\x1b[?12h":                        "", // wrapping and blinking are nobody's loss
		"\x1b[1049h \x1b[?1049$p":                  "", // other sequences with the same number
		"\x1b[?" + strings.Repeat("1", 200) + "h":  "",
	} {
		for _, size := range []int{1, len(text)} {
			var m modes
			for chunk := range slices.Chunk([]byte(text), size) {
				m.watch(chunk)
			}
			if got := m.reset(); got != want {
				t.Errorf("after %q: %q, want %q", text, got, want)
			}
		}
	}
}

func TestDetachKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		keys, typed, passed string
		left                bool
	}{
		"nothing special":              {defaultDetachKeys, "hello", "hello", false},
		"the keys leave":               {defaultDetachKeys, "hi\x10\x11rest", "hi", true},
		"the first key alone is typed": {defaultDetachKeys, "a\x10b", "a\x10b", false},
		"the first key twice":          {defaultDetachKeys, "\x10\x10\x11", "\x10", true},
		"other keys":                   {"ctrl-],x", "a\x1dx", "a", true},
		"no keys":                      {"", "\x10\x11", "\x10\x11", false},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := parseDetachKeys(tc.keys)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []io.Reader{strings.NewReader(tc.typed), iotest.OneByteReader(strings.NewReader(tc.typed))} {
				var passed bytes.Buffer
				_, err := io.Copy(&passed, &detachReader{r: r, keys: keys})
				if errors.Is(err, errDetached) != tc.left || passed.String() != tc.passed {
					t.Errorf("passed %q, %v", passed.String(), err)
				}
			}
		})
	}
	for _, bad := range []string{"ctrl-", "ctrl-1", "esc", ",", "ctrl-p,"} {
		if _, err := parseDetachKeys(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "512": 512, "1k": 1024, "4g": 4 << 30, "4G": 4 << 30, "1.5m": 3 << 19, "2GiB": 2 << 30, "10mb": 10 << 20} {
		if got, err := parseSize("memory", text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "g", "1x", "nan", "inf", "1e30", "4 g", "0x10q"} {
		if got, err := parseSize("memory", text); err == nil {
			t.Errorf("%q was taken as %d", text, got)
		}
	}
}

func TestParseTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "90s": 90 * time.Second, "30": 30 * time.Second, "1.5h": 90 * time.Minute} {
		if got, err := parseTimeout(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-5", "soon", "1e300", "nan"} {
		if got, err := parseTimeout(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestLastLines(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	for n, want := range map[int]string{-1: text, 0: "", 1: "three\n", 2: "two\nthree\n", 3: text, 9: text} {
		if got := string(lastLines([]byte(text), n)); got != want {
			t.Errorf("the last %d lines are %q, want %q", n, got, want)
		}
	}
}
