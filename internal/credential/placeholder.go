package credential

import (
	"crypto/rand"
	"strings"
)

const (
	lowerHex  = "0123456789abcdef"
	upper     = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base64URL = base62 + "-_"
)

// Shape is how a service's secrets look: programs check that before they send one. The zero Shape is 40 letters and
// digits.
type Shape struct {
	Prefix, Suffix string
	Length         int // of what is between them, in characters
	Alphabet       string
	// Then is what follows behind a colon, for secrets of two parts.
	Then *Shape
}

// core is how many random characters a placeholder has at least: 64 bits in hexadecimal, 82 and more in letters and digits.
const core = 16

// New makes a placeholder: of that shape, and like no other ever made. Between prefix and suffix it has only letters
// and digits where the alphabet allows, so that most encodings leave it as it is.
func (s Shape) New() string {
	alphabet, length := s.Alphabet, s.Length
	if alphabet == "" || alphabet == base64URL {
		alphabet = base62
	}
	if length == 0 {
		length = 40
	}
	var b strings.Builder
	b.WriteString(s.Prefix)
	for range max(length, core) {
		b.WriteByte(alphabet[index(len(alphabet))])
	}
	b.WriteString(s.Suffix)
	if s.Then != nil {
		b.WriteString(":" + s.Then.New())
	}
	return b.String()
}

// AWSKeyID is how Amazon's access keys look, the half of them that is no secret; AWSKey is the other half.
func AWSKeyID() Shape { return Shape{Prefix: "AKIA", Length: 16, Alphabet: upper} }

// AWSKey is the shape of their secret half.
func AWSKey() Shape { return Shape{Length: 40} }

// Fits says whether New could have made placeholder.
func (s Shape) Fits(placeholder string) bool {
	if s.Then != nil {
		first, rest, ok := strings.Cut(placeholder, ":")
		only := s
		only.Then = nil
		return ok && only.Fits(first) && s.Then.Fits(rest)
	}
	return placeholder != "" && strings.HasPrefix(placeholder, s.Prefix) && strings.HasSuffix(placeholder, s.Suffix)
}

// index is a random number below n, which is at most 256.
func index(n int) int {
	var b [1]byte
	for {
		_, _ = rand.Read(b[:]) // never fails, crypto/rand says
		if int(b[0]) < 256-256%n {
			return int(b[0]) % n
		}
	}
}
