package risk

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// oddRunes names the characters of text that do not show or that a terminal obeys, where there are more of them
// than before; "" if there are none. Binary files have everything and show nothing.
func oddRunes(text, before string) string {
	if strings.IndexByte(text[:min(len(text), 8000)], 0) >= 0 {
		return ""
	}
	now, old := countOdd(text), countOdd(before)
	var names []string
	for name, n := range now {
		if n > old[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " and ")
}

func countOdd(text string) map[string]int {
	count := map[string]int{}
	for i, r := range text {
		if r < 0x7f && r >= ' ' || r == '\n' || r == '\t' || r == '\r' {
			continue
		}
		if name := oddRune(i, r, text); name != "" {
			count[name]++
		}
	}
	return count
}

func oddRune(i int, r rune, text string) string {
	switch {
	case r == 0x1b, r == 0x9b, r == 0x9d, r == 0x90:
		return "terminal escapes"
	case r < ' ' && r != '\f', r == 0x7f, r >= 0x80 && r < 0xa0:
		return "control characters"
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
		return "characters that turn the direction of reading (CVE-2021-42574)"
	case r >= 0xe0000 && r <= 0xe0fff:
		return "invisible tag characters, in which text can be hidden"
	case r >= 0xfe00 && r <= 0xfe0f && !afterGlyph(text, i):
		return "invisible variation selectors, in which text can be hidden"
	case r == 0xfeff && i == 0: // a byte order mark
		return ""
	case r == 0x200b, r == 0x200c, r == 0x2060, r == 0xfeff, r == 0xad, r == 0x180e, r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r >= 0x2061 && r <= 0x2064,
		r == 0x200d && !afterGlyph(text, i):
		return "invisible characters"
	case r == 0x2028, r == 0x2029:
		return fmt.Sprintf("line separators (U+%04X)", r)
	}
	return ""
}

// afterGlyph says whether the character before is one that selectors and joiners belong behind: a symbol, an
// emoji, or a letter of a script that joins.
func afterGlyph(text string, i int) bool {
	r, _ := utf8.DecodeLastRuneInString(text[:i])
	return r >= 0x900 && (r < 0xfe00 || r > 0xfe0f) && (r < 0x200b || r > 0x200f) || r >= '0' && r <= '9' || r == '#' || r == '*' || r == 0xfe0f || r == 0xa9 || r == 0xae
}
