package meter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
)

// decoder takes a body, or a part of one in another form. end says why it is not whole, "" when it is.
type decoder interface {
	write(p []byte)
	end() string
}

// events are server-sent events (WHATWG HTML, 9.2.6), each of which has one JSON document as its data.
type events struct {
	to    *Answer
	name  []byte // of the field, up to its colon
	field field
	space bool // one space behind the colon is no part of the value
	cr    bool // the last byte was one, and a newline behind it is part of it
	data  bool // the event has data
}

type field int

const (
	fieldName field = iota
	fieldData
	fieldOther
)

func (e *events) write(p []byte) {
	for len(p) > 0 {
		c := p[0]
		switch {
		case e.cr && c == '\n':
			e.cr = false
			p = p[1:]
		case c == '\n' || c == '\r':
			e.cr = c == '\r'
			e.line()
			p = p[1:]
		case e.field == fieldName:
			e.cr = false
			e.named(c)
			p = p[1:]
		default:
			e.cr = false
			n := bytes.IndexAny(p, "\r\n")
			if n < 0 {
				n = len(p)
			}
			if e.field == fieldData {
				e.value(p[:n])
			}
			p = p[n:]
		}
	}
}

// named takes a byte of a field's name.
func (e *events) named(c byte) {
	const longest = 8
	switch {
	case c == ':':
		e.field = fieldOther
		if name := bytes.TrimPrefix(e.name, []byte("\xef\xbb\xbf")); string(name) == "data" {
			e.field, e.space = fieldData, true
		}
	case len(e.name) < longest:
		e.name = append(e.name, c)
	}
}

// value takes a part of a data field.
func (e *events) value(p []byte) {
	if e.space && len(p) > 0 {
		e.space = false
		p = bytes.TrimPrefix(p, []byte(" "))
	}
	if len(p) > 0 && !e.data {
		e.data = true
		e.to.scan.reset()
	}
	e.to.scan.write(p)
}

// line ends a line: an empty one ends an event.
func (e *events) line() {
	switch {
	case e.field == fieldName && len(e.name) == 0:
		e.data = false
	case e.field == fieldData && e.data:
		e.to.scan.write([]byte("\n")) // between the lines of one event's data
	}
	e.field, e.name = fieldName, e.name[:0]
}

// end: a stream says in its events whether it is whole. OpenAI's chat completions end with a word that is no JSON, behind
// what was used.
func (e *events) end() string {
	if e.to.target.API == Chat && len(e.to.counts) > 0 {
		e.to.last = true
	}
	return ""
}

const (
	// maxPayload is how much of one of Amazon's frames is read, in bytes. Those that tell what was used are small.
	maxPayload = 256 << 10
	// maxFrame is Amazon's own limit.
	maxFrame = 24 << 20
)

// frames are Amazon's event stream: a length, the headers' length and a checksum; headers; a payload; a checksum.
type frames struct {
	to     *Answer
	head   []byte
	skip   int // of headers
	size   int // of the payload that is to come
	text   []byte
	tail   int // of the checksum
	broken bool
}

func (f *frames) write(p []byte) {
	for len(p) > 0 && !f.broken {
		switch {
		case len(f.head) < 12:
			n := min(12-len(f.head), len(p))
			f.head, p = append(f.head, p[:n]...), p[n:]
			if len(f.head) == 12 {
				f.begin()
			}
		case f.skip > 0:
			n := min(f.skip, len(p))
			f.skip, p = f.skip-n, p[n:]
		case f.size > 0:
			n := min(f.size, len(p))
			if len(f.text)+n <= maxPayload {
				f.text = append(f.text, p[:n]...)
			}
			f.size, p = f.size-n, p[n:]
			if f.size == 0 {
				f.payload()
			}
		default:
			n := min(f.tail, len(p))
			f.tail, p = f.tail-n, p[n:]
			if f.tail == 0 {
				f.head = f.head[:0]
			}
		}
	}
}

func (f *frames) begin() {
	total, headers := int64(binary.BigEndian.Uint32(f.head)), int64(binary.BigEndian.Uint32(f.head[4:]))
	if total > maxFrame || headers > total || total < 16+headers {
		f.broken = true
		return
	}
	f.skip, f.size, f.tail, f.text = int(headers), int(total-headers-16), 4, f.text[:0]
}

// payload is an event, or has Anthropic's in base 64.
func (f *frames) payload() {
	text := f.text
	var wrapped struct{ Bytes []byte }
	if f.to.target.API == BedrockInvoke && json.Unmarshal(text, &wrapped) == nil && len(wrapped.Bytes) > 0 {
		text = wrapped.Bytes
	}
	f.to.scan.reset()
	f.to.scan.write(text)
	if f.to.target.API == BedrockConverse && len(f.to.counts) > 0 {
		f.to.last = true // the event with the counts is the last
	}
}

func (f *frames) end() string {
	if f.broken {
		return "the answer is not in Amazon's form"
	}
	return ""
}
