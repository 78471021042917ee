package price

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// Rate is what one token costs, in the millionths of a millionth of a dollar that usage.Money counts. It is written as
// price lists do it, in dollars per million tokens: "3.75". At most six decimals, so that nothing is ever rounded.
type Rate int64

// dearest is a million dollars per million tokens. What is above it is a slip of the keyboard.
const dearest Rate = 1e12

// ParseRate reads dollars per million tokens.
func ParseRate(text string) (Rate, error) {
	if _, decimals, _ := strings.Cut(text, "."); len(strings.TrimRight(decimals, "0")) > 6 {
		return 0, fmt.Errorf("%q has more than six decimals", text)
	}
	m, err := usage.ParseMoney(text)
	if err != nil {
		return 0, fmt.Errorf("not dollars per million tokens: %q", text)
	}
	r := Rate(m / 1e6)
	if m < 0 || r > dearest {
		return 0, fmt.Errorf("%q is not between 0 and a million dollars", text)
	}
	return r, nil
}

// String is the rate in dollars per million tokens.
func (r Rate) String() string { return usage.Money(r * 1e6).Decimal() }

// UnmarshalJSON reads a number or a string.
func (r *Rate) UnmarshalJSON(text []byte) error { return r.read(text) }

// UnmarshalYAML reads a number or a string, as it is written: a number must not pass through a float.
func (r *Rate) UnmarshalYAML(text []byte) error { return r.read(text) }

// MarshalJSON writes a number.
func (r Rate) MarshalJSON() ([]byte, error) { return []byte(r.String()), nil }

func (r *Rate) read(text []byte) error {
	text = bytes.TrimSpace(text)
	if n := len(text); n >= 2 && text[0] == text[n-1] && (text[0] == '"' || text[0] == '\'') {
		text = text[1 : n-1]
	}
	var err error
	*r, err = ParseRate(string(text))
	return err
}

// of is the price of n tokens. What usage.Money cannot hold is as much as it can: a budget that is far exceeded must
// not look unspent.
func (r Rate) of(n int64) usage.Money {
	if n <= 0 || r <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(n), uint64(r))
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return usage.Money(low)
}

// sum adds amounts without wrapping around.
func sum(amounts ...usage.Money) usage.Money {
	var total usage.Money
	for _, m := range amounts {
		switch {
		case m > 0 && total > math.MaxInt64-m:
			total = math.MaxInt64
		case m < 0 && total < math.MinInt64-m:
			total = math.MinInt64
		default:
			total += m
		}
	}
	return total
}

// Date is a day in UTC, written 2006-01-02. The zero value lies before every price.
type Date struct{ time time.Time }

// UnmarshalText reads a day.
func (d *Date) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return fmt.Errorf("not a day like 2026-01-31: %q", text)
	}
	*d = Date{t}
	return nil
}

// MarshalText writes a day; the zero value is nothing.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the day, or "".
func (d Date) String() string {
	if d.time.IsZero() {
		return ""
	}
	return d.time.Format(time.DateOnly)
}
