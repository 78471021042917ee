package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
)

// shortest is the least length of a secret that is looked for in texts: shorter ones occur by chance.
const shortest = 8

// forms is what value becomes in the encodings that programs use without being asked: itself; base64, wherever in the
// encoded bytes it begins; percent-encoded, as JSON and HTML text. Its encodings in base64 leave out the characters
// at the ends that depend on its neighbours.
func forms(value string) []string {
	if len(value) < shortest {
		return nil
	}
	all := []string{value, url.QueryEscape(value), url.PathEscape(value), html.EscapeString(value)}
	if text, err := json.Marshal(value); err == nil {
		inner := strings.Trim(string(text), `"`)
		all = append(all, inner, strings.ReplaceAll(inner, "/", `\/`))
	}
	for offset := range 3 {
		standard, web := base64Core(base64.StdEncoding, value, offset), base64Core(base64.URLEncoding, value, offset)
		all = append(all, standard, web, strings.NewReplacer("+", "%2B", "/", "%2F").Replace(standard))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// base64Core is what of value's encoding depends on value alone when offset bytes, modulo 3, stand before it.
func base64Core(e *base64.Encoding, value string, offset int) string {
	encoded := e.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, offset), value...))
	first := (offset*8 + 5) / 6
	whole := (offset + len(value)) * 8 / 6
	return encoded[first:whole]
}

// unescaper decodes percent-encoding and JSON's \u escapes of ASCII in a stream, and leaves everything else as it is.
// What it makes is looked at and thrown away, so it need not know which of the two a text is in.
type unescaper struct {
	pending []byte // the beginning of an escape
}

// changes says whether the unescaper makes anything else of data than data.
func (u *unescaper) changes(data []byte) bool {
	return len(u.pending) > 0 || bytes.IndexByte(data, '%') >= 0 || bytes.IndexByte(data, '\\') >= 0
}

// write appends to out what data, after what was pending, stands for.
func (u *unescaper) write(out, data []byte) []byte {
	for len(data) > 0 {
		if len(u.pending) > 0 {
			u.pending, data = append(u.pending, data[0]), data[1:]
			for len(u.pending) > 0 {
				n, char, whole := unescape(u.pending)
				if !whole {
					break
				}
				out = append(out, char)
				u.pending = append(u.pending[:0], u.pending[n:]...)
			}
			continue
		}
		plain := 0
		for plain < len(data) && data[plain] != '%' && data[plain] != '\\' {
			plain++
		}
		out, data = append(out, data[:plain]...), data[plain:]
		if len(data) == 0 {
			break
		}
		n, char, whole := unescape(data)
		if !whole {
			u.pending = append(u.pending, data...)
			break
		}
		out, data = append(out, char), data[n:]
	}
	return out
}

// unescape reads the first character of text, which is not empty. It is not whole when more is needed to tell.
func unescape(text []byte) (n int, char byte, whole bool) {
	switch {
	case text[0] == '%':
		return hexEscape(text, 1, 3)
	case text[0] == '\\' && len(text) == 1:
		return 0, 0, false
	case text[0] == '\\' && text[1] == '/':
		return 2, '/', true
	case text[0] == '\\' && text[1] == 'u':
		return hexEscape(text, 2, 6)
	}
	return 1, text[0], true
}

// hexEscape reads hexadecimal digits in text[from:to] that stand for a character of ASCII. Anything else is no escape.
func hexEscape(text []byte, from, to int) (n int, char byte, whole bool) {
	value := 0
	for _, b := range text[from:min(to, len(text))] {
		digit := strings.IndexByte(lowerHex, b|0x20)
		if digit < 0 || b < '0' {
			return 1, text[0], true
		}
		value = value<<4 | digit
	}
	if len(text) < to {
		return 0, 0, false
	}
	if value > 0x7f {
		return 1, text[0], true
	}
	return to, byte(value), true
}
