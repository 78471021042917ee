package vt

// Escape is the key Esc.
const Escape = 0x1b

// Keys finds in what a terminal sends the keys that somebody presses one by one, for questions that only a person
// may answer. A terminal also sends what an application inside can have it send, answers and reports, and what is
// pasted or was typed at something else: none of that is a key. The zero Keys is ready.
type Keys struct{ parser parser }

// Key returns the printable key, or Escape, that chunk is, which is what one read has brought; 0 when it is none. A
// person is slower than a read: of several bytes at once none is a key, and they only say where a sequence ends.
func (k *Keys) Key(chunk []byte) byte {
	if len(chunk) == 1 && chunk[0] == Escape {
		*k = Keys{}
		return Escape
	}
	ground := k.parser.state == ground && len(k.parser.held) == 0
	k.parser.parse(chunk, ignored{})
	if len(chunk) != 1 || !ground || chunk[0] <= ' ' || chunk[0] >= 0x7f {
		return 0
	}
	return chunk[0]
}

// ignored takes what a parser finds.
type ignored struct{}

func (ignored) text([]byte)       {}
func (ignored) control(byte)      {}
func (ignored) sequence(sequence) {}
