package usage

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Money is an amount in millionths of a millionth of a US dollar: a price per million tokens with six decimals is
// whole in it for one token, and nine million dollars fit.
type Money int64

// Dollar is one US dollar.
const Dollar Money = 1e12

// String is the amount in dollars and cents, as people read it: "$1.50". Below a cent it has four decimals.
func (m Money) String() string {
	sign, d := "", float64(m)/float64(Dollar)
	if m < 0 {
		sign, d = "-", -d
	}
	if m != 0 && d < 0.01 {
		return fmt.Sprintf("%s$%.4f", sign, d)
	}
	return fmt.Sprintf("%s$%.2f", sign, d)
}

// Decimal is the whole amount in dollars, without a sign of the currency: "1.5".
func (m Money) Decimal() string {
	sign := ""
	u := uint64(m)
	if m < 0 {
		sign, u = "-", -u
	}
	whole, rest := u/uint64(Dollar), u%uint64(Dollar)
	if rest == 0 {
		return sign + strconv.FormatUint(whole, 10)
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%012d", sign, whole, rest), "0")
}

// ParseMoney reads what Decimal writes, of at most twelve decimals.
func ParseMoney(text string) (Money, error) {
	digits, minus := strings.CutPrefix(text, "-")
	whole, rest, dot := strings.Cut(digits, ".")
	if whole == "" || dot && rest == "" || len(rest) > 12 || strings.ContainsFunc(whole+rest, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, fmt.Errorf("not an amount: %q", text)
	}
	n, err := strconv.ParseInt(whole+rest+strings.Repeat("0", 12-len(rest)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("not an amount that can be counted: %q", text)
	}
	if minus {
		n = -n
	}
	return Money(n), nil
}

// MarshalJSON writes a JSON number of dollars, exactly.
func (m Money) MarshalJSON() ([]byte, error) { return []byte(m.Decimal()), nil }

// UnmarshalJSON reads a JSON number of dollars. One with an exponent, which other programs write, is rounded.
func (m *Money) UnmarshalJSON(text []byte) error {
	if exact, err := ParseMoney(string(text)); err == nil {
		*m = exact
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(f) > 9e6 {
		return fmt.Errorf("not an amount: %q", text)
	}
	*m = Money(math.Round(f * float64(Dollar)))
	return nil
}
