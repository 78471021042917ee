package usage

import (
	"encoding/json"
	"testing"
)

func TestMoneyIsWrittenExactly(t *testing.T) {
	for text, want := range map[string]Money{"0": 0, "1": Dollar, "-1.5": -Dollar * 3 / 2, "0.000000000001": 1, "12.34": Dollar * 1234 / 100, "9000000": 9_000_000 * Dollar} {
		got, err := ParseMoney(text)
		if err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
		if back := got.Decimal(); back != text {
			t.Errorf("%s became %s", text, back)
		}
	}
	for _, text := range []string{"", "-", ".5", "1.", "1e3", "1.0000000000001", "99999999999", "--1", "+1", "1,5"} {
		if got, err := ParseMoney(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
	for text, want := range map[string]string{"0": "$0.00", "0.000042": "$0.0000", "0.00123": "$0.0012", "-0.005": "-$0.0050", "1.005": "$1.00", "1234.5": "$1234.50"} {
		if got, _ := ParseMoney(text); got.String() != want {
			t.Errorf("%s reads %s, not %s", text, got, want)
		}
	}
}

func FuzzMoney(f *testing.F) {
	for _, seed := range []string{"0", "1e-6", "0.25", "-3.000001", "1e300", "\"1\"", "null"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m, again Money
		if json.Unmarshal([]byte(text), &m) != nil {
			return
		}
		out, err := json.Marshal(m)
		if err != nil || json.Unmarshal(out, &again) != nil || again != m {
			t.Errorf("%q is %d, written as %s, read again as %d: %v", text, m, out, again, err)
		}
	})
}
