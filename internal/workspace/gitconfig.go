package workspace

import (
	"errors"
	"strings"
)

// setting is one line of a git configuration file. Section and key are lower case; subsections are dropped.
type setting struct{ section, key, value string }

// parseGitConfig reads the settings of a git configuration file (git-config(1), "Syntax") in order. It
// skips what it cannot read, since it only looks for more to protect.
func parseGitConfig(data []byte) (settings []setting) {
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
		settings = append(settings, setting{section, key, value})
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

// parseGitFile reads a .git file: "gitdir: PATH" (gitrepository-layout(5)).
func parseGitFile(data []byte) (string, error) {
	target, ok := strings.CutPrefix(string(data), "gitdir: ")
	if !ok {
		return "", errors.New("it does not start with gitdir")
	}
	return parsePathLine([]byte(target))
}

// parsePathLine reads a file that has one path and nothing else, such as commondir.
func parsePathLine(data []byte) (string, error) {
	line := strings.TrimRight(string(data), "\r\n")
	if line == "" || len(line) > 4096 || strings.ContainsAny(line, "\n\r\x00") {
		return "", errors.New("it is not one path")
	}
	return line, nil
}
