package vt

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// OneLine makes text from anywhere safe to print on one line: whatever could move the cursor, start an
// escape sequence, reorder the line (bidirectional controls) or hide in it (zero-width characters) becomes
// visible instead.
func OneLine(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case hostile(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// JSON makes the output of encoding/json, which lets C1 controls and bidirectional ones through, safe to
// print: they are written as escapes, which mean the same.
func JSON(raw []byte) []byte {
	var out []byte
	for _, r := range string(raw) {
		switch {
		case r < 0x7f || !hostile(r):
			out = utf8.AppendRune(out, r)
		case r <= 0xffff:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		}
	}
	return out
}

// hostile reports whether r does more than print a glyph.
func hostile(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) || invisible(r)
}

// invisible are characters without a glyph that Unicode counts as letters (the Hangul fillers).
func invisible(r rune) bool { return r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0 }

// Plain is a writer that passes text, lines and tabs on, and nothing that a terminal would obey: for views
// of a log, which must not act on the terminal, nor show lines in another order than they are in.
type Plain struct {
	W      io.Writer
	parser parser
	out    []byte
}

// Write takes any bytes, cut anywhere.
func (p *Plain) Write(data []byte) (int, error) {
	p.out = p.out[:0]
	p.parser.parse(data, p)
	if len(p.out) > 0 {
		if _, err := p.W.Write(p.out); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

func (p *Plain) text(valid []byte) {
	for len(valid) > 0 {
		r, n := utf8.DecodeRune(valid)
		if r < utf8.RuneSelf || !hostile(r) {
			p.out = append(p.out, valid[:n]...)
		}
		valid = valid[n:]
	}
}

func (p *Plain) control(c byte) {
	if c == '\n' || c == '\t' {
		p.out = append(p.out, c)
	}
}

func (p *Plain) sequence(sequence) {}
