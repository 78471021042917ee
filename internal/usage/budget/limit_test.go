package budget

import (
	"testing"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

func TestParseAmount(t *testing.T) {
	for text, want := range map[string]Amount{
		"5usd": {Money: 5 * usage.Dollar}, "$0.5": {Money: usage.Dollar / 2}, "0.25USD": {Money: usage.Dollar / 4}, "2Mtok": {Tokens: 2e6}, "1.5Mtok": {Tokens: 15e5},
		"500ktok": {Tokens: 5e5}, "100tok": {Tokens: 100}, "3Gtok": {Tokens: 3e9},
	} {
		got, err := ParseAmount(text)
		if err != nil || got != want {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
		if again, err := ParseAmount(got.String()); err != nil || again != got {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for _, text := range []string{"", "5", "usd", "$5usd", "-1usd", "0usd", "tok", "0tok", "-5tok", "1e3tok", "0.0001tok", "99999999Gtok", "5eur", "1,5usd"} {
		if got, err := ParseAmount(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestParseScope(t *testing.T) {
	for text, want := range map[string]Limit{
		"all": {Of: "all"}, "day": {Of: "all", Period: Day}, "month": {Of: "all", Period: Month}, "sandbox:night": {Of: "sandbox:night"},
		"agent:claude/day": {Of: "agent:claude", Period: Day}, "sandbox:a/month": {Of: "sandbox:a", Period: Month},
	} {
		of, period, err := ParseScope(text)
		if err != nil || of != want.Of || period != want.Period || want.Scope() != text {
			t.Errorf("%s is %s %s, %v", text, of, period, err)
		}
	}
	for _, text := range []string{"", "week", "sandbox:", "agent", "sandbox:a/week", "all/", "day/day", "x:y"} {
		if of, period, err := ParseScope(text); err == nil {
			t.Errorf("%q is %s %s", text, of, period)
		}
	}
}
