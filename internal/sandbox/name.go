package sandbox

import (
	"fmt"
	"strings"
)

// MaxName is the longest sandbox name in bytes. It keeps host names and file names legal.
const MaxName = 48

// CheckName reports why name cannot be a sandbox's. A name is one path element, one DNS label and one
// shell word: lower-case letters, digits and inner hyphens, starting with a letter or digit.
func CheckName(name string) error {
	if name == "" {
		return fmt.Errorf("a sandbox name cannot be empty")
	}
	if len(name) > MaxName {
		return fmt.Errorf("sandbox name is %d bytes long, at most %d are allowed", len(name), MaxName)
	}
	for i, c := range []byte(name) {
		inner := i > 0 && i < len(name)-1
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && inner) {
			return fmt.Errorf("invalid sandbox name %q: only a-z, 0-9 and inner hyphens are allowed", name)
		}
	}
	return nil
}

// NameFrom makes a valid name out of any words, such as an agent's name and a directory's.
func NameFrom(words ...string) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(strings.Join(words, "-"))) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			c = '-'
		}
		if c == '-' && (b.Len() == 0 || strings.HasSuffix(b.String(), "-")) {
			continue
		}
		b.WriteByte(c)
	}
	name := b.String()
	// Room for a "-99" that makes a taken name unique.
	name = strings.Trim(name[:min(len(name), MaxName-3)], "-")
	if name == "" {
		return "sandbox"
	}
	return name
}
