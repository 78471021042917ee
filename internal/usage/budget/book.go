// Package budget holds what may be used against what is: amounts of money or tokens, for a sandbox, an agent or
// everything, for good or by the day and month, over all sandboxes of a user at once. It reserves the most that a call can
// cost before the call, and puts what it did cost into the ledger afterwards. It knows no model, no price and no API.
package budget

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/flock"
	"github.com/bailey-sandbox/bailey/internal/usage"
	"github.com/bailey-sandbox/bailey/internal/usage/ledger"
)

// lookAgain is how often a call that waits for others to end looks whether they have.
const lookAgain = 100 * time.Millisecond

// A Book is the budgets of a user, in the directory of the ledger. Any number of processes use it at once, and any number
// of goroutines.
//
// A call may begin when what was used, the most that calls under way can use, and the most that it can use itself, are
// together within every limit that it counts for. Where they are not, it waits until no other call is under way that
// counts for the limit, and may begin if anything is left at all. So a limit is passed by the use of one call at most,
// however many sandboxes share it.
type Book struct {
	dir    string
	ledger *ledger.Ledger
	zone   *time.Location
	usual  []Limit
	now    func() time.Time

	mu    sync.Mutex
	read  ledger.Position
	spent map[key]Amount
	ended map[string]bool // holds whose calls are recorded, until they are off the file
}

// key is what is added up: one purse's calls of one agent in one minute.
type key struct {
	purse, agent string
	minute       int64 // since 1970
}

// Open makes the directory if need be. Days and months are those of zone. The usual limits hold where none of the same
// scope was set.
func Open(dir string, zone *time.Location, usual ...Limit) (*Book, error) {
	l, err := ledger.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Book{dir: dir, ledger: l, zone: zone, usual: usual, now: time.Now, spent: map[key]Amount{}, ended: map[string]bool{}}, nil
}

// Ledger is where calls are recorded.
func (b *Book) Ledger() *ledger.Ledger { return b.ledger }

// Reached is a limit that leaves nothing for a call.
type Reached struct {
	Limit Limit
	Used  Amount
}

func (r *Reached) Error() string {
	return fmt.Sprintf("the budget of %s for %s is used up (%s)", r.Limit.Amount, r.Limit.Scope(), r.Used.of(r.Limit.Amount))
}

// of is the part of a that counts for a limit of that kind.
func (a Amount) of(limit Amount) string {
	if limit.Tokens != 0 {
		return fmt.Sprintf("%d tokens", a.Tokens)
	}
	return a.Money.String()
}

func (a Amount) plus(o Amount) Amount { return Amount{a.Money + o.Money, a.Tokens + o.Tokens} }

// within says whether a does not pass the limit.
func (a Amount) within(limit Amount) bool {
	return (limit.Money == 0 || a.Money <= limit.Money) && (limit.Tokens == 0 || a.Tokens <= limit.Tokens)
}

// left says whether the limit leaves something beside a.
func (a Amount) left(limit Amount) bool {
	return (limit.Money == 0 || a.Money < limit.Money) && (limit.Tokens == 0 || a.Tokens < limit.Tokens)
}

