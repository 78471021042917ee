package price

import (
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

func table(t testing.TB) *Table {
	t.Helper()
	all, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func day(text string) time.Time {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return at
}

func rows(t testing.TB) []Row {
	t.Helper()
	var file struct{ Rows []Row }
	if err := json.Unmarshal(builtin, &file); err != nil {
		t.Fatal(err)
	}
	return file.Rows
}

// TestCosts has sums that were made by hand from the providers' price lists.
func TestCosts(t *testing.T) {
	all := table(t)
	for _, test := range []struct {
		model, at string
		tok       usage.Tokens
		want      string
	}{
		// 12 × $5 + 21,386 × $6.25 + 25 × $25 and 12 × $5 + 64 × $6.25 + 21,476 × $0.50 + 25 × $25, a million.
		{"claude-opus-4-8", "2026-11-20", usage.Tokens{Input: 12, CacheWrite: 21386, Output: 25}, "0.1343475"},
		{"claude-opus-4-8", "2026-11-20", usage.Tokens{Input: 12, CacheWrite: 64, CacheRead: 21476, Output: 25}, "0.011823"},
		{"claude-opus-4-8", "2026-11-20", usage.Tokens{CacheWrite1h: 1_000_000}, "10"},
		{"claude-opus-4-8-fast", "2026-11-20", usage.Tokens{Input: 1000, Output: 1000}, "0.06"},
		{"claude-opus-4-1", "2025-09-01", usage.Tokens{Input: 1, Output: 1}, "0.00009"},
		{"claude-3-haiku-20240307", "2024-05-01", usage.Tokens{Input: 1, CacheRead: 1}, "0.00000028"},
		{"claude-sonnet-4-5", "2026-11-20", usage.Tokens{Searches: 3}, "0.03"},
		{"gpt-5-codex", "2025-10-01", usage.Tokens{Input: 750, CacheRead: 250, Output: 125, Thinking: 75}, "0.00221875"},
		{"gpt-5", "2025-10-01", usage.Tokens{CacheWrite: 4}, "0.000005"}, // which OpenAI did not charge for
		{"gemini-2.5-pro", "2026-01-01", usage.Tokens{Input: 1000, Output: 100}, "0.00225"},
		{"o3", "2025-05-01", usage.Tokens{Input: 100, Output: 10}, "0.0014"},
		{"o3", "2025-07-01", usage.Tokens{Input: 100, Output: 10}, "0.00028"},
		{"claude-opus-4-8", "2026-11-20", usage.Tokens{}, "0"},
	} {
		got, estimated, ok := all.Cost(test.model, day(test.at), test.tok)
		if got.Decimal() != test.want || estimated != "" || !ok {
			t.Errorf("%s on %s, %+v: %s, not %s; %q, %v", test.model, test.at, test.tok, got.Decimal(), test.want, estimated, ok)
		}
	}
}

func TestTiersChargeTheWholeCall(t *testing.T) {
	all := table(t)
	for _, test := range []struct {
		model, at string
		tok       usage.Tokens
		want      string
	}{
		{"claude-sonnet-4-5", "2026-01-01", usage.Tokens{Input: 200_000, Output: 1000}, "0.615"},
		{"claude-sonnet-4-5", "2026-01-01", usage.Tokens{Input: 200_001, Output: 1000}, "1.222506"},
		{"claude-sonnet-4-5", "2026-01-01", usage.Tokens{Input: 1, CacheRead: 200_000}, "0.120006"}, // what is cached is in the prompt
		{"claude-sonnet-4-6", "2026-03-12", usage.Tokens{Input: 300_000}, "1.8"},
		{"claude-sonnet-4-6", "2026-03-13", usage.Tokens{Input: 300_000}, "0.9"},
		{"claude-haiku-5-5", "2026-11-01", usage.Tokens{Input: 100_000, Output: 1000}, "0.0105"},
		{"claude-haiku-5-5", "2026-11-01", usage.Tokens{Input: 100_001, Output: 1000}, "0.0525005"},
		{"gpt-5.4", "2026-11-01", usage.Tokens{Input: 272_001, Output: 1}, "1.3600275"},
		{"gemini-2.5-pro", "2026-11-01", usage.Tokens{Input: 200_001}, "0.5000025"},
		{"gemini-1.5-pro-002", "2025-01-01", usage.Tokens{Input: 128_001}, "0.3200025"},
	} {
		if got, _, _ := all.Cost(test.model, day(test.at), test.tok); got.Decimal() != test.want {
			t.Errorf("%s on %s, %+v: %s, not %s", test.model, test.at, test.tok, got.Decimal(), test.want)
		}
	}
}

func TestSpellings(t *testing.T) {
	all := table(t)
	for model, same := range map[string]string{
		"claude-opus-4-5-20251101":                                           "claude-opus-4-5",
		"anthropic/claude-opus-4.5":                                          "claude-opus-4-5",
		"openrouter/anthropic/claude-opus-4.5":                               "claude-opus-4-5",
		"us.anthropic.claude-opus-4-5-20251101-v1:0":                         "claude-opus-4-5",
		"global.anthropic.claude-opus-4-6-v1":                                "claude-opus-4-6",
		"anthropic.claude-3-5-sonnet-20241022-v2:0":                          "claude-3-5-sonnet",
		"claude-sonnet-4-5@20250929":                                         "claude-sonnet-4-5",
		"publishers/anthropic/models/claude-sonnet-4@default":                "claude-sonnet-4",
		"arn:aws:bedrock:x:1:inference-profile/eu.anthropic.claude-opus-4-8": "claude-opus-4-8",
		"claude-4-sonnet-20250514":                                           "claude-sonnet-4",
		"claude-4.5-haiku":                                                   "claude-haiku-4-5",
		"claude-sonnet-4-0":                                                  "claude-sonnet-4",
		"claude-sonnet-3.7":                                                  "claude-3-7-sonnet",
		"claude-3-5-haiku-latest":                                            "claude-3-5-haiku",
		"claude-opus-4-8[1m]":                                                "claude-opus-4-8",
		"Claude-Opus-4-6-Thinking":                                           "claude-opus-4-6",
		"openai/gpt-4o-2024-11-20":                                           "gpt-4o",
		"azure/gpt-5-2025-08-07":                                             "gpt-5",
		"gpt-5.1-chat-latest":                                                "gpt-5.1-chat",
		"models/gemini-2.5-pro-preview-05-06":                                "gemini-2.5-pro",
		"gemini-2.5-flash-preview-09-2025":                                   "gemini-2.5-flash",
		"gemini-2.0-flash-001":                                               "gemini-2.0-flash",
		"gemini/gemini-3-pro-preview":                                        "gemini-3-pro",
	} {
		e, estimated, ok := all.price(model, day("2026-11-20"))
		if e.model != same || estimated != "" || !ok {
			t.Errorf("%s has the price of %q (%q, %v), not of %s; %q", model, e.model, estimated, ok, same, spellings(model))
		}
	}
	if e, _, _ := all.price("gpt-4o-2024-05-13", day("2026-01-01")); e.model != "gpt-4o-2024-05-13" {
		t.Errorf("a snapshot with a price of its own has that of %s", e.model)
	}
}

func TestNearestOfTheFamily(t *testing.T) {
	all := table(t)
	for model, want := range map[string]string{
		"claude-opus-4-9":             "claude-opus-4-8",
		"claude-opus-4-10":            "claude-opus-4-8",
		"claude-opus-9-20300101":      "claude-opus-5-5",
		"claude-opus-4-9-fast":        "claude-opus-4-8-fast",
		"us.anthropic.claude-haiku-6": "claude-haiku-5-5",
		"claude-sonnet-3-9":           "claude-3-7-sonnet",
		"openai/gpt-5.9-codex-nova":   "gpt-5.5-codex",
		"gpt-7":                       "gpt-5.6",
		"o5-mini":                     "o4-mini",
		"gemini-9-pro-preview-01-01":  "gemini-3.1-pro",
		"llama-4-maverick":            "",
		"claude":                      "",
		"":                            "",
		"<synthetic>":                 "",
	} {
		cost, near, ok := all.Cost(model, day("2026-11-20"), usage.Tokens{Input: 1})
		same, _, _ := all.Cost(want, day("2026-11-20"), usage.Tokens{Input: 1})
		if near != want || ok != (want != "") || cost != same {
			t.Errorf("%s is taken for %q, not %q; %v, %s", model, near, want, ok, cost.Decimal())
		}
	}
}

func TestEveryRowIsReachedAndSaysWhereItIsFrom(t *testing.T) {
	all := table(t)
	if n := len(rows(t)); n < 100 {
		t.Errorf("%d rows", n)
	}
	for _, r := range rows(t) {
		u, err := url.Parse(r.Source)
		if err != nil || u.Scheme != "https" || u.Host == "" || r.From.String() < "2023" {
			t.Errorf("%s from %q is of %q: %v", r.Model, r.From, r.Source, err)
		}
		e, estimated, ok := all.price(strings.ReplaceAll(r.Model, "*", ""), day(r.From.String()))
		if e.model != r.Model || !e.from.Equal(day(r.From.String())) || estimated != "" || !ok {
			t.Errorf("%s from %s is not found: %s from %s", r.Model, r.From, e.model, e.from)
		}
		if e.steps[0].read > e.steps[0].input || e.steps[0].output < e.steps[0].input {
			t.Errorf("%s: %+v", r.Model, e.steps[0])
		}
	}
}

func TestDates(t *testing.T) {
	all := table(t)
	for at, want := range map[string]string{"2020-01-01": "0.5", "2026-07-09": "0.5", "2026-08-20": "0.5", "2026-08-21": "0.4", "2030-01-01": "0.4"} {
		if got, _, _ := all.Cost("gpt-5.6-sol", day(at), usage.Tokens{Input: 100_000}); got.Decimal() != want {
			t.Errorf("on %s: %s, not %s", at, got.Decimal(), want)
		}
	}
	if got, _, _ := all.Cost("gpt-5.6-sol", time.Time{}, usage.Tokens{Input: 10}); got.Decimal() != "0.00004" {
		t.Errorf("without a time: %s", got.Decimal())
	}
	evening := time.Date(2026, 8, 20, 22, 0, 0, 0, time.FixedZone("", -7*3600)) // the next day in UTC
	if got, _, _ := all.Cost("gpt-5.6-sol", evening, usage.Tokens{Input: 10}); got.Decimal() != "0.00004" {
		t.Errorf("in the evening: %s", got.Decimal())
	}
}

func TestTheUsersRowsWin(t *testing.T) {
	var own []Row
	text := `
- {model: "claude-*", input: 1.10, output: "2.000001", from: 2026-06-01, source: the contract}
- {model: My-LLM, input: 0, output: 0}
- model: gpt-5
  input: 10
  output: 20
  cache_read: 1.5
  search: 2.5
  above: [{prompt: 100, input: 30}]
`
	if err := yaml.UnmarshalWithOptions([]byte(text), &own, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	builtin := table(t)
	all, err := builtin.With(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		model, at string
		tok       usage.Tokens
		want      string
	}{
		{"claude-opus-4-8", "2026-06-01", usage.Tokens{Input: 1, Output: 1, CacheRead: 1}, "0.000004200001"},
		{"claude-opus-4-8", "2026-05-31", usage.Tokens{Input: 1}, "0.000005"},
		{"claude-unheard-of", "2026-06-01", usage.Tokens{Input: 1}, "0.0000011"},
		{"my-llm", "2020-01-01", usage.Tokens{Input: 1e9}, "0"},
		{"gpt-5-2025-08-07", "2026-06-01", usage.Tokens{Input: 100, Searches: 1}, "0.0035"},
		{"gpt-5", "2026-06-01", usage.Tokens{Input: 100, CacheRead: 1, Output: 1}, "0.0030215"},
		{"gpt-5-mini", "2026-06-01", usage.Tokens{Input: 1}, "0.00000025"},
	} {
		if got, _, ok := all.Cost(test.model, day(test.at), test.tok); got.Decimal() != test.want || !ok {
			t.Errorf("%s on %s: %s, not %s", test.model, test.at, got.Decimal(), test.want)
		}
	}
	if got, _, _ := builtin.Cost("gpt-5", day("2026-06-01"), usage.Tokens{Input: 1}); got.Decimal() != "0.00000125" {
		t.Errorf("the table itself has changed: %s", got.Decimal())
	}
}

func TestWrongRowsAreToldAllAtOnce(t *testing.T) {
	one := Rate(1)
	good := Rates{Input: &one, Output: &one}
	_, err := table(t).With([]Row{{Model: "a"}, {Rates: good}, {Model: "**", Rates: good}, {Model: "b", Rates: good, Above: []Tier{{Prompt: 0}}},
		{Model: "c", Rates: good, Above: []Tier{{Prompt: 5}, {Prompt: 5}}}, {Model: "d", Rates: good}, {Model: "D", Rates: good}, {Model: strings.Repeat("x", 300), Rates: good}})
	want := `price 1, of "a": input and output must be told
price 2, of "": it names no model
price 3, of "**": it names no model
price 4, of "b": above 0 tokens: tiers must rise
price 5, of "c": above 5 tokens: tiers must rise
price 7, of "D": there is another from the same day`
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "\n") != 6 {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"-1", "1.0000001", "1e3", "x", "", "1000001", "0x10", ".5"} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q was read as %s", text, r)
		}
	}
	for _, text := range []string{"0", "3.75", "0.000001", "1000000", "3.7500000"} {
		if r, err := ParseRate(text); err != nil {
			t.Errorf("%q: %s, %v", text, r, err)
		}
	}
}

