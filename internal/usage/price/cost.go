package price

import (
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// entry is a row, ready to be reckoned with.
type entry struct {
	model  string // in lower case
	from   time.Time
	steps  []step // the first is above nothing
	search Rate
}

// step has the prices of calls whose prompt is larger than above.
type step struct {
	above int64
	rates
}

type rates struct{ input, output, write, write1h, read Rate }

// Cost is what tokens of a model cost at a time. A model that is not in the table costs what the nearest of its family
// does, which estimatedAs then names: "claude-opus-4-8" for a claude-opus-4-9 that nobody has heard of. Without a family
// ok is false. What is more than usage.Money can hold is as much as it can.
func (t *Table) Cost(model string, at time.Time, tok usage.Tokens) (cost usage.Money, estimatedAs string, ok bool) {
	e, estimatedAs, ok := t.price(model, at)
	if !ok {
		return 0, "", false
	}
	r := e.at(prompt(tok))
	return sum(r.input.of(tok.Input), r.write.of(tok.CacheWrite), r.write1h.of(tok.CacheWrite1h), r.read.of(tok.CacheRead),
		r.output.of(tok.Output), e.search.of(tok.Searches)), estimatedAs, true
}

// Price is c with what it cost, unless it has that or nobody can say.
func (t *Table) Price(c usage.Call) usage.Call {
	if c.Unpriced != "" || c.Tokens == (usage.Tokens{}) {
		return c
	}
	cost, as, ok := t.Cost(c.Model, c.Time, c.Tokens)
	if !ok {
		c.Unpriced = "no price is known for the model"
		return c
	}
	c.Cost, c.Estimated = cost, c.Estimated || as != ""
	return c
}

// Nearest is the model whose price is taken for one that is not in the table, "" for none.
func (t *Table) Nearest(model string, at time.Time) string {
	_, near, _ := t.price(model, at)
	return near
}

// Worst is the most that a call can cost with at most so many prompt tokens, each at the dearest of its kinds, and so many
// output tokens. Searches of the web are not in it.
func (t *Table) Worst(model string, at time.Time, prompt, output int64) (cost usage.Money, ok bool) {
	e, _, ok := t.price(model, at)
	for _, s := range e.steps {
		if s.above > 0 && prompt <= s.above {
			break
		}
		cost = max(cost, sum(max(s.input, s.write, s.write1h, s.read).of(prompt), s.output.of(output)))
	}
	return cost, ok
}

// Saved is what reading from caches has saved against reading anew, less what writing into them has cost more. It is
// negative when nothing was read often enough, and 0 for a model that nobody knows.
func (t *Table) Saved(model string, at time.Time, tok usage.Tokens) usage.Money {
	e, _, ok := t.price(model, at)
	if !ok {
		return 0
	}
	r := e.at(prompt(tok))
	anew := sum(r.input.of(tok.CacheRead), r.input.of(tok.CacheWrite), r.input.of(tok.CacheWrite1h))
	return sum(anew, -r.read.of(tok.CacheRead), -r.write.of(tok.CacheWrite), -r.write1h.of(tok.CacheWrite1h))
}

// at has the prices of a call with so many prompt tokens: all of its tokens are charged by the size of the whole.
func (e entry) at(prompt int64) rates {
	r := e.steps[0].rates
	for _, s := range e.steps[1:] {
		if prompt > s.above {
			r = s.rates
		}
	}
	return r
}

// prompt is the size of the context, with what cannot be counted left out and no end that it could fall off.
func prompt(tok usage.Tokens) int64 {
	var n usage.Money
	for _, part := range []int64{tok.Input, tok.CacheWrite, tok.CacheWrite1h, tok.CacheRead} {
		n = sum(n, usage.Money(max(part, 0)))
	}
	return int64(n)
}

// price looks for a model, and else for its family.
func (t *Table) price(model string, at time.Time) (e entry, estimatedAs string, ok bool) {
	names := spellings(model)
	for _, strict := range []bool{true, false} {
		for _, l := range t.layers {
			for _, name := range names {
				if e, ok := l.find(name, at, strict); ok {
					return e, "", true
				}
			}
		}
	}
	if near := t.nearest(names[len(names)-1]); near != "" {
		for _, l := range t.layers {
			if e, ok := l.find(near, at, false); ok {
				return e, near, true
			}
		}
	}
	return entry{}, "", false
}
