package config

import (
	"errors"
	"fmt"

	"github.com/bailey-sandbox/bailey/internal/usage/budget"
)

// Budget is what may be used where bailey budget has not set something else. Zero amounts are no limits.
type Budget struct {
	Sandbox budget.Amount  // by each sandbox, for good
	All     []budget.Limit // by all of them together
	Guard   Guard
}

// Guard stops an agent that runs away, whatever it costs. Zero is no limit.
type Guard struct {
	PerMinute int `yaml:"calls_per_minute"`
	Same      int `yaml:"same_in_a_row"`
	AtOnce    int `yaml:"at_once"`
}

// Of are the limits of one sandbox, whose purse and name are given.
func (b Budget) Of(purse, name string) []budget.Limit {
	if b.Sandbox == (budget.Amount{}) {
		return b.All
	}
	return append([]budget.Limit{{Of: "sandbox:" + purse, Name: name, Amount: b.Sandbox}}, b.All...)
}

// budgetSection is budget as it is written: amounts as budget.ParseAmount reads them.
type budgetSection struct {
	Sandbox string `yaml:"sandbox"`
	Day     string `yaml:"day"`
	Month   string `yaml:"month"`
	All     string `yaml:"all"`
	Guard   `yaml:",inline"`
}

func (s budgetSection) budget() (b Budget, err error) {
	var errs []error
	read := func(key, text string) (a budget.Amount) {
		if text != "" {
			var err error
			if a, err = budget.ParseAmount(text); err != nil {
				errs = append(errs, fmt.Errorf(" budget: %s: %w", key, err))
			}
		}
		return a
	}
	b.Sandbox = read("sandbox", s.Sandbox)
	for _, l := range []struct {
		key, text string
		period    budget.Period
	}{{"day", s.Day, budget.Day}, {"month", s.Month, budget.Month}, {"all", s.All, ""}} {
		if a := read(l.key, l.text); a != (budget.Amount{}) {
			b.All = append(b.All, budget.Limit{Of: "all", Period: l.period, Amount: a})
		}
	}
	b.Guard = s.Guard
	if g := s.Guard; g.PerMinute < 0 || g.Same < 0 || g.AtOnce < 0 {
		errs = append(errs, errors.New(" budget: a number of calls is negative"))
	}
	return b, errors.Join(errs...)
}
