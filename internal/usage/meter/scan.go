package meter

import "bytes"

const (
	// maxDepth is how deep objects and lists may be in one another. No API nests so deep.
	maxDepth = 100
	// maxScalar is how much of a string or number is kept, in bytes.
	maxScalar = 256
)

// scanner reads JSON as it comes, in pieces of any size, and tells the scalars with their paths: keys joined by dots, [] for
// an element of a list. It keeps no more than a path and a scalar, and takes documents one behind the other. What is
// no JSON makes it stop.
type scanner struct {
	emit func(path []byte, s scalar)

	state  state
	path   []byte
	levels []level // open objects and lists
	kept   []byte  // of the scalar that is being read
	cut    bool    // it was longer
	key    bool    // it is a key
	escape int     // of an escape, what is to come: 0 none, 1 its letter, 2 to 5 the digits of \u
	rune   rune
	docs   int // that have ended
}

// level is an open object or list.
type level struct {
	object bool
	path   int // length of the path before it
}

// scalar is a value without parts. Of a long one only the beginning is kept.
type scalar struct {
	kind byte // '"', '0' for a number, or the first letter of true, false, null
	text []byte
	cut  bool
}

type state int

const (
	stateValue  state = iota // a value begins
	stateFirst               // an element or key begins, or the list or object is empty
	stateKey                 // a key begins
	stateColon               // a colon comes
	stateAfter               // a comma comes, or the end
	stateString              // in a string
	stateBare                // in a number or a word
	stateBroken              // this is no JSON
)

// reset begins anew with the next document.
func (s *scanner) reset() {
	*s = scanner{emit: s.emit, path: s.path[:0], levels: s.levels[:0], kept: s.kept[:0], docs: s.docs}
}

// write takes a piece.
func (s *scanner) write(p []byte) {
	for i := 0; i < len(p) && s.state != stateBroken; {
		switch s.state {
		case stateString:
			i += s.inString(p[i:])
		case stateBare:
			i += s.inBare(p[i:])
		default:
			c := p[i]
			i++
			if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
				s.next(c)
			}
		}
	}
}

// end says that no more comes: a number at the very end is then whole. It reports whether everything was.
func (s *scanner) end() bool {
	if s.state == stateBare {
		s.bareEnds()
	}
	return s.state != stateBroken && len(s.levels) == 0 && s.docs > 0
}

func (s *scanner) next(c byte) {
	switch {
	case s.state == stateFirst && c == ']' && !s.inObject(), s.state == stateFirst && c == '}' && s.inObject(),
		s.state == stateAfter && (c == ']' && !s.inObject() || c == '}' && s.inObject()):
		s.pop()
	case (s.state == stateKey || s.state == stateFirst && s.inObject()) && c == '"':
		s.begin(stateString)
		s.key = true
	case s.state == stateColon && c == ':':
		s.state = stateValue
	case s.state == stateAfter && c == ',':
		if s.state = stateValue; s.inObject() {
			s.state = stateKey
		}
	case s.state == stateValue, s.state == stateFirst && !s.inObject():
		s.value(c)
	default:
		s.state = stateBroken
	}
}

func (s *scanner) value(c byte) {
	switch {
	case c == '{' || c == '[':
		s.push(c == '{')
	case c == '"':
		s.begin(stateString)
	case c == '-' || '0' <= c && c <= '9' || c == 't' || c == 'f' || c == 'n':
		s.begin(stateBare)
		s.keep(c)
	default:
		s.state = stateBroken
	}
}

func (s *scanner) begin(state state) {
	s.state, s.kept, s.cut, s.key, s.escape = state, s.kept[:0], false, false, 0
}

func (s *scanner) keep(c ...byte) {
	if len(s.kept)+len(c) > maxScalar {
		s.cut = true
		return
	}
	s.kept = append(s.kept, c...)
}

// inObject says whether an object is open, and not a list.
func (s *scanner) inObject() bool { return len(s.levels) > 0 && s.levels[len(s.levels)-1].object }

