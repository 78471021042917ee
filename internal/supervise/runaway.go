package supervise

import (
	"fmt"
	"time"

	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/egress"
)

// guard notices an agent that runs away.
type guard struct {
	config.Guard
	recent []time.Time // of calls in the last minute
	bytes  int64       // of the last call
	sum    uint32
	same   int // how often it was made in a row
	under  int // calls under way
}

// letCall says why a call may not be made, "" when it may: then it counts until ended is called.
func (p *purse) letCall(w egress.Wanted) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.guard.let(w, time.Now())
	if text == "" {
		return ""
	}
	return text + ": the sandbox is held. budget: in config.yaml says how many may be made"
}

// ended takes a call off those under way.
func (p *purse) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guard.under--
}

func (g *guard) let(w egress.Wanted, now time.Time) string {
	for len(g.recent) > 0 && now.Sub(g.recent[0]) >= time.Minute {
		g.recent = g.recent[1:]
	}
	if g.same++; w.Bytes != g.bytes || w.Sum != g.sum {
		g.bytes, g.sum, g.same = w.Bytes, w.Sum, 1
	}
	switch {
	case g.PerMinute > 0 && len(g.recent) >= g.PerMinute:
		return fmt.Sprintf("more than %d calls in a minute", g.PerMinute)
	case g.Same > 0 && g.same > g.Same:
		return fmt.Sprintf("the same call more than %d times in a row", g.Same)
	case g.AtOnce > 0 && g.under >= g.AtOnce:
		return fmt.Sprintf("more than %d calls at once", g.AtOnce)
	}
	if g.PerMinute > 0 {
		g.recent = append(g.recent, now)
	}
	g.under++
	return ""
}
