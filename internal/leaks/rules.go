// Package leaks finds secrets that lie in files, by the rules of gitleaks (gitleaks.toml, of version 8.30.1, as it is
// there; see LICENSE.gitleaks). It says where one lies and of what kind it seems to be, and never repeats it. What it
// reads is hostile: a project that an agent has written, or the history that git tells of it. It hides nothing, and
// knows no sandbox.
package leaks

import (
	_ "embed"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

//go:embed gitleaks.toml
var gitleaks string

// Rules say what a secret looks like.
type Rules struct {
	allowed allowlist // for every rule
	rules   []*rule
}

type rule struct {
	ID          string
	Keywords    []string // in lower case; a text without any has no match
	Entropy     float64  // in bits a character; 0 asks for none
	SecretGroup int      // which group of the expression is the secret; 0 is the first that matched
	regex, path func() *regexp.Regexp
	allowlists  []allowlist
}

// allowlist is what is no secret although it looks like one.
type allowlist struct {
	all       bool // everything that it names must be so; else one thing
	paths     []func() *regexp.Regexp
	regexes   []func() *regexp.Regexp
	target    string   // "match" or "line" for what the expressions are about; else it is the secret
	stopwords []string // in lower case
}

// file is gitleaks.toml.
type file struct {
	Allowlist fileAllowlist
	Rules     []struct {
		ID, Regex, Path string
		Keywords        []string
		Entropy         float64
		SecretGroup     int
		Allowlists      []fileAllowlist
	}
}

type fileAllowlist struct {
	Condition, RegexTarget    string
	Paths, Regexes, Stopwords []string
}

// Load reads the rules, which takes some milliseconds. Their expressions are compiled when they are needed.
func Load() (*Rules, error) {
	var f file
	if _, err := toml.Decode(gitleaks, &f); err != nil {
		return nil, fmt.Errorf("cannot read the rules for secrets: %w", err)
	}
	rules := &Rules{allowed: newAllowlist(f.Allowlist)}
	for _, r := range f.Rules {
		made := &rule{ID: r.ID, Keywords: r.Keywords, Entropy: r.Entropy, SecretGroup: r.SecretGroup, regex: lazily(r.Regex), path: lazily(r.Path)}
		for _, a := range r.Allowlists {
			made.allowlists = append(made.allowlists, newAllowlist(a))
		}
		rules.rules = append(rules.rules, made)
	}
	return rules, nil
}

func newAllowlist(f fileAllowlist) allowlist {
	a := allowlist{all: f.Condition == "AND", target: f.RegexTarget}
	for _, text := range f.Paths {
		a.paths = append(a.paths, lazily(text))
	}
	for _, text := range f.Regexes {
		a.regexes = append(a.regexes, lazily(text))
	}
	for _, word := range f.Stopwords {
		a.stopwords = append(a.stopwords, strings.ToLower(word))
	}
	return a
}

// lazily compiles an expression once, when it is first needed; "" is nil. A test compiles them all.
func lazily(text string) func() *regexp.Regexp {
	if text == "" {
		return nil
	}
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// match is one place that an expression fits.
type match struct{ secret, whole, line string }

// allows says whether m in path is no secret.
func (a allowlist) allows(path string, m match) bool {
	var checks []bool
	if len(a.paths) > 0 {
		checks = append(checks, fits(a.paths, path))
	}
	if len(a.regexes) > 0 {
		about := m.secret
		switch a.target {
		case "match":
			about = m.whole
		case "line":
			about = m.line
		}
		checks = append(checks, fits(a.regexes, about))
	}
	if len(a.stopwords) > 0 {
		lower := strings.ToLower(m.secret)
		checks = append(checks, slices.ContainsFunc(a.stopwords, func(word string) bool { return strings.Contains(lower, word) }))
	}
	if a.all {
		return len(checks) > 0 && !slices.Contains(checks, false)
	}
	return slices.Contains(checks, true)
}

func fits(expressions []func() *regexp.Regexp, text string) bool {
	return slices.ContainsFunc(expressions, func(e func() *regexp.Regexp) bool { return e().MatchString(text) })
}

// entropy is Shannon's, in bits a byte.
func entropy(s string) float64 {
	var count [256]float64
	for _, b := range []byte(s) {
		count[b]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := n / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}
