package egress

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// answerTime is how long a human has. It is shorter than most programs wait for an answer, so that what they
	// get is the reason.
	answerTime = 2 * time.Minute
	// maxQuestions is how many may be open: a person reads no more, and a sandbox makes up hosts without end.
	maxQuestions = 16
	// maxNew is how many may be asked in a minute, so that nobody is worn down until they say yes.
	maxNew = 20
	// maxWaiting is how many requests may wait, over all questions: each costs its connection and a few KiB.
	maxWaiting = 1024
)

// Question is what a human is asked: whether the sandbox may speak Protocol with Port of Host. Whoever wants the
// same waits for the same answer. Method and Path are the sandbox's own words.
type Question struct {
	ID       uint64
	Host     string // a name in canonical form, or an address
	Port     uint16
	Protocol policy.Protocol // HTTP for requests, TCP for everything else
	Method   string          // of the requests that wait; "" where they differ
	Path     string          // the same
	Asked    time.Time
	Waiting  int
	Rule     string // that allows it for longer; "" when none can
}

// Questions are those that are open. The zero value has none. The exported methods are for whoever asks the human.
type Questions struct {
	mu      sync.Mutex
	open    []*question // the oldest first
	recent  []time.Time // of the last minute's
	lastID  uint64
	waiting int
	seq     uint64
	changed chan struct{} // closed by the next change; nil while nobody waits for it
}

type question struct {
	Question
	decision policy.Decision // of the first who asked
	waiters  map[*waiter]bool
}

// waiter is a request or connection that is held.
type waiter struct {
	question *question
	judge    func() policy.Decision // by the policy in force
	decision policy.Decision        // to ask
	answer   chan policy.Decision   // takes one
}

// ask holds its caller until a human has answered about, a rule has, the time is over, or ctx has ended. judge says
// what the policy in force makes of it. opened is called when nobody has asked the same yet.
func (q *Questions) ask(ctx context.Context, about Question, judge func() policy.Decision, opened func(policy.Decision) error) policy.Decision {
	w, first, d := q.join(about, judge)
	if w == nil {
		return d
	}
	if first {
		if err := opened(w.decision); err != nil {
			return q.leave(w, "the question cannot be recorded")
		}
	}
	limit := time.NewTimer(answerTime)
	defer limit.Stop()
	select {
	case d := <-w.answer:
		return d
	case <-limit.C:
		return q.leave(w, fmt.Sprintf("no human has answered within %.0f minutes", answerTime.Minutes()))
	case <-ctx.Done():
		return q.leave(w, "its connection ended before a human had answered")
	}
}

// join adds a waiter, or returns none and what became of the question. The policy is asked again under the lock:
// whoever changes it then finds the waiter here, or the waiter finds the new policy.
func (q *Questions) join(about Question, judge func() policy.Decision) (w *waiter, first bool, d policy.Decision) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d = judge(); d.Verdict != policy.Ask {
		return nil, false, d
	}
	if q.waiting >= maxWaiting {
		return nil, false, d.Rejected(fmt.Sprintf("%d requests wait for a human already", maxWaiting))
	}
	i := slices.IndexFunc(q.open, func(o *question) bool {
		return o.Host == about.Host && o.Port == about.Port && o.Protocol == about.Protocol
	})
	var o *question
	if i >= 0 {
		o = q.open[i]
		q.merge(o, about)
	} else {
		now := time.Now()
		q.recent = slices.DeleteFunc(q.recent, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
		switch {
		case len(q.open) >= maxQuestions:
			return nil, false, d.Rejected(fmt.Sprintf("a human is asked %d other questions already", maxQuestions))
		case len(q.recent) >= maxNew:
			return nil, false, d.Rejected(fmt.Sprintf("a human is asked no more than %d questions a minute", maxNew))
		}
		q.recent = append(q.recent, now)
		q.lastID++
		about.ID, about.Asked = q.lastID, now
		if e, ok := d.Answer(policy.Allow); ok {
			r, _ := e.Rule(policy.Allow, "")
			about.Rule = r.String()
		}
		o = &question{Question: about, decision: d, waiters: map[*waiter]bool{}}
		q.open = append(q.open, o)
		q.change()
	}
	w = &waiter{question: o, judge: judge, decision: d, answer: make(chan policy.Decision, 1)}
	o.waiters[w] = true
	q.waiting++
	return w, i < 0, d
}

// merge leaves of a question what is true of all that wait. How many do is no change: a sandbox could make as many
// of those as it likes.
func (q *Questions) merge(o *question, about Question) {
	if o.Path != "" && o.Path != about.Path {
		o.Path = ""
		q.change()
	}
	if o.Method != "" && o.Method != about.Method {
		o.Method = ""
		q.change()
	}
}

// leave is for a waiter whose time is over. One that was answered in that moment has its answer.
func (q *Questions) leave(w *waiter, why string) policy.Decision {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.question.waiters[w] {
		q.settle(w, w.decision.Rejected(why))
	}
	return <-w.answer
}

// settle ends the wait of w with d, and its question with the last that waits.
func (q *Questions) settle(w *waiter, d policy.Decision) {
	delete(w.question.waiters, w)
	q.waiting--
	w.answer <- d
	if len(w.question.waiters) == 0 {
		q.open = slices.DeleteFunc(q.open, func(o *question) bool { return o == w.question })
		q.change()
	}
}

// rejudge ends every wait that the policy in force decides.
func (q *Questions) rejudge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range slices.Clone(q.open) {
		for w := range o.waiters {
			if d := w.judge(); d.Verdict != policy.Ask {
				q.settle(w, d)
			}
		}
	}
}

// Answer tells all who wait for the question id v, for this one time. It is false when there is no such question.
func (q *Questions) Answer(id uint64, v policy.Verdict) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := q.find(id)
	if o == nil {
		return false
	}
	for w := range o.waiters {
		d := w.decision.Rejected(policy.ByHuman)
		if v == policy.Allow {
			d = w.decision.Approved()
		}
		q.settle(w, d)
	}
	return true
}

// Rule is the rule that answers the question id with v for longer. It is false when there is no such question, or
// no such rule.
func (q *Questions) Rule(id uint64, v policy.Verdict) (policy.Entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := q.find(id)
	if o == nil {
		return policy.Entry{}, false
	}
	return o.decision.Answer(v)
}

// List returns the open questions, the oldest first, and a number that grows whenever other ones are open.
func (q *Questions) List() ([]Question, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var list []Question
	for _, o := range q.open {
		one := o.Question
		one.Waiting = len(o.waiters)
		list = append(list, one)
	}
	return list, q.seq
}

// Wait returns when List's number is another than seen, or ctx has ended.
func (q *Questions) Wait(ctx context.Context, seen uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.seq == seen && ctx.Err() == nil {
		if q.changed == nil {
			q.changed = make(chan struct{})
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		q.mu.Lock()
	}
}

// Wake has whoever waits look again, as if there were others.
func (q *Questions) Wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.change()
}

func (q *Questions) find(id uint64) *question {
	i := slices.IndexFunc(q.open, func(o *question) bool { return o.ID == id })
	if i < 0 {
		return nil
	}
	return q.open[i]
}

func (q *Questions) change() {
	q.seq++
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}
