// Package price says what a call of a model costs, as data: prices.json, with where each row was read and from which day
// on it holds, and whatever rows the user adds. It is pure arithmetic on whole numbers: it reads no configuration, keeps
// no record and asks nobody. Prices are those of the providers' own APIs at their standard service; batches,
// priority and regional surcharges are not in it.
package price

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

//go:embed prices.json
var builtin []byte

// Row is what one model costs from a day on. The user's configuration has rows of the same shape.
type Row struct {
	Model string `json:"model" yaml:"model"`                  // or a pattern, in which * stands for anything
	From  Date   `json:"from,omitzero" yaml:"from,omitempty"` // the first day; without one, always

	Rates `yaml:",inline"`
	Above []Tier `json:"above,omitzero" yaml:"above,omitempty"` // by rising Prompt

	Search *Rate  `json:"search,omitzero" yaml:"search,omitempty"` // in dollars per thousand searches of the web
	Source string `json:"source,omitzero" yaml:"source,omitempty"` // where this was read, a URL
}

// Rates are the prices of the kinds of tokens, in dollars per million. One that is missing is that of the kind that it
// would be without caches: reading is Input, writing is Input, and writing for an hour is writing.
type Rates struct {
	Input        *Rate `json:"input,omitzero" yaml:"input,omitempty"`
	Output       *Rate `json:"output,omitzero" yaml:"output,omitempty"`
	CacheWrite   *Rate `json:"cache_write,omitzero" yaml:"cache_write,omitempty"`
	CacheWrite1h *Rate `json:"cache_write_1h,omitzero" yaml:"cache_write_1h,omitempty"`
	CacheRead    *Rate `json:"cache_read,omitzero" yaml:"cache_read,omitempty"`
}

// Tier has the prices of a call, of all its tokens, whose prompt has more than so many. A price that is missing is the
// row's.
type Tier struct {
	Prompt int64 `json:"prompt" yaml:"prompt"`
	Rates  `yaml:",inline"`
}

// Table knows prices. It is never changed, so any goroutine may ask it. The zero value prices nothing.
type Table struct {
	layers   []layer // the first that knows a model is asked
	families map[string][]member
}

// layer is one list of rows.
type layer struct {
	exact    map[string][]entry // by name, each by its first day
	patterns []pattern          // the most literal first
}

type pattern struct {
	glob    string
	entries []entry
}

// Builtin is the table that this package brings, under more rows, which are the user's. It is parsed at each call, which takes about a millisecond.
func Builtin(more ...Row) (*Table, error) {
	var file struct {
		Currency string
		Rows     []Row
	}
	if err := json.Unmarshal(builtin, &file); err != nil {
		return nil, fmt.Errorf("cannot read the prices: %w", err)
	}
	if file.Currency != "USD" {
		return nil, fmt.Errorf("prices in %q cannot be counted", file.Currency)
	}
	t, err := new(Table).With(file.Rows)
	if err != nil || len(more) == 0 {
		return t, err
	}
	return t.With(more)
}

// With is the table in which these rows are asked before t's own. The error tells of all rows that are wrong.
func (t *Table) With(more []Row) (*Table, error) {
	l, err := newLayer(more)
	if err != nil {
		return nil, err
	}
	layers := slices.Concat([]layer{l}, t.layers)
	return &Table{layers, families(layers)}, nil
}

func newLayer(rows []Row) (layer, error) {
	l := layer{exact: map[string][]entry{}}
	globs := map[string][]entry{}
	var wrong []error
	for i, r := range rows {
		e, err := r.entry()
		if err != nil {
			wrong = append(wrong, fmt.Errorf("price %d, of %q: %w", i+1, r.Model, err))
			continue
		}
		in := l.exact
		if strings.Contains(e.model, "*") {
			in = globs
		}
		at, again := slices.BinarySearchFunc(in[e.model], e, byDay)
		if again {
			wrong = append(wrong, fmt.Errorf("price %d, of %q: there is another from the same day", i+1, r.Model))
			continue
		}
		in[e.model] = slices.Insert(in[e.model], at, e)
	}
	for glob, entries := range globs {
		l.patterns = append(l.patterns, pattern{glob, entries})
	}
	slices.SortFunc(l.patterns, func(a, b pattern) int {
		return cmp.Or(cmp.Compare(len(b.glob), len(a.glob)), cmp.Compare(a.glob, b.glob))
	})
	return l, errors.Join(wrong...)
}

func byDay(a, b entry) int { return a.from.Compare(b.from) }

// entry checks the row and works out its prices.
func (r Row) entry() (entry, error) {
	var wrong []error
	if strings.Trim(r.Model, "*") == "" {
		wrong = append(wrong, errors.New("it names no model"))
	}
	e := entry{model: strings.ToLower(r.Model), from: r.From.time, steps: []step{{0, r.whole()}}}
	if len(r.Model) > longest {
		wrong = append(wrong, fmt.Errorf("its model has more than %d letters", longest))
	}
	if r.Input == nil || r.Output == nil {
		wrong = append(wrong, errors.New("input and output must be told"))
	}
	for _, tier := range r.Above {
		if tier.Prompt <= e.steps[len(e.steps)-1].above {
			wrong = append(wrong, fmt.Errorf("above %d tokens: tiers must rise", tier.Prompt))
		}
		e.steps = append(e.steps, step{tier.Prompt, tier.or(r.Rates).whole()})
	}
	if r.Search != nil {
		e.search = *r.Search * 1000 // per thousand, not per million
	}
	return e, errors.Join(wrong...)
}

// or takes what is missing from another.
func (r Rates) or(other Rates) Rates {
	return Rates{cmp.Or(r.Input, other.Input), cmp.Or(r.Output, other.Output), cmp.Or(r.CacheWrite, other.CacheWrite),
		cmp.Or(r.CacheWrite1h, other.CacheWrite1h), cmp.Or(r.CacheRead, other.CacheRead)}
}

// whole is r with every price told.
func (r Rates) whole() rates {
	value := func(choices ...*Rate) Rate {
		if first := cmp.Or(choices...); first != nil {
			return *first
		}
		return 0
	}
	return rates{value(r.Input), value(r.Output), value(r.CacheWrite, r.Input), value(r.CacheWrite1h, r.CacheWrite, r.Input), value(r.CacheRead, r.Input)}
}

// find is the price that a layer has of a model on a day. Unless it is strict, a day before the first price has that one:
// calls are never older than their price, but clocks may be wrong. The zero time is today, whenever that is.
func (l layer) find(name string, at time.Time, strict bool) (entry, bool) {
	if e, ok := on(l.exact[name], at, strict); ok {
		return e, true
	}
	for _, p := range l.patterns {
		if match(p.glob, name) {
			if e, ok := on(p.entries, at, strict); ok {
				return e, true
			}
		}
	}
	return entry{}, false
}

// on is the entry that holds at a time.
func on(entries []entry, at time.Time, strict bool) (entry, bool) {
	if len(entries) == 0 {
		return entry{}, false
	}
	if at.IsZero() {
		return entries[len(entries)-1], true
	}
	for _, e := range slices.Backward(entries) {
		if !e.from.After(at) {
			return e, true
		}
	}
	return entries[0], !strict
}
