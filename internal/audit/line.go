package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxText is how many bytes of one string are kept. It bounds a line, so that the end of a file always
// holds a whole one.
const maxText = 1024

// Cut stands at the end of a string that was longer. No path that was sent has it as it is.
const Cut = "…"

// line renders e as one line of pure printable ASCII. Beyond what JSON requires, everything else is
// escaped: C1 controls reach terminals, U+2028 ends lines for some readers, and bidirectional overrides
// or zero-width characters make a name look like another.
func line(e Event) ([]byte, error) {
	path := readable(e.Path)
	redacted := RedactPath(path)
	if len(path) < len(e.Path) {
		redacted += Cut
	}
	e.Path = redacted
	for _, text := range []*string{&e.Host, &e.Addr, &e.Type, &e.Method, &e.Path, &e.Verdict, &e.Rule, &e.Reason, &e.Error, (*string)(&e.Kind)} {
		*text = clip(*text)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("cannot record event: %w", err)
	}
	out := make([]byte, 0, len(raw)+1)
	for _, r := range string(raw) {
		switch {
		case r < 0x7f:
			out = append(out, byte(r))
		case r <= 0xffff:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		}
	}
	return append(out, '\n'), nil
}

// readable is as much of a path as is looked at for secrets: more than is kept, and not so much that looking costs.
// It ends between two segments where it can, so that no half of a token is left.
func readable(path string) string {
	const most = 4 * maxText
	if len(path) <= most {
		return path
	}
	path = path[:most]
	if i := strings.LastIndexByte(path, '/'); i > maxText {
		path = path[:i+1]
	}
	return path
}

// clip cuts s to maxText bytes without splitting a character.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + Cut
}
