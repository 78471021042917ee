package budget

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// Amount is so much money, or so many tokens; one of them is zero.
type Amount struct {
	Money  usage.Money `json:"usd,omitempty"`
	Tokens int64       `json:"tokens,omitempty"`
}

// ParseAmount reads 5usd, $5, 0.50usd, 2Mtok, 500Ktok and 100000tok.
func ParseAmount(text string) (Amount, error) {
	bad := fmt.Errorf("%q is no amount: write 5usd or 2Mtok", text)
	lower := strings.ToLower(strings.TrimSpace(text))
	if number, ok := strings.CutSuffix(lower, "tok"); ok {
		unit := int64(1)
		for suffix, n := range map[string]int64{"k": 1e3, "m": 1e6, "g": 1e9} {
			if rest, ok := strings.CutSuffix(number, suffix); ok {
				number, unit = rest, n
				break
			}
		}
		// Decimals are exact as money's are.
		m, err := usage.ParseMoney(number)
		thousandths := int64(m) / int64(usage.Dollar/1e3)
		if err != nil || thousandths > (1<<62)/unit || thousandths*unit < 1e3 {
			return Amount{}, bad
		}
		return Amount{Tokens: thousandths * unit / 1e3}, nil
	}
	number, dollar := strings.CutPrefix(lower, "$")
	number, suffixed := strings.CutSuffix(number, "usd")
	m, err := usage.ParseMoney(number)
	if err != nil || m <= 0 || dollar == suffixed {
		return Amount{}, bad
	}
	return Amount{Money: m}, nil
}

// String is the amount as ParseAmount reads it.
func (a Amount) String() string {
	if a.Tokens != 0 {
		for _, u := range []struct {
			size int64
			name string
		}{{1e6, "Mtok"}, {1e3, "Ktok"}} {
			if a.Tokens%u.size == 0 {
				return strconv.FormatInt(a.Tokens/u.size, 10) + u.name
			}
		}
		return strconv.FormatInt(a.Tokens, 10) + "tok"
	}
	return a.Money.Decimal() + "usd"
}

// Limit is a budget: how much may be used of it, by whom, and how often it begins anew.
type Limit struct {
	Of     string `json:"of"`               // "all", "sandbox:PURSE", "agent:NAME"
	Name   string `json:"name,omitempty"`   // of a sandbox
	Period Period `json:"period,omitempty"` // "" for good
	Amount
}

// Period is how long an amount lasts.
type Period string

// Days and months are those of the user's time zone.
const (
	Day   Period = "day"
	Month Period = "month"
)

// ParseScope reads what a budget is of: all, day, month, sandbox:NAME, agent:NAME, and the latter two with /day or
// /month behind.
func ParseScope(text string) (of string, period Period, err error) {
	of, rest, timed := strings.Cut(text, "/")
	switch {
	case !timed && (text == string(Day) || text == string(Month)):
		return "all", Period(text), nil
	case timed && rest != string(Day) && rest != string(Month):
		return "", "", fmt.Errorf("%q: after the slash stands day or month", text)
	}
	kind, name, named := strings.Cut(of, ":")
	switch {
	case of == "all", named && (kind == "sandbox" || kind == "agent") && name != "":
		return of, Period(rest), nil
	}
	return "", "", errors.New("a budget is of all, day, month, sandbox:NAME or agent:NAME")
}

// Scope is what the limit is of, as ParseScope reads it.
func (l Limit) Scope() string {
	of := l.Of
	if l.Name != "" {
		of = "sandbox:" + l.Name
	}
	switch {
	case l.Period == "":
		return of
	case l.Of == "all":
		return string(l.Period)
	}
	return of + "/" + string(l.Period)
}

// Same says whether o is of the same.
func (l Limit) Same(o Limit) bool { return l.Of == o.Of && l.Period == o.Period }

// applies says whether a call counts for the limit, but for its time.
func (l Limit) applies(purse, agent string) bool {
	return l.Of == "all" || l.Of == "sandbox:"+purse && purse != "" || l.Of == "agent:"+agent && agent != ""
}

// since is from when on calls count for the limit at a time.
func (l Limit) since(at time.Time) time.Time {
	switch y, m, d := at.Date(); l.Period {
	case Day:
		return time.Date(y, m, d, 0, 0, 0, 0, at.Location())
	case Month:
		return time.Date(y, m, 1, 0, 0, 0, 0, at.Location())
	}
	return time.Unix(0, 0)
}
