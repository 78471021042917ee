// Package sniff says what the first bytes of a connection speak, before anybody answers them. It opens
// nothing and decides nothing; what it reads was written by the sandbox.
package sniff

import "bytes"

// Protocol is what a connection begins with. The zero value is none of those that can be judged.
type Protocol int

// The protocols.
const (
	Other Protocol = iota
	TLS            // a handshake record
	HTTP1          // a request line
	HTTP2          // the preface of HTTP/2 without TLS (RFC 9113 section 3.4)
)

// MaxFirst is how many bytes say what a connection speaks: a request line of the length that servers take.
const MaxFirst = 16 << 10

// First says what b, the first bytes of a connection, begins. More means that b is too short to tell; of
// MaxFirst bytes it is never said. Line protocols look alike (Redis: "SET a b", memcached: "get a"), so
// only a whole request line with its version is HTTP/1.
func First(b []byte) (p Protocol, more bool) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	more = len(b) < MaxFirst
	switch {
	case len(b) == 0:
		return Other, true
	case b[0] == recordHandshake:
		if len(b) == 1 {
			return Other, true
		}
		if b[1] == 3 {
			return TLS, false
		}
		return Other, false
	case bytes.HasPrefix(b, []byte(preface)):
		return HTTP2, false
	case len(b) < len(preface) && bytes.HasPrefix([]byte(preface), b):
		return Other, true
	}
	line, _, ended := bytes.Cut(b, []byte("\n"))
	if !beginsRequestLine(line) {
		return Other, false
	}
	if !ended {
		return Other, more
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if i := bytes.LastIndexByte(line, ' '); i > 0 && bytes.HasPrefix(line[i+1:], []byte("HTTP/1.")) {
		return HTTP1, false
	}
	return Other, false
}

// recordHandshake is the first byte of every TLS connection (RFC 8446 section 5.1).
const recordHandshake = 22

// beginsRequestLine says whether line may be the beginning of a method, a space and more text. It is not
// the check of a request, which whoever serves it makes.
func beginsRequestLine(line []byte) bool {
	const maxMethod = 32
	method, rest, _ := bytes.Cut(line, []byte(" "))
	letter := func(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_' }
	for _, c := range method {
		if !letter(c) {
			return false
		}
	}
	for _, c := range bytes.TrimSuffix(rest, []byte("\r")) {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return len(method) > 0 && len(method) <= maxMethod
}
