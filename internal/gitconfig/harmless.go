package gitconfig

import (
	"bytes"
	"slices"
	"strings"
)

// Harmless reports whether a repository's configuration is one that git itself writes and in which nothing can
// make git execute, or write outside of the repository. It knows what is harmless, not what harms: git learns new
// settings all the time. So that it cannot be made to read something else than git does, it accepts only
// lines that have one meaning: a section, or a key and a plain value; no quotes, escapes or continuations.
func Harmless(data []byte) bool { return HarmlessBeyond(nil, data) }

// HarmlessBeyond is Harmless for what data has beyond base: a line that stands in base, below the same section's
// line, may be anything. Lines that go on in the next one, or end otherwise, make base worth nothing.
func HarmlessBeyond(base, data []byte) bool {
	known := linesOf(base)
	section, header := "", ""
	for line := range bytes.Lines(data) {
		whole := strings.TrimSuffix(string(line), "\n")
		text := strings.Trim(whole, " \t")
		if strings.HasPrefix(text, "[") {
			section, header = "", whole
		}
		if known[[2]string{header, whole}] && whole != header {
			continue
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == '\\' }) {
			return false
		}
		switch {
		case text == "", text[0] == '#', text[0] == ';':
		case text[0] == '[':
			head, ok := strings.CutSuffix(text[1:], "]")
			name, sub, has := strings.Cut(head, " ")
			if has {
				inner, quoted := strings.CutPrefix(sub, `"`)
				inner, closed := strings.CutSuffix(inner, `"`)
				ok = ok && quoted && closed && !strings.ContainsAny(inner, `"]`)
			}
			if section = strings.ToLower(name); ok && harmless(section) != nil {
				continue
			}
			if section = ""; !known[[2]string{header, header}] {
				return false
			}
		default:
			key, value, ok := strings.Cut(text, "=")
			key = strings.ToLower(strings.TrimSpace(key))
			if !ok || strings.ContainsAny(value, `"#;`) || !slices.Contains(harmless(section), key) {
				return false
			}
		}
	}
	return true
}

// linesOf is every line of a configuration with the section's line above it; that itself stands below itself.
func linesOf(data []byte) map[[2]string]bool {
	known, header := map[[2]string]bool{}, ""
	for line := range bytes.Lines(data) {
		whole := strings.TrimSuffix(string(line), "\n")
		text := strings.Trim(whole, " \t")
		if strings.HasSuffix(text, `\`) || strings.Contains(text, "\r") {
			return nil
		}
		if strings.HasPrefix(text, "[") {
			header = whole
		}
		known[[2]string{header, whole}] = true
	}
	return known
}

// harmless are the keys of a section that make git execute nothing, nil for another section. The addresses among
// them are of programs that git has anyway; those that could name a command (ext::) it refuses by itself.
func harmless(section string) []string {
	switch section {
	case "core":
		return []string{"repositoryformatversion", "filemode", "bare", "logallrefupdates", "ignorecase", "precomposeunicode",
			"symlinks", "autocrlf", "eol", "safecrlf", "quotepath", "sparsecheckout", "sparsecheckoutcone", "abbrev", "longpaths"}
	case "extensions":
		return []string{"objectformat", "compatobjectformat", "refstorage", "partialclone", "worktreeconfig"}
	case "user":
		return []string{"name", "email", "useconfigonly"}
	case "remote":
		return []string{"url", "pushurl", "fetch", "push", "tagopt", "prune", "mirror", "promisor", "partialclonefilter"}
	case "branch":
		return []string{"remote", "merge", "rebase", "pushremote", "description"}
	case "submodule":
		return []string{"active", "url"}
	case "commit", "tag":
		return []string{"gpgsign"}
	case "init":
		return []string{"defaultbranch"}
	case "pull":
		return []string{"rebase", "ff"}
	case "push":
		return []string{"default", "autosetupremote"}
	case "fetch":
		return []string{"prune"}
	case "gc":
		return []string{"auto", "autodetach"}
	}
	return nil
}
