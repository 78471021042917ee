package patch

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
)

// Side is a file before or after a patch, nil where there is none.
type Side struct {
	Path    string
	Mode    uint32 // as git has it: 0o100644, 0o100755 or 0o120000
	Content []byte // of a link, its text
}

// File is the patch that leads from one side to the other, in git's form, nothing if they are alike. One of
// them may be nil.
func File(before, after *Side) []byte {
	from, to := before, after
	if from == nil {
		from = &Side{Path: after.Path}
	}
	if to == nil {
		to = &Side{Path: before.Path}
	}
	if before != nil && after != nil && before.Mode&0o170000 != after.Mode&0o170000 {
		// A file that becomes a link, or the other way round, is removed and made.
		return append(File(before, nil), File(nil, after)...)
	}
	same := before != nil && after != nil && bytes.Equal(from.Content, to.Content)
	if same && from.Path == to.Path && from.Mode == to.Mode {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "diff --git %s %s\n", quote("a/", from.Path), quote("b/", to.Path))
	switch {
	case before == nil:
		fmt.Fprintf(&b, "new file mode %06o\n", after.Mode)
	case after == nil:
		fmt.Fprintf(&b, "deleted file mode %06o\n", before.Mode)
	case before.Mode != after.Mode:
		fmt.Fprintf(&b, "old mode %06o\nnew mode %06o\n", before.Mode, after.Mode)
	}
	if from.Path != to.Path {
		fmt.Fprintf(&b, "rename from %s\nrename to %s\n", quote("", from.Path), quote("", to.Path))
	}
	if same {
		return b.Bytes()
	}
	if !IsText(from.Content) || !IsText(to.Content) {
		fmt.Fprintf(&b, "index %s..%s\nGIT binary patch\n", blob(before), blob(after))
		literal(&b, to.Content)
		literal(&b, from.Content)
		return b.Bytes()
	}
	hunks := Hunks(string(from.Content), string(to.Content))
	if len(hunks) == 0 {
		fmt.Fprintf(&b, "index %s..%s\n", blob(before), blob(after)) // an empty file comes or goes
		return b.Bytes()
	}
	name := func(s *Side, prefix, path string) string {
		if s == nil {
			return "/dev/null"
		}
		if strings.ContainsRune(path, ' ') {
			return quote(prefix, path) + "\t" // as git does, for patch(1), which else ends the name there
		}
		return quote(prefix, path)
	}
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", name(before, "a/", from.Path), name(after, "b/", to.Path))
	for _, h := range hunks {
		b.WriteString(h.String())
	}
	return b.Bytes()
}

// blob is git's name of the content, as binary patches must have it.
func blob(s *Side) string {
	if s == nil {
		return strings.Repeat("0", 2*sha1.Size)
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(s.Content)), s.Content...))
	return hex.EncodeToString(sum[:])
}

// quote is the path as git writes it: as it is, or between quotes with its odd bytes in octal.
func quote(prefix, path string) string {
	odd := func(c byte) bool { return c < ' ' || c >= 0x7f || c == '"' || c == '\\' }
	if !strings.ContainsFunc(path, func(r rune) bool { return r >= 0x7f || odd(byte(r)) }) {
		return prefix + path
	}
	var b strings.Builder
	b.WriteString(`"` + prefix)
	for i := range len(path) {
		switch c := path[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case odd(c):
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}

// literal writes content in git's binary form: deflated, 52 bytes a line in base 85 (git's Documentation/gitformat
// and base85.c), each line led by a letter for its length.
func literal(b *bytes.Buffer, content []byte) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	_, _ = z.Write(content) // to memory
	_ = z.Close()
	fmt.Fprintf(b, "literal %d\n", len(content))
	for rest := packed.Bytes(); len(rest) > 0; {
		line := rest[:min(52, len(rest))]
		rest = rest[len(line):]
		if n := len(line); n <= 26 {
			b.WriteByte(byte('A' + n - 1))
		} else {
			b.WriteByte(byte('a' + n - 27))
		}
		for i := 0; i < len(line); i += 4 {
			var word [4]byte
			copy(word[:], line[i:])
			value := uint32(word[0])<<24 | uint32(word[1])<<16 | uint32(word[2])<<8 | uint32(word[3])
			var digits [5]byte
			for d := 4; d >= 0; d-- {
				digits[d] = alphabet[value%85]
				value /= 85
			}
			b.Write(digits[:])
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}
