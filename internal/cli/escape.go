package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// oneLine makes text from anywhere safe to print on one line: whatever could move the cursor, start an
// escape sequence, or reorder the line (bidirectional controls) becomes visible instead.
func oneLine(text string) string {
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

// hostile reports whether r does more than print a glyph.
func hostile(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}

// plain is a writer that passes text on without the control sequences that a terminal would obey (ECMA-48:
// CSI, OSC, DCS and their kin), for views of a log that must not act on the terminal. Lines and tabs stay.
type plain struct {
	w     io.Writer
	state plainState
	out   []byte
}

type plainState int

const (
	plainText         plainState = iota
	plainEscape                  // after ESC
	plainCSI                     // in ESC [ … final byte
	plainString                  // in OSC, DCS, SOS, PM, APC … BEL or ST
	plainStringEscape            // after an ESC in one of those
	plainC2                      // after 0xc2, the first byte of U+0080 to U+00BF
)

func (p *plain) Write(data []byte) (int, error) {
	p.out = p.out[:0]
	for _, c := range data {
		p.step(c)
	}
	if _, err := p.w.Write(p.out); err != nil {
		return 0, err
	}
	return len(data), nil
}

func (p *plain) step(c byte) {
	switch p.state {
	case plainText:
		switch {
		case c == 0xc2: // may begin a C1 control, which some terminals obey: U+009B is another CSI
			p.state = plainC2
		case c == 0x1b:
			p.state = plainEscape
		case c == '\n' || c == '\t' || c >= 0x20 && c != 0x7f:
			p.out = append(p.out, c)
		}
	case plainC2:
		p.state = plainText
		switch {
		case c >= 0xa0 && c <= 0xbf:
			p.out = append(p.out, 0xc2, c)
		case c < 0x80 || c > 0xbf: // not UTF-8: kept, 0xc2 might meet its other half when c is dropped
			p.step(c)
		}
	case plainEscape:
		switch {
		case c == '[':
			p.state = plainCSI
		case strings.IndexByte("]PX^_", c) >= 0:
			p.state = plainString
		case c >= 0x20 && c <= 0x2f: // intermediate byte: one more follows
		default:
			p.state = plainText
		}
	case plainCSI:
		if c >= 0x40 && c <= 0x7e {
			p.state = plainText
		}
	case plainString:
		switch c {
		case 0x07:
			p.state = plainText
		case 0x1b:
			p.state = plainStringEscape
		}
	case plainStringEscape:
		p.state = plainString
		if c == '\\' {
			p.state = plainText
		}
	}
}