func (s *scanner) push(object bool) {
	if len(s.levels) >= maxDepth {
		s.state = stateBroken
		return
	}
	s.levels = append(s.levels, level{object, len(s.path)})
	if !object {
		s.path = append(s.path, "[]."...)
	}
	s.state = stateFirst
}

func (s *scanner) pop() {
	l := s.levels[len(s.levels)-1]
	s.levels = s.levels[:len(s.levels)-1]
	s.path = s.path[:l.path]
	s.valueEnds()
}

// valueEnds forgets the key of the value that has ended.
func (s *scanner) valueEnds() {
	s.state = stateAfter
	if len(s.levels) == 0 {
		s.docs++
		s.state = stateValue
		return
	}
	l := s.levels[len(s.levels)-1]
	s.path = s.path[:l.path]
	if !l.object {
		s.path = append(s.path, "[]."...)
	}
}

// inString takes what belongs to a string.
func (s *scanner) inString(p []byte) (n int) {
	for n < len(p) {
		if s.escape > 0 {
			s.escaped(p[n])
			n++
			if s.state == stateBroken {
				return n
			}
			continue
		}
		start := n
		for n < len(p) && p[n] != '"' && p[n] != '\\' {
			n++
		}
		if plain := p[start:n]; len(plain) > 0 {
			room := maxScalar - len(s.kept)
			s.kept = append(s.kept, plain[:min(room, len(plain))]...)
			s.cut = s.cut || len(plain) > room
		}
		if n == len(p) {
			return n
		}
		n++
		if p[n-1] == '"' {
			s.stringEnds()
			return n
		}
		s.escape = 1
	}
	return n
}

// escaped takes a byte of an escape. Halves of surrogate pairs, which no name has, are left as question marks.
func (s *scanner) escaped(c byte) {
	if s.escape == 1 {
		s.escape = 0
		switch c {
		case '"', '\\', '/':
			s.keep(c)
		case 'b':
			s.keep('\b')
		case 'f':
			s.keep('\f')
		case 'n':
			s.keep('\n')
		case 'r':
			s.keep('\r')
		case 't':
			s.keep('\t')
		case 'u':
			s.escape, s.rune = 2, 0
		default:
			s.state = stateBroken
		}
		return
	}
	digit := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
	if c < '0' || digit < 0 || digit > 9 && c < 'A' {
		s.state = stateBroken
		return
	}
	s.rune = s.rune<<4 | rune(digit)
	if s.escape++; s.escape == 6 {
		s.escape = 0
		s.keep([]byte(string(s.rune))...) // of half a pair, the replacement character
	}
}

func (s *scanner) stringEnds() {
	if !s.key {
		s.emit(s.trimmed(), scalar{'"', s.kept, s.cut})
		s.valueEnds()
		return
	}
	if l := s.levels[len(s.levels)-1]; s.cut {
		s.path = append(s.path[:l.path], "?."...) // no key that is asked for
	} else {
		s.path = append(append(s.path[:l.path], s.kept...), '.')
	}
	s.state = stateColon
}

// trimmed is the path without the dot at its end.
func (s *scanner) trimmed() []byte { return s.path[:max(0, len(s.path)-1)] }

// inBare takes what belongs to a number or a word.
func (s *scanner) inBare(p []byte) (n int) {
	for n < len(p) {
		switch c := p[n]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', c == 'E', c == '+', c == '-', c == '.':
			s.keep(c)
			n++
		default:
			s.bareEnds()
			return n
		}
	}
	return n
}

func (s *scanner) bareEnds() {
	kind := byte('0')
	switch word := string(s.kept); {
	case word == "true" || word == "false" || word == "null":
		kind = word[0]
	case 'a' <= s.kept[0] && s.kept[0] <= 'z':
		s.state = stateBroken
		return
	}
	s.emit(s.trimmed(), scalar{kind, s.kept, s.cut})
	s.valueEnds()
}
