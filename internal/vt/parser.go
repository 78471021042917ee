// Package vt knows what a terminal obeys (ECMA-48, DEC's and xterm's additions), and makes text from inside a
// sandbox safe for the user's terminal: Filter while an application inside has the terminal, Plain and
// OneLine for every other view. It recognises byte streams and decides; it opens no terminal and does no I/O
// but to the writers that it is given.
//
// Everything is a list of what passes. A sequence is held until it is complete and passes whole, in its
// 7-bit form, or not at all: so it does not matter how a terminal understands what is broken, nested or cut.
package vt

import "unicode/utf8"

// maxSequence bounds a sequence that is held, in bytes. No sequence that passes needs more: colours take tens
// of bytes, links and titles some hundred. What is longer is dropped.
const maxSequence = 4096

// sink takes what a parser finds, in order. The slices are its own only until it returns.
type sink interface {
	text(valid []byte) // UTF-8 without control characters
	control(c byte)    // C0, never ESC, CAN or SUB
	sequence(s sequence)
}

// sequence is a complete escape sequence.
type sequence struct {
	// kind is what introduced it: '[' for CSI, ']' for OSC, 'P' for DCS and so on, 0 for ESC with intermediates
	// and a final byte.
	kind byte
	body []byte // without the introducer; with the final byte, where there is one, but without ST or BEL
	bell bool   // a string was ended by BEL
}

// parser splits output into text, control characters and sequences, the same ones however the output is cut
// into parts.
type parser struct {
	state state
	held  []byte // a rune that is not complete yet
	seq   sequence
	long  bool // seq has outgrown maxSequence
}

type state int

const (
	ground       state = iota
	escape             // after ESC
	csi                // in ESC [ … final byte
	inString           // in OSC, DCS, SOS, PM, APC or screen's title … ST, or BEL for OSC
	stringEscape       // after an ESC in one of those
)

func (p *parser) parse(data []byte, to sink) {
	if len(p.held) > 0 {
		data = append(p.held, data...)
		p.held = nil
	}
	for len(data) > 0 {
		if p.state != ground {
			if p.step(data[0], to) {
				data = data[1:]
			}
			continue
		}
		n := printable(data)
		if n > 0 {
			to.text(data[:n])
			data = data[n:]
			continue
		}
		c := data[0]
		switch {
		case c == 0x1b:
			p.begin()
		case c < 0x80:
			if c < 0x20 && c != 0x18 && c != 0x1a {
				to.control(c)
			}
		case !utf8.FullRune(data):
			p.held = append([]byte(nil), data...)
			return
		default:
			// What is not UTF-8, or is a C1 control: some terminals obey U+009B, and the bare byte 0x9b, as CSI.
			r, size := utf8.DecodeRune(data)
			if r == utf8.RuneError {
				to.text([]byte("\uFFFD"))
			}
			data = data[size:]
			continue
		}
		data = data[1:]
	}
}

// printable is the length of the UTF-8 text at the beginning of data, without control characters.
func printable(data []byte) int {
	i := 0
	for i < len(data) {
		c := data[i]
		if c >= 0x20 && c < 0x7f {
			i++
			continue
		}
		if c < 0x80 || !utf8.FullRune(data[i:]) {
			break
		}
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 || r < 0xa0 {
			break
		}
		i += n
	}
	return i
}

// begin is what an ESC does anywhere: what was under way is lost.
func (p *parser) begin() {
	p.state, p.long = escape, false
	p.seq = sequence{body: p.seq.body[:0]}
}

// step takes one byte of a sequence. It reports false when the byte belongs to what follows.
func (p *parser) step(c byte, to sink) bool {
	switch {
	case p.state == stringEscape:
		if c != '\\' {
			p.begin()
			return false
		}
		p.end(to)
		return true
	case c == 0x1b && p.state == inString:
		p.state = stringEscape
		return true
	case c == 0x1b:
		p.begin()
		return true
	case c == 0x18 || c == 0x1a: // CAN and SUB end everything
		p.state = ground
		return true
	case p.state == inString:
		if c == 0x07 && p.seq.kind == ']' {
			p.seq.bell = true
			p.end(to)
			return true
		}
		p.keep(c)
		return true
	case c < 0x20: // obeyed in the middle of a sequence
		to.control(c)
		return true
	case c >= 0x7f:
		p.state = ground
		return false
	}
	if p.state == escape && len(p.seq.body) == 0 {
		switch c {
		case '[':
			p.state, p.seq.kind = csi, c
			return true
		case ']', 'P', 'X', '^', '_', 'k':
			p.state, p.seq.kind = inString, c
			return true
		}
	}
	p.keep(c)
	if p.state == csi && c >= 0x40 || p.state == escape && c >= 0x30 {
		p.end(to)
	}
	return true
}

func (p *parser) keep(c byte) {
	if p.long = p.long || len(p.seq.body) >= maxSequence; !p.long {
		p.seq.body = append(p.seq.body, c)
	}
}

func (p *parser) end(to sink) {
	p.state = ground
	if !p.long {
		to.sequence(p.seq)
	}
}
