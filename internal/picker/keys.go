package picker

import (
	"strings"
	"unicode/utf8"
)

// Parse splits what a terminal has sent into keys as Key takes them. What is no key of ours is left out.
func Parse(chunk []byte) (keys []string) {
	names := map[string]string{
		"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left", "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
		"\x1b[5~": "pgup", "\x1b[6~": "pgdn", "\x1b[H": "home", "\x1b[F": "end", "\x1b[1~": "home", "\x1b[4~": "end",
	}
	text := string(chunk)
next:
	for text != "" {
		for sequence, name := range names {
			if rest, ok := strings.CutPrefix(text, sequence); ok {
				keys, text = append(keys, name), rest
				continue next
			}
		}
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case text == "\x1b":
			keys = append(keys, "esc")
		case r == 0x1b:
			return keys // a sequence that is not known, as long as it may be
		case r == '\r' || r == '\n':
			keys = append(keys, "enter")
		case r == '\t':
			keys = append(keys, "tab")
		case r == 0x7f || r == '\b':
			keys = append(keys, "backspace")
		case r == 3 || r == 4:
			keys = append(keys, "ctrl-c")
		case r >= ' ' && r != utf8.RuneError:
			keys = append(keys, string(r))
		}
		text = text[size:]
	}
	return keys
}
