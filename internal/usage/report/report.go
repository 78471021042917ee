// Package report adds calls up and shows the sums: by sandbox, model or time, as a table's rows, as a picture. It is pure,
// reads no file and knows no price.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// By is what calls are added up by.
type By string

// The ways to add up. A block is the time that subscriptions count in: five hours from the first call, by the hour.
const (
	Sandbox By = "sandbox"
	Session By = "session"
	Model   By = "model"
	Agent   By = "agent"
	Day     By = "day"
	Hour    By = "hour"
	Block   By = "block"
)

// Ways are all of them.
func Ways() []By { return []By{Sandbox, Session, Model, Agent, Day, Hour, Block} }

// blockTime is how long a block lasts.
const blockTime = 5 * time.Hour

// maxContext is how many calls' contexts a row keeps: the last ones.
const maxContext = 1000

// Row is a sum.
type Row struct {
	Key    string    `json:"key"` // "" for what has none
	Calls  int       `json:"calls"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Models []string  `json:"models"`
	usage.Tokens
	Cost      usage.Money `json:"cost"`
	Saved     usage.Money `json:"saved"`     // by reading from caches instead of anew, less what writing them cost more
	Estimated int         `json:"estimated"` // calls whose cost is an estimate
	Unpriced  int         `json:"unpriced"`  // calls of which nobody can say what they cost; Cost is without them
	Context   []int64     `json:"context"`   // the prompts' sizes in tokens, call by call
}

// Sums adds calls up. It is not safe for use by several goroutines.
type Sums struct {
	by    By
	zone  *time.Location
	rows  map[string]*Row
	order []entry // for blocks, which need the calls in order
}

// entry is a call and what its caches saved.
type entry struct {
	usage.Call
	saved usage.Money
}

// New adds up by so; days and hours are those of zone.
func New(by By, zone *time.Location) *Sums {
	return &Sums{by: by, zone: zone, rows: map[string]*Row{}}
}

// Add adds a call.
func (s *Sums) Add(c usage.Call, saved usage.Money) {
	if s.by == Block {
		s.order = append(s.order, entry{c, saved})
		return
	}
	s.add(s.key(c), c, saved)
}

func (s *Sums) key(c usage.Call) string {
	switch s.by {
	case Session:
		return c.Session
	case Model:
		return c.Model
	case Agent:
		return c.Agent
	case Day:
		return c.Time.In(s.zone).Format(time.DateOnly)
	case Hour:
		return c.Time.In(s.zone).Format("2006-01-02 15:00")
	}
	return c.Sandbox
}

func (s *Sums) add(key string, c usage.Call, saved usage.Money) {
	r := s.rows[key]
	if r == nil {
		r = &Row{Key: key, First: c.Time, Last: c.Time}
		s.rows[key] = r
	}
	r.Calls++
	if c.Time.Before(r.First) {
		r.First = c.Time
	}
	if c.Time.After(r.Last) {
		r.Last = c.Time
	}
	if c.Model != "" && !slices.Contains(r.Models, c.Model) {
		r.Models = append(r.Models, c.Model)
	}
	r.Tokens = r.Plus(c.Tokens)
	r.Cost += c.Cost
	r.Saved += saved
	if c.Estimated {
		r.Estimated++
	}
	if c.Unpriced != "" {
		r.Unpriced++
	}
	if n := c.Prompt(); n > 0 {
		if r.Context = append(r.Context, n); len(r.Context) > 2*maxContext {
			r.Context = slices.Clone(r.Context[maxContext:])
		}
	}
}

// Rows are the sums: times in their order, anything else by what it cost, the dearest first.
func (s *Sums) Rows() []Row {
	s.block()
	var all []Row
	for _, r := range s.rows {
		row := *r
		row.Models = slices.Sorted(slices.Values(r.Models))
		row.Context = r.Context[max(0, len(r.Context)-maxContext):]
		all = append(all, row)
	}
	slices.SortFunc(all, func(a, b Row) int {
		if s.by == Day || s.by == Hour || s.by == Block {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(cmp.Compare(b.Cost, a.Cost), cmp.Compare(b.Tokens.Total(), a.Tokens.Total()), cmp.Compare(a.Key, b.Key))
	})
	return all
}

// block finds out the blocks of the calls, and forgets them. A new one begins five hours after the beginning of the last,
// or when nothing was called for five hours.
func (s *Sums) block() {
	slices.SortStableFunc(s.order, func(a, b entry) int { return a.Time.Compare(b.Time) })
	var begin, last time.Time
	for n, c := range s.order {
		if n == 0 || c.Time.Sub(begin) >= blockTime || c.Time.Sub(last) >= blockTime {
			begin = c.Time.UTC().Truncate(time.Hour)
		}
		last = c.Time
		s.add(begin.In(s.zone).Format("2006-01-02 15:04"), c.Call, c.saved)
	}
	s.order = nil
}

// Total is the sum of rows.
func Total(rows []Row) Row {
	var t Row
	for _, r := range rows {
		t.Calls += r.Calls
		t.Tokens = t.Plus(r.Tokens)
		t.Cost += r.Cost
		t.Saved += r.Saved
		t.Estimated += r.Estimated
		t.Unpriced += r.Unpriced
		if t.First.IsZero() || r.First.Before(t.First) {
			t.First = r.First
		}
		if r.Last.After(t.Last) {
			t.Last = r.Last
		}
		for _, m := range r.Models {
			if !slices.Contains(t.Models, m) {
				t.Models = append(t.Models, m)
			}
		}
	}
	slices.Sort(t.Models)
	return t
}

// Count is a number of tokens in at most five characters: 950, 12.3K, 4.56M.
func Count(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "K"}} {
		if n < unit.size-unit.size/2000 { // what would round up to 1000 of the smaller
			continue
		}
		v := float64(n) / float64(unit.size)
		switch {
		case v < 9.995:
			return fmt.Sprintf("%.2f%s", v, unit.name)
		case v < 99.95:
			return fmt.Sprintf("%.1f%s", v, unit.name)
		}
		return fmt.Sprintf("%.0f%s", v, unit.name)
	}
	return fmt.Sprint(n)
}

// Spark draws values as a line of at most width characters, each the largest of those that it stands for.
func Spark(values []int64, width int) string {
	const bars = "▁▂▃▄▅▆▇█"
	if len(values) == 0 || width <= 0 {
		return ""
	}
	levels := []rune(bars)
	most := max(1, slices.Max(values))
	n := min(width, len(values))
	line := make([]rune, n)
	for i := range line {
		part := slices.Max(values[i*len(values)/n : (i+1)*len(values)/n])
		line[i] = levels[int(max(0, part)*int64(len(levels)-1)/most)]
	}
	return string(line)
}
