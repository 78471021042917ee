package leaks

import (
	"bytes"
	"slices"
	"strings"
)

// Finding is one secret, or what looks like one.
type Finding struct {
	Rule string `json:"rule"`
	What string `json:"what"` // a phrase for people
	Path string `json:"path"` // slash-separated, relative to what was searched
	Line int    `json:"line,omitempty"`
	// Commit is the abbreviated name of the commit that brought it; "" is the file as it is.
	Commit string `json:"commit,omitempty"`
}

const (
	// maxFindings bounds what is told of one file, and maxAll what is told of all.
	maxFindings = 100
	maxAll      = 2000
)

// Passes says whether no rule speaks of anything in a file or directory of that path: gitleaks leaves out pictures,
// lock files and other people's modules.
func (r *Rules) Passes(path string) bool { return fits(r.allowed.paths, path) }

// Scan finds the secrets in a text. It is a pure function, and returns one finding for each line and rule.
func (r *Rules) Scan(path string, text []byte) []Finding {
	if r.Passes(path) {
		return nil
	}
	return r.scan(path, text)
}

// scan is Scan for a path that does not pass.
func (r *Rules) scan(path string, text []byte) []Finding {
	if bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 { // git's own test for a binary file
		return nil
	}
	lower := bytes.ToLower(text)
	var found []Finding
	for _, rule := range r.rules {
		if len(found) >= maxFindings {
			break
		}
		if rule.path != nil && !rule.path().MatchString(path) || !rule.mentioned(lower) {
			continue
		}
		if rule.regex == nil {
			found = append(found, Finding{Rule: rule.ID, What: rule.what(), Path: path})
			continue
		}
		for _, at := range rule.regex().FindAllSubmatchIndex(text, maxFindings) {
			m := rule.match(text, at)
			if rule.Entropy > 0 && entropy(m.secret) <= rule.Entropy || strings.Contains(m.line, "gitleaks:allow") {
				continue
			}
			if r.allowed.allows(path, m) || slices.ContainsFunc(rule.allowlists, func(a allowlist) bool { return a.allows(path, m) }) {
				continue
			}
			line := 1 + bytes.Count(text[:at[0]], []byte("\n"))
			f := Finding{Rule: rule.ID, What: rule.what(), Path: path, Line: line}
			if !slices.Contains(found, f) {
				found = append(found, f)
			}
		}
	}
	return onePerLine(found)
}

// onePerLine leaves out what the generic rule says of lines that another has named.
func onePerLine(found []Finding) []Finding {
	const generic = "generic-api-key"
	return slices.DeleteFunc(found, func(f Finding) bool {
		return f.Rule == generic && slices.ContainsFunc(found, func(other Finding) bool { return other.Line == f.Line && other.Rule != generic })
	})
}

// mentioned says whether a text in lower case has one of the rule's words.
func (r *rule) mentioned(lower []byte) bool {
	return len(r.Keywords) == 0 || slices.ContainsFunc(r.Keywords, func(word string) bool { return bytes.Contains(lower, []byte(word)) })
}

// match is what the expression found at those places.
func (r *rule) match(text []byte, at []int) match {
	group := func(i int) string {
		if 2*i+1 >= len(at) || at[2*i] < 0 {
			return ""
		}
		return string(text[at[2*i]:at[2*i+1]])
	}
	start := bytes.LastIndexByte(text[:at[0]], '\n') + 1
	end := len(text)
	if n := bytes.IndexByte(text[at[1]:], '\n'); n >= 0 {
		end = at[1] + n
	}
	m := match{secret: group(r.SecretGroup), whole: group(0), line: string(text[start:end])}
	for i := 1; r.SecretGroup == 0 && 2*i < len(at); i++ {
		if g := group(i); g != "" {
			m.secret = g
			break
		}
	}
	return m
}

// what is the rule as a phrase: its identity, in words.
func (r *rule) what() string { return strings.ReplaceAll(r.ID, "-", " ") }
