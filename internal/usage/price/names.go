package price

import (
	"slices"
	"strings"
)

// longest is more than any model's name has. What an answer says is not ours, and a name is looked at from all sides.
const longest = 200

// spellings are the names under which the price of a model may be listed, the most exact first: as it is written; without
// the provider, the region and the version that gateways put around it (openai/…, us.anthropic.…-v1:0, …@20250514); and
// then with one after the other of what marks a snapshot cut off, the day above all.
func spellings(model string) []string {
	name := strings.ToLower(strings.TrimSpace(model))
	if len(name) > longest {
		name = name[:longest]
	}
	names := []string{name}
	add := func(n string) {
		if n != names[len(names)-1] {
			names = append(names, n)
		}
	}
	name = name[strings.LastIndexByte(name, '/')+1:]
	if i := strings.LastIndex(name, "anthropic."); i >= 0 {
		name = name[i+len("anthropic."):]
		if i := strings.LastIndex(name, "-v"); i >= 0 && digits(strings.ReplaceAll(name[i+2:], ":", "")) {
			name = name[:i]
		}
	}
	name, _, _ = strings.Cut(name, "[") // claude-…[1m] is how Claude Code asks for the long context
	if before, version, ok := strings.Cut(name, "@"); ok {
		name = before
		if digits(version) {
			name += "-" + version
		}
	}
	add(name)
	if strings.HasPrefix(name, "claude-") {
		add(claude(name))
	}
	for {
		short := snapshot(names[len(names)-1])
		if short == names[len(names)-1] {
			return names
		}
		names = append(names, short)
	}
}

// claude writes a Claude's name as Anthropic does: claude-opus-4-5 for claude-4.5-opus, but claude-3-5-haiku before 4.
func claude(name string) string {
	parts := strings.Split(strings.ReplaceAll(name, ".", "-"), "-")[1:]
	var version []string
	line, rest := "", []string(nil)
	for i, part := range parts {
		switch {
		case digits(part) && len(part) <= 2 && len(version) < 2:
			version = append(version, part)
		case line == "" && len(version) <= 2 && !digits(part):
			line = part
		default:
			rest = parts[i:]
		}
		if rest != nil {
			break
		}
	}
	if line == "" || len(version) == 0 {
		return name
	}
	if version[0] == "4" && len(version) == 2 && version[1] == "0" {
		version = version[:1]
	}
	ordered := slices.Concat([]string{"claude", line}, version, rest)
	if version[0] <= "3" && len(version[0]) == 1 {
		ordered = slices.Concat([]string{"claude"}, version, []string{line}, rest)
	}
	return strings.Join(ordered, "-")
}

// snapshot cuts off one mark of when a model was made, or nothing.
func snapshot(name string) string {
	for _, mark := range []string{"-dddddddd", "-dddd-dd-dd", "-preview-dd-dd", "-preview-dd-dddd", "-exp-dddd", "-ddd", "-latest", "-preview", "-exp", "-thinking"} {
		if before := len(name) - len(mark); before > 0 && fits(name[before:], mark) {
			return name[:before]
		}
	}
	return name
}

// fits compares with a mark, in which d is any digit.
func fits(text, mark string) bool {
	for i := range len(mark) {
		digit := text[i] >= '0' && text[i] <= '9'
		if mark[i] == 'd' && !digit || mark[i] != 'd' && text[i] != mark[i] {
			return false
		}
	}
	return true
}

func digits(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}

// match says whether a name fits a pattern, in which * stands for anything, nothing included. It goes back to the last *
// only, so a hostile name costs the product of the lengths and no more.
func match(glob, name string) bool {
	g, n, star, from := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, from = g, n
			g++
		case g < len(glob) && glob[g] == name[n]:
			g, n = g+1, n+1
		case star >= 0:
			from++
			g, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}
