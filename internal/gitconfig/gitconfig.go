// Package gitconfig reads git's configuration files without git: a repository's file is hostile, and git would
// execute what it says. It writes the few settings that a sandbox is given. It opens no file.
package gitconfig

import (
	"fmt"
	"strings"
)

// Setting is one line of a git configuration file. Section and Key are lower case; subsections
// are dropped.
type Setting struct{ Section, Key, Value string }

// Parse reads the settings of a git configuration file (git-config(1), "Syntax") in order. It
// skips what it cannot read, and follows no include.
func Parse(data []byte) (settings []Setting) {
	section := ""
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for text != "" {
		text = strings.TrimLeft(text, " \t\n")
		if strings.HasPrefix(text, "[") {
			var head string
			head, text = cutHeader(text[1:])
			section = strings.ToLower(head)
			continue
		}
		end := strings.IndexAny(text, "=\n#;")
		if end < 0 {
			return settings
		}
		key := strings.ToLower(strings.TrimSpace(text[:end]))
		if text[end] != '=' { // a setting without a value, or a comment
			_, text, _ = strings.Cut(text[end:], "\n")
			continue
		}
		var value string
		value, text = cutValue(text[end+1:])
		settings = append(settings, Setting{section, key, value})
	}
	return settings
}

// cutHeader splits `core]…` or `include "x]"]…` into the section's name and what follows.
func cutHeader(text string) (name, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '\n':
			return "", text[i:]
		case c == ']' && !quoted:
			name, _, _ = strings.Cut(text[:i], " ")
			name, _, _ = strings.Cut(name, ".") // the old form of a subsection
			return strings.TrimSpace(name), text[i+1:]
		}
	}
	return "", ""
}

// cutValue reads a value up to the end of its line: quotes, escapes, comments and continuations.
func cutValue(text string) (value, rest string) {
	var b strings.Builder
	quoted, keep := false, 0 // keep: the length up to which blanks belong to the value
	text = strings.TrimLeft(text, " \t")
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\n':
			return b.String()[:keep], text[i+1:]
		case (c == '#' || c == ';') && !quoted:
			_, rest, _ = strings.Cut(text[i:], "\n")
			return b.String()[:keep], rest
		case c == '"':
			quoted = !quoted
			keep = b.Len()
			continue
		case c == '\\' && i+1 < len(text):
			i++
			if text[i] == '\n' {
				continue
			}
			c = text[i]
			if at := strings.IndexByte("ntb", c); at >= 0 {
				c = "\n\t\b"[at]
			}
		}
		b.WriteByte(c)
		if quoted || c != ' ' && c != '\t' {
			keep = b.Len()
		}
	}
	return b.String()[:keep], ""
}

// Identity returns the file that gives a sandbox the user's name and address as its system's settings, so that
// what a repository says comes before them. Later settings count. It is nil when there are none.
func Identity(settings []Setting) []byte {
	values := map[string]string{}
	for _, s := range settings {
		if s.Section == "user" {
			values[s.Key] = s.Value
		}
	}
	var b strings.Builder
	for _, key := range []string{"name", "email"} {
		if v := values[key]; v != "" {
			fmt.Fprintf(&b, "\t%s = %s\n", key, quote(v))
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return []byte("[user]\n" + b.String())
}

// quote writes a value so that Parse, and git, read it back.
func quote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\b", `\b`).Replace(value) + `"`
}
