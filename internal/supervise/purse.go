package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/egress"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/usage"
	"github.com/bailey-sandbox/bailey/internal/usage/budget"
	"github.com/bailey-sandbox/bailey/internal/usage/price"
)

const (
	// bytesPerToken is how many bytes of a request are one token, at the least: prose has four, code and JSON three.
	bytesPerToken = 3
	// usualOutput is how many tokens a call may write that says no limit: what the largest models are allowed.
	usualOutput = 128_000
)

// purse counts and pays for what the models are asked from inside one sandbox.
type purse struct {
	book    *budget.Book
	prices  func() (*price.Table, error) // read when they are first needed, which is not on the way of a start
	sandbox string
	account string // the same for the sandbox's forks
	agent   string
	session string // of calls that name none
	log     *slog.Logger
	tell    func(text string) // shows attached terminals a sentence, or none
	wake    func()            // has them look again at what was spent

	mu     sync.Mutex
	guard  guard
	warned map[string]int // per cent of budgets, by their scope, that were told of
	over   string         // the budget that was reached, as a sentence
	spent  usage.Money    // since the sandbox was started
	hide   *time.Timer    // takes a warning off the terminals

	estimated map[string]bool // models that were told of, whose price is another's
}

func (s *supervisor) newPurse() (*purse, error) {
	book, err := budget.Open(filepath.Join(s.cfg.Store.Dirs().Data, state.UsageDir), time.Local, s.cfg.Budget.Of(s.sb.Account(), s.sb.Name)...)
	if err != nil {
		return nil, err
	}
	prices := sync.OnceValues(func() (*price.Table, error) { return price.Builtin(s.cfg.Prices...) })
	return &purse{book: book, prices: prices, sandbox: s.sb.Name, account: s.sb.Account(), agent: s.sb.Agent, session: s.sb.Name + " " + time.Now().UTC().Format("2006-01-02 15:04"),
		log: s.log, guard: guard{Guard: s.cfg.Budget.Guard}, tell: func(text string) { s.alert(&s.alerts.spent, text) }, wake: s.wake, warned: map[string]int{}, estimated: map[string]bool{}}, nil
}

// Begin sets the most aside that the call can cost.
func (p *purse) Begin(ctx context.Context, w egress.Wanted) (func(usage.Call, *usage.Money), error) {
	prices, err := p.prices()
	if err != nil {
		p.log.Error("no call is paid for", "error", err)
		return nil, errors.New("the prices of models cannot be read, so no call is paid for: the host's log has the reason")
	}
	if text := p.letCall(w); text != "" {
		p.reached(text)
		return nil, errors.New(text)
	}
	h := budget.Hold{Sandbox: p.sandbox, Purse: p.account, Agent: p.agent, Session: w.Session, Model: w.Model, Most: most(prices, w)}
	r, err := p.book.Reserve(ctx, h)
	if err != nil {
		p.ended()
	}
	var reached *budget.Reached
	switch {
	case errors.As(err, &reached):
		text := fmt.Sprintf("%s; the sandbox is held. A person can go on with it, outside: bailey budget raise %s AMOUNT", reached, reached.Limit.Scope())
		p.reached(text)
		return nil, errors.New(text)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		p.log.Error("no call is paid for", "error", err)
		return nil, errors.New("the budgets cannot be read, so no call is paid for: the host's log has the reason")
	}
	p.reached("")
	return func(c usage.Call, cost *usage.Money) { p.settle(r, prices, c, cost) }, nil
}

// most is what the call can use. Of a model whose price is not known it is nothing: then only tokens can be limited.
func most(prices *price.Table, w egress.Wanted) budget.Amount {
	prompt, output := w.Bytes/bytesPerToken+1, w.Output
	if output == 0 {
		output = usualOutput
	}
	money, _ := prices.Worst(w.Model, time.Now(), prompt, output)
	return budget.Amount{Money: money, Tokens: prompt + output}
}

// settle records a call. It runs after the answer has gone.
func (p *purse) settle(r *budget.Reservation, prices *price.Table, c usage.Call, cost *usage.Money) {
	p.ended()
	c.Sandbox, c.Purse, c.Agent = p.sandbox, p.account, p.agent
	if c.Session == "" {
		c.Session = p.session
	}
	if cost != nil {
		c.Cost = *cost
	} else {
		c = prices.Price(c)
	}
	if c.Unpriced != "" {
		p.log.Warn("a call of a model cannot be priced", "model", c.Model, "why", c.Unpriced)
	}
	if cost == nil && c.Estimated {
		p.estimate(c.Model, prices.Nearest(c.Model, c.Time))
	}
	if err := r.Settle(c); err != nil {
		p.log.Error("a call of a model is not recorded", "error", err)
		return
	}
	p.count(c.Cost)
	p.warn()
}

// maxEstimated is of how many models it is told that their price is another's: their names come from outside.
const maxEstimated = 16

// estimate tells once of a model that its price is that of near; without one, the price is known, and the tokens are not.
func (p *purse) estimate(model, near string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if near == "" || p.estimated[model] || len(p.estimated) == maxEstimated {
		return
	}
	p.estimated[model] = true
	p.log.Warn("no price is known for a model: it is counted as another of its family", "model", model, "as", near)
	if p.over == "" {
		p.show(fmt.Sprintf("no price is known for %s: it is counted as %s", model, near))
	}
}

// count has attached terminals show what was spent since the start, at every whole dollar as a sentence.
func (p *purse) count(cost usage.Money) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.spent / usage.Dollar
	p.spent += cost
	if p.spent/usage.Dollar > before && p.over == "" {
		p.show(fmt.Sprintf("%s used since the start: bailey usage %s", p.spent, p.sandbox))
	} else if cost > 0 {
		p.wake()
	}
}

// Spent is what was spent since the start, "" for nothing.
func (p *purse) Spent() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spent == 0 {
		return ""
	}
	return p.spent.String()
}

// show shows attached terminals text for a while. It is called with mu held.
func (p *purse) show(text string) {
	p.tell(text)
	if p.hide != nil {
		p.hide.Stop()
	}
	p.hide = time.AfterFunc(shownFor, p.forget)
}

// reached notes, and shows, that a budget leaves nothing, or that it does again.
func (p *purse) reached(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != text {
		p.over = text
		p.tell(text)
	}
}

// Over says which budget was reached, "" while there is none.
func (p *purse) Over() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// warn tells once of each budget that it is used to a half, to 80 and to 95 per cent.
func (p *purse) warn() {
	states, err := p.book.StatesOf(p.account, p.agent)
	if err != nil {
		p.log.Warn("cannot look at the budgets", "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range states {
		at := 0
		for _, mark := range []int{50, 80, 95} {
			if s.Percent() >= mark {
				at = mark
			}
		}
		if at > p.warned[s.Scope()] && p.over == "" {
			text := fmt.Sprintf("%d%% of the budget of %s for %s is used", s.Percent(), s.Amount, s.Scope())
			p.log.Warn(text)
			p.show(text)
		}
		p.warned[s.Scope()] = at
	}
}

// forget takes a warning off the terminals, unless a budget has been reached meanwhile.
func (p *purse) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over == "" {
		p.tell("")
	}
}
