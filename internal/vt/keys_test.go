package vt

import (
	"testing"
)

func TestKeysAreWhatSomebodyPresses(t *testing.T) {
	for name, tc := range map[string]struct {
		chunks []string
		want   string // the keys
	}{
		"keys":                             {[]string{"y", "n", "a"}, "yna"},
		"esc":                              {[]string{"\x1b"}, "\x1b"},
		"pasted, or typed ahead":           {[]string{"yes", "y\r"}, ""},
		"control characters":               {[]string{"\x03", "\r", "\x10", "\x00", " ", "\x7f"}, ""},
		"an arrow key":                     {[]string{"\x1b[A", "\x1bOA"}, ""},
		"the answer to a mode's question":  {[]string{"\x1b[?2026;1$y"}, ""},
		"the same, in parts":               {[]string{"\x1b[?2026", ";1$", "y"}, ""},
		"the same, byte by byte but ESC [": {[]string{"\x1b[", "?", "2", "$", "y"}, ""},
		"a key after it":                   {[]string{"\x1b[?2026;1$", "y", "n"}, "n"},
		"the terminal's well-being":        {[]string{"\x1b[0", "n"}, ""},
		"a colour":                         {[]string{"\x1b]11;rgb:", "a", "a", "/", "\x1b\\"}, ""},
		"a report of the mouse":            {[]string{"\x1b[<0;121;121M", "\x1b[Myyy"}, ""},
		"what is pasted in brackets":       {[]string{"\x1b[200~y\x1b[201~"}, ""},
		"Alt and a key":                    {[]string{"\x1by"}, ""},
		"letters from elsewhere":           {[]string{"ÿ", "\xff"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var k Keys
			got := ""
			for _, chunk := range tc.chunks {
				if key := k.Key([]byte(chunk)); key != 0 {
					got += string(rune(key))
				}
			}
			if got != tc.want {
				t.Errorf("keys are %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("\x1b[?2026;1$y"), []byte("y"))
	f.Add([]byte("y"), []byte("n"))
	f.Add([]byte{0xe2}, []byte("y"))
	f.Fuzz(func(t *testing.T, before, chunk []byte) {
		var k Keys
		k.Key(before)
		if key := k.Key(chunk); key != 0 && (len(chunk) != 1 || key != chunk[0]) {
			t.Errorf("%q is the key %q", chunk, key)
		}
	})
}
