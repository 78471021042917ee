package hostname

import (
	"fmt"
	"strings"
)

// Pattern is an exact host name, or "*.suffix" for every name below suffix at any depth, but not suffix
// itself. The zero Pattern matches nothing.
type Pattern struct {
	name Name // the exact name, or the suffix
	wild bool
}

// ParsePattern reads a pattern. It refuses what would match more than its writer sees: a bare "*", a
// wildcard over a whole top-level domain, a star elsewhere than as the first label, and Unicode, whose
// look-alikes a reader cannot tell apart; the error then gives the punycode to write.
func ParsePattern(s string) (Pattern, error) {
	rest, wild := strings.CutPrefix(s, "*.")
	if s == "*" || wild && strings.Trim(rest, ".") == "" {
		return Pattern{}, fmt.Errorf("pattern %q would match every host: write the hosts one by one, or *.DOMAIN", s)
	}
	if strings.Contains(rest, "*") {
		return Pattern{}, fmt.Errorf("pattern %q has a star that is not the whole first label: write *.DOMAIN", s)
	}
	name, err := Parse(rest)
	if err != nil {
		return Pattern{}, err
	}
	p := Pattern{name, wild}
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) >= 0 {
		return Pattern{}, fmt.Errorf("pattern %q is not ASCII: write %s", s, p)
	}
	if wild && !strings.Contains(string(name), ".") {
		return Pattern{}, fmt.Errorf("pattern %q would match a whole top-level domain: write *.DOMAIN.%s", s, name)
	}
	return p, nil
}

// Match says whether n is one of the pattern's names.
func (p Pattern) Match(n Name) bool {
	if p.name == "" || n == "" {
		return false
	}
	if !p.wild {
		return n == p.name
	}
	return strings.HasSuffix(string(n), "."+string(p.name))
}

// String returns the pattern in canonical form.
func (p Pattern) String() string {
	if p.wild {
		return "*." + string(p.name)
	}
	return string(p.name)
}
