// Package hostname is the one place where a host's name or address is read, normalised, compared and
// classified, so that two parts of the program can never read the same bytes differently. It is a leaf:
// it imports nothing of ours, opens nothing and resolves nothing.
package hostname

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// MaxName and maxLabel are the limits of RFC 1035 section 2.3.4, in bytes, without the trailing dot.
const (
	MaxName  = 253
	maxLabel = 63
)

// Name is a host name in canonical form: lower-case ASCII letters, digits and inner hyphens in labels,
// no trailing dot, internationalised labels as punycode, and never anything that some resolver could
// take for an IP address. Only Parse makes one; the empty Name stands for no name and matches nothing.
type Name string

// Parse returns the canonical form of s. One trailing dot is removed and ASCII capitals are lowered;
// Unicode is accepted only as IDNA 2008 writes it for registration, so nothing is mapped: full-width
// letters, circled digits or the Kelvin sign are errors, not other spellings of an ASCII name.
// Underscores are refused: they occur in service records, not in host names (RFC 1123 section 2.1).
func Parse(s string) (Name, error) {
	// A code point takes four bytes at most and at least one of punycode; longer input is not worth
	// the quadratic work of converting it.
	if len(s) > 4*MaxName {
		return "", fmt.Errorf("host name is %d bytes long, at most %d are allowed", len(s), MaxName)
	}
	labels := strings.Split(strings.TrimSuffix(lower(s), "."), ".")
	for i, label := range labels {
		ascii, err := canonicalLabel(label)
		if err != nil {
			return "", fmt.Errorf("invalid host name %q: %w", s, err)
		}
		labels[i] = ascii
	}
	if isNumber(labels[len(labels)-1]) {
		return "", fmt.Errorf("invalid host name %q: it reads as an IP address", s)
	}
	name := strings.Join(labels, ".")
	if len(name) > MaxName {
		return "", fmt.Errorf("host name is %d bytes long, at most %d are allowed", len(name), MaxName)
	}
	return Name(name), nil
}

// lower lowers ASCII only: strings.ToLower would turn the Kelvin sign into an ordinary k.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// canonicalLabel checks one label and converts it to ASCII.
func canonicalLabel(label string) (string, error) {
	if label == "" {
		return "", fmt.Errorf("empty label")
	}
	unicode := strings.IndexFunc(label, func(r rune) bool { return r >= 0x80 }) >= 0
	if unicode || strings.HasPrefix(label, "xn--") {
		ascii, err := idna.Registration.ToASCII(label)
		// Punycode that decodes to plain ASCII, or that is not how its text is encoded, is a second
		// spelling of some other name.
		if err != nil || !unicode && ascii != label {
			return "", fmt.Errorf("label %q is not valid IDNA", label)
		}
		label = ascii
	}
	if len(label) > maxLabel {
		return "", fmt.Errorf("a label is %d bytes long, at most %d are allowed", len(label), maxLabel)
	}
	for i, c := range []byte(label) {
		inner := i > 0 && i < len(label)-1
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && inner) {
			return "", fmt.Errorf("%q is not allowed there", c)
		}
	}
	return label, nil
}

// isNumber says whether a last label makes inet_aton and browsers read the whole name as an IPv4
// address: "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x" (WHATWG URL, "ends in a number").
// No top-level domain is a number, so no real name is lost.
func isNumber(label string) bool {
	digits := "0123456789"
	if rest, hex := strings.CutPrefix(label, "0x"); hex {
		label, digits = rest, digits+"abcdef"
	}
	return strings.Trim(label, digits) == ""
}