// Reserve waits until a call may begin, and holds the most that it can use, h.Most, against every limit. The error is a
// *Reached when a limit leaves nothing, or of ctx, or says that nothing can be reserved. Whoever has a reservation ends
// it with Settle; of a process that was killed the next one does, as if all of it had been used.
func (b *Book) Reserve(ctx context.Context, h Hold) (*Reservation, error) {
	for {
		r, wait, err := b.tryReserve(h)
		if err != nil || !wait {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// tryReserve does it at once, or says that others are under way.
func (b *Book) tryReserve(h Hold) (r *Reservation, wait bool, err error) {
	err = b.locked(func(f *files) error {
		limits, err := b.limits(f)
		if err != nil {
			return err
		}
		limits = slices.DeleteFunc(limits, func(l Limit) bool { return !l.applies(h.Purse, h.Agent) })
		if len(limits) == 0 {
			// Nobody has to know what it might have used if this process is killed, nor what others have.
			h.begin(b.now())
			r = &Reservation{b, h}
			return nil
		}
		holds, err := b.catchUp(f)
		if err != nil {
			return err
		}
		for _, l := range limits {
			spent, held := b.used(l, b.now()), Amount{}
			others := 0
			for _, o := range holds {
				if l.applies(o.Purse, o.Agent) {
					held = held.plus(o.Most)
					others++
				}
			}
			switch {
			case !spent.left(l.Amount):
				return &Reached{l, spent}
			case others > 0 && !spent.plus(held).plus(h.Most).within(l.Amount):
				wait = true
			}
		}
		if wait {
			return nil
		}
		h.begin(b.now())
		r = &Reservation{b, h}
		return f.writeHolds(append(holds, h))
	})
	return r, wait, err
}

// limits are those that were set, and the usual ones for the rest.
func (b *Book) limits(f *files) ([]Limit, error) {
	all, err := f.limits()
	for _, u := range b.usual {
		if !slices.ContainsFunc(all, u.Same) {
			all = append(all, u)
		}
	}
	return all, err
}

// used is what counts for the limit at a time. b.mu is held.
func (b *Book) used(l Limit, at time.Time) (sum Amount) {
	since := minute(l.since(at.In(b.zone)))
	for k, a := range b.spent {
		if l.applies(k.purse, k.agent) && k.minute >= since {
			sum = sum.plus(a)
		}
	}
	return sum
}

func minute(t time.Time) int64 { return t.Unix() / 60 }

// catchUp reads what was recorded meanwhile, and settles what killed processes have left, as if all of it had been used.
// It returns the calls that are under way. b.mu is held.
func (b *Book) catchUp(f *files) (live []Hold, err error) {
	holds, err := f.holds()
	if err != nil {
		return nil, err
	}
	if err := b.readMore(holds); err != nil {
		return nil, err
	}
	for _, h := range holds {
		switch {
		case b.ended[h.ID]: // killed between the record and the end of the hold
		case h.alive():
			live = append(live, h)
		default:
			if err := b.ledger.Append(h.lost()); err != nil {
				return nil, err
			}
		}
	}
	if len(live) == len(holds) {
		return live, nil
	}
	if err := f.writeHolds(live); err != nil {
		return nil, err
	}
	clear(b.ended)
	return live, b.readMore(nil)
}

// readMore adds up what was recorded since it was called last, and notes which of the holds were. A call's record and the
// end of its hold are made under one lock, so whoever reads the one sees whether the other is there.
func (b *Book) readMore(holds []Hold) error {
	return b.ledger.More(&b.read, func(c usage.Call) {
		if slices.ContainsFunc(holds, func(h Hold) bool { return h.ID == c.ID }) {
			b.ended[c.ID] = true
		}
		k := key{c.Purse, c.Agent, minute(c.Time)}
		b.spent[k] = b.spent[k].plus(Amount{c.Cost, c.Total()})
	})
}

// Reservation is the right to make one call.
type Reservation struct {
	book *Book
	hold Hold
}

// Settle records what the call did use, and gives the rest back.
func (r *Reservation) Settle(c usage.Call) error {
	c.ID = r.hold.ID
	return r.book.locked(func(f *files) error {
		if err := r.book.ledger.Append(c); err != nil {
			return err // the hold stays, and counts
		}
		return f.drop(r.hold.ID)
	})
}

// Cancel gives a reservation back for a call that was not made.
func (r *Reservation) Cancel() error {
	return r.book.locked(func(f *files) error { return f.drop(r.hold.ID) })
}

// State is a limit, and what counts for it now.
type State struct {
	Limit
	Used Amount `json:"used"`
	Held Amount `json:"held"` // at most, by calls under way
}

// Percent is how much of the limit is used.
func (s State) Percent() int {
	if s.Tokens != 0 {
		return int(float64(s.Used.Tokens) / float64(s.Tokens) * 100)
	}
	return int(float64(s.Used.Money) / float64(s.Money) * 100)
}

// StatesOf are the limits that a call of a sandbox's agent counts for.
func (b *Book) StatesOf(purse, agent string) ([]State, error) {
	return b.states(func(l Limit) bool { return l.applies(purse, agent) })
}

// States are all limits.
func (b *Book) States() ([]State, error) { return b.states(func(Limit) bool { return true }) }

func (b *Book) states(wanted func(Limit) bool) (all []State, err error) {
	err = b.locked(func(f *files) error {
		limits, err := b.limits(f)
		if err != nil {
			return err
		}
		limits = slices.DeleteFunc(limits, func(l Limit) bool { return !wanted(l) })
		if len(limits) == 0 {
			return nil
		}
		holds, err := b.catchUp(f)
		if err != nil {
			return err
		}
		for _, l := range limits {
			s := State{Limit: l, Used: b.used(l, b.now())}
			for _, h := range holds {
				if l.applies(h.Purse, h.Agent) {
					s.Held = s.Held.plus(h.Most)
				}
			}
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

// Change changes the limits that were set.
func (b *Book) Change(change func([]Limit) ([]Limit, error)) error {
	return b.locked(func(f *files) error {
		limits, err := f.limits()
		if err != nil {
			return err
		}
		if limits, err = change(limits); err != nil {
			return err
		}
		return f.writeLimits(limits)
	})
}

// Usual is what is usual where l says, nothing if nothing is.
func (b *Book) Usual(l Limit) Amount {
	if i := slices.IndexFunc(b.usual, l.Same); i >= 0 {
		return b.usual[i].Amount
	}
	return Amount{}
}

// locked runs do while nobody else reads or writes what the book has.
func (b *Book) locked(do func(*files) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, err := os.OpenFile(filepath.Join(b.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot look at the budgets: %w", err)
	}
	defer l.Close()
	if err := flock.Lock(l); err != nil {
		return fmt.Errorf("cannot look at the budgets: %w", err)
	}
	return do(&files{b.dir})
}