func TestOverflowSaturates(t *testing.T) {
	all := table(t)
	most := usage.Tokens{Input: math.MaxInt64, CacheWrite: math.MaxInt64, CacheWrite1h: math.MaxInt64, CacheRead: math.MaxInt64, Output: math.MaxInt64, Searches: math.MaxInt64}
	if got, _, ok := all.Cost("claude-opus-4-8", day("2026-11-20"), most); got != math.MaxInt64 || !ok {
		t.Errorf("%d", got)
	}
	if got, ok := all.Worst("claude-sonnet-4-5", day("2026-11-20"), math.MaxInt64, math.MaxInt64); got != math.MaxInt64 || !ok {
		t.Errorf("%d", got)
	}
	least := usage.Tokens{Input: math.MinInt64, Output: math.MinInt64, CacheRead: -1, Searches: -1}
	if got, _, _ := all.Cost("claude-opus-4-8", day("2026-11-20"), least); got != 0 {
		t.Errorf("%d", got)
	}
	if got := all.Saved("claude-opus-4-8", day("2026-11-20"), usage.Tokens{CacheWrite: math.MaxInt64}); got > 0 {
		t.Errorf("%d", got)
	}
}

func TestWorst(t *testing.T) {
	all := table(t)
	for _, test := range []struct {
		model          string
		prompt, output int64
		want           string
	}{
		{"claude-opus-4-8", 1_000_000, 1_000_000, "35"},  // all written for an hour
		{"claude-sonnet-4-5", 200_000, 1000, "1.215"},    // 6 × 0.2 + 15 × 0.001
		{"claude-sonnet-4-5", 200_001, 1000, "2.422512"}, // 12 and 22.5
		{"gpt-5", 1000, 1000, "0.01125"},
	} {
		if got, ok := all.Worst(test.model, day("2026-11-20"), test.prompt, test.output); got.Decimal() != test.want || !ok {
			t.Errorf("%s: %s, not %s", test.model, got.Decimal(), test.want)
		}
	}
	if got, ok := all.Worst("llama", day("2026-11-20"), 1, 1); ok || got != 0 {
		t.Errorf("%s", got)
	}
	if _, _, ok := new(Table).Cost("gpt-5", time.Time{}, usage.Tokens{Input: 1}); ok {
		t.Error("an empty table prices")
	}
}

