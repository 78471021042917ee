package config

import (
	"errors"
	"fmt"

	"github.com/bailey-sandbox/bailey/internal/usage/budget"
)

// Budget is what may be used where bailey budget has not set something else. Zero amounts are no limits.
type Budget struct {
	Sandbox budget.Amount // by each sandbox, for good
	All     []budget.Limit
}

// Shared are the limits that all sandboxes share.
func (b Budget) Shared() []budget.Limit { return b.All }

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
	return b, errors.Join(errs...)
}
