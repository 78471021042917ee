package history

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// cursor reads JSON from left to right and makes something of it only where it is asked to, which is what makes reading
// a long history fast: nearly all of it is what was said. Of what it passes over it knows no more than where it ends.
// Once something is not as it was asked for, it is bad, and everything else that it says is nothing.
type cursor struct {
	text []byte
	at   int
	bad  bool
}

// next is the first byte of the next value or sign, 0 at the end.
func (c *cursor) next() byte {
	for ; c.at < len(c.text); c.at++ {
		if b := c.text[c.at]; b != ' ' && b != '\n' && b != '\r' && b != '\t' {
			return b
		}
	}
	return 0
}

func (c *cursor) fail() { c.bad, c.at = true, len(c.text) }

// accept passes over a sign if it is the next.
func (c *cursor) accept(sign byte) bool {
	if c.next() != sign {
		return false
	}
	c.at++
	return true
}

// null passes over a null if it is the next.
func (c *cursor) null() bool {
	if c.next() == 'n' && bytes.HasPrefix(c.text[c.at:], []byte("null")) {
		c.at += 4
		return true
	}
	return false
}

// object calls each with every key of an object, with the cursor before its value; what each does not read is passed over.
// A null is an object without keys.
func (c *cursor) object(each func(key []byte)) {
	if c.null() {
		return
	}
	if !c.accept('{') {
		c.fail()
		return
	}
	if c.accept('}') {
		return
	}
	for !c.bad {
		key := c.key()
		if !c.accept(':') {
			c.fail()
			return
		}
		c.next()
		before := c.at
		each(key)
		if c.at == before {
			c.skip()
		}
		if c.accept('}') {
			return
		}
		if !c.accept(',') {
			c.fail()
		}
	}
}

// array calls each before every value.
func (c *cursor) array(each func()) {
	if c.null() {
		return
	}
	if !c.accept('[') {
		c.fail()
		return
	}
	if c.accept(']') {
		return
	}
	for !c.bad {
		c.next()
		before := c.at
		each()
		if c.at == before {
			c.skip()
		}
		if c.accept(']') {
			return
		}
		if !c.accept(',') {
			c.fail()
		}
	}
}

// quoted passes over a string and returns it with its quotes.
func (c *cursor) quoted() []byte {
	if c.next() != '"' {
		c.fail()
		return nil
	}
	begin := c.at
	for i := begin + 1; ; {
		n := bytes.IndexByte(c.text[i:], '"')
		if n < 0 {
			c.fail()
			return nil
		}
		i += n + 1
		slashes := 0
		for c.text[i-2-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			c.at = i
			return c.text[begin:i]
		}
	}
}

// key is a key. One with escapes in it is rare, and made plain.
func (c *cursor) key() []byte {
	q := c.quoted()
	if c.bad || bytes.IndexByte(q, '\\') < 0 {
		return bytes.Trim(q, `"`)
	}
	return []byte(c.decode(q))
}

func (c *cursor) decode(q []byte) string {
	if c.bad {
		return ""
	}
	plain := q[1 : len(q)-1]
	if bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain)
	}
	var s string
	if json.Unmarshal(q, &s) != nil {
		c.fail()
	}
	return s
}

// name is a string that can be an identifier: not too long, and without what a terminal would obey. told is false for null.
func (c *cursor) name() (name string, told bool) {
	if c.null() {
		return "", false
	}
	q := c.quoted()
	if len(q) > maxName {
		c.fail()
		return "", false
	}
	name = c.decode(q)
	if strings.ContainsFunc(name, unprintable) {
		c.fail()
	}
	return name, !c.bad
}

// number passes over a number and returns it as it is written.
func (c *cursor) number() string {
	c.next()
	begin := c.at
	for c.at < len(c.text) && strings.IndexByte("+-.0123456789eE", c.text[c.at]) >= 0 {
		c.at++
	}
	if begin == c.at {
		c.fail()
	}
	return string(c.text[begin:c.at])
}

// count is a number of tokens. A null is none.
func (c *cursor) count() int64 { return c.whole(maxTokens) }

// whole is a whole number from 0 to most. A null is 0.
func (c *cursor) whole(most int64) int64 {
	if c.null() {
		return 0
	}
	text := c.number()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		// Other languages have no whole numbers.
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != float64(int64(f)) {
			c.fail()
			return 0
		}
		n = int64(f)
	}
	if n < 0 || n > most || c.bad {
		c.fail()
		return 0
	}
	return n
}

// money is an amount in dollars. A null, and what is less than nothing, is not told.
func (c *cursor) money() (m usage.Money, told bool) {
	if c.null() {
		return 0, false
	}
	if m.UnmarshalJSON([]byte(c.number())) != nil {
		c.fail()
	}
	return m, !c.bad && m >= 0
}

// yes is a truth value. A null is false.
func (c *cursor) yes() bool {
	c.next()
	for _, word := range []string{"true", "false"} {
		if bytes.HasPrefix(c.text[c.at:], []byte(word)) {
			c.at += len(word)
			return word == "true"
		}
	}
	if !c.null() {
		c.fail()
	}
	return false
}

// time is a moment as RFC 3339 writes it.
func (c *cursor) time() time.Time {
	text, _ := c.name()
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		c.fail()
		return time.Time{}
	}
	return t.UTC()
}

// skip passes over one value, however deep.
func (c *cursor) skip() {
	for depth := 0; ; {
		switch b := c.next(); b {
		case 0:
			c.fail()
			return
		case '"':
			c.quoted()
		case '{', '[':
			depth++
			c.at++
			continue
		case '}', ']':
			depth--
			c.at++
		case ',', ':':
			if depth == 0 {
				c.fail()
				return
			}
			c.at++
			continue
		default:
			for c.at < len(c.text) && !isSign(c.text[c.at]) {
				c.at++
			}
		}
		if c.bad || depth < 0 {
			c.fail()
			return
		}
		if depth == 0 {
			return
		}
	}
}

// end says whether all went well and nothing follows.
func (c *cursor) end() bool { return c.next() == 0 && !c.bad && c.at >= len(c.text) }

// isSign says whether a byte ends a number or a word.
func isSign(b byte) bool {
	switch b {
	case '"', '{', '}', '[', ']', ',', ':', ' ', '\n', '\r', '\t':
		return true
	}
	return false
}
