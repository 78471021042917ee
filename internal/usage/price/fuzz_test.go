package price

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// FuzzMatch compares with a regular expression.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{{"a*", "abc"}, {"*a*b*", "xaxb"}, {"", ""}, {"**", "a"}, {"claude-*-4", "claude-opus-4"}, {"a*a*a*b", "aaaaaaa"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		// The expression counts runes where bytes are no text.
		if !valid(glob) || !valid(name) {
			return
		}
		want := regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`) + `\z`).MatchString(name)
		if got := match(glob, name); got != want {
			t.Errorf("%q and %q: %v", glob, name, got)
		}
	})
}

func valid(text string) bool { return strings.ToValidUTF8(text, "") == text && len(text) < 300 }

// FuzzName looks for whatever an answer may call its model.
func FuzzName(f *testing.F) {
	all, err := Builtin()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"claude-opus-4-8", "us.anthropic.claude-opus-4-5-20251101-v1:0", "@", "-", "claude-", "anthropic.-v", "a/[", "o1", "claude-4-4-4-4-4", "gpt-99999999999999999999"} {
		f.Add(seed, int64(12), int64(7))
	}
	f.Fuzz(func(t *testing.T, model string, n, m int64) {
		for i, name := range spellings(model) {
			if len(name) > longest+1 || i > longest {
				t.Fatalf("%d names, the last of %d bytes", i, len(name))
			}
		}
		at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
		tok := usage.Tokens{Input: n / 4, CacheWrite1h: n / 4, CacheRead: n / 4, Output: m}
		cost, near, ok := all.Cost(model, at, tok)
		worst, known := all.Worst(model, at, n, m)
		if ok != known || cost < 0 || cost > worst && n >= 0 || !ok && (cost != 0 || near != "") {
			t.Errorf("%q: %d of at most %d, %q, %v", model, cost, worst, near, ok)
		}
	})
}

// FuzzRows reads rows as a configuration has them, and what comes out of them again.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{
		`[{model: a, input: 1, output: "2.5", above: [{prompt: 5, input: 3}], from: 2026-01-01, search: 10}]`,
		`[{"model":"a*","input":"0.1","output":2,"cache_read":0.05,"cache_write_1h":9}]`,
		"- model: x\n  input: 1 # one\n  output: 'two'", `[{input: 1e3}]`, `[{from: 2026-13-01}]`, `[{input: ~}]`, `[{above: [{prompt: -1}]}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// The configuration refuses what makes this library slow or worse, before it comes here.
		if len(text) > 4096 || strings.ContainsAny(text, "&*!<") || strings.Count(text, "[")+strings.Count(text, "{")+strings.Count(text, "-") > 64 {
			return
		}
		var rows []Row
		if json.Unmarshal([]byte(text), &rows) != nil {
			rows = nil
			if yaml.UnmarshalWithOptions([]byte(text), &rows, yaml.Strict()) != nil {
				return
			}
		}
		all, err := new(Table).With(rows)
		if err != nil {
			return
		}
		out, err := json.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		var again []Row
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		same, err := new(Table).With(again)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		for _, r := range rows {
			tok := usage.Tokens{Input: 3, CacheWrite: 5, CacheWrite1h: 7, CacheRead: 11, Output: 13, Searches: 17}
			a, _, _ := all.Cost(r.Model, r.From.time, tok)
			b, _, _ := same.Cost(r.Model, r.From.time, tok)
			if a != b || a < 0 {
				t.Errorf("%s: %d and %d", out, a, b)
			}
		}
	})
}