func TestSaved(t *testing.T) {
	all := table(t)
	for _, test := range []struct {
		tok  usage.Tokens
		want string
	}{
		{usage.Tokens{CacheRead: 1_000_000}, "4.5"},
		{usage.Tokens{CacheWrite: 1_000_000}, "-1.25"},
		{usage.Tokens{CacheWrite1h: 1_000_000}, "-5"},
		{usage.Tokens{CacheWrite: 21450, CacheRead: 21476, Input: 24, Output: 50}, "0.0698295"},
	} {
		if got := all.Saved("claude-opus-4-8", day("2026-11-20"), test.tok); got.Decimal() != test.want {
			t.Errorf("%+v: %s, not %s", test.tok, got.Decimal(), test.want)
		}
	}
}

func TestMatch(t *testing.T) {
	for glob, names := range map[string][]string{
		"a":      {"a"},
		"a*":     {"a", "ab", "abc"},
		"*a":     {"a", "ba"},
		"a*c*e":  {"ace", "abcde", "accee"},
		"*":      {"", "x"},
		"gpt-*o": {"gpt-4o", "gpt-o"},
	} {
		all := []string{"", "a", "b", "ab", "ba", "abc", "ace", "abcde", "accee", "acce", "x", "gpt-4o", "gpt-o", "gpt-4o-mini"}
		for _, name := range all {
			if want := slices.Contains(names, name); want && !match(glob, name) {
				t.Errorf("%q does not match %q", glob, name)
			}
		}
	}
	if match("a*", "ba") || match("a", "ab") || match("ab", "a") || match("a*b", "abc") {
		t.Error("too much matches")
	}
}

func BenchmarkBuiltin(b *testing.B) {
	for b.Loop() {
		if _, err := Builtin(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCost(b *testing.B) {
	all := table(b)
	for b.Loop() {
		all.Cost("us.anthropic.claude-opus-4-5-20251101-v1:0", day("2026-11-20"), usage.Tokens{Input: 1})
	}
}
