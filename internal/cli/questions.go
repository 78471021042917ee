package cli

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

const (
	// questionKey opens the questions, behind the first of the keys that detach.
	questionKey = 'a'
	// glancing is how often it is looked whether a question that is on the screen is still open.
	glancing = 100 * time.Millisecond
	// heldFor is how long a question that nobody answers holds output back. An agent that prints megabytes meanwhile
	// may cut its client off, as it does with a terminal that is stuck.
	heldFor = 30 * time.Second
)

// questions are what a sandbox asks, as its client knows them. The zero value has none.
type questions struct {
	client *api.Client
	name   string // of the sandbox

	mu   sync.Mutex
	last api.Approvals // as the supervisor told, without what is answered since
}

// follow keeps them up to date, and calls changed after each change, until ctx or the sandbox ends.
func (q *questions) follow(ctx context.Context, changed func()) {
	v, err := q.client.Approvals(ctx)
	for err == nil {
		q.set(v)
		changed()
		v, err = q.client.AwaitApprovals(ctx, v.Seq)
	}
	q.set(api.Approvals{})
	changed()
}

func (q *questions) set(v api.Approvals) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = v
}

func (q *questions) now() api.Approvals {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last
}

func (q *questions) open() []api.Question { return q.now().Questions }

// has says whether the question with that number is open.
func (q *questions) has(id uint64) bool {
	return slices.ContainsFunc(q.open(), func(o api.Question) bool { return o.ID == id })
}

// drop forgets one that is answered, before the supervisor says so.
func (q *questions) drop(id uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last.Questions = slices.DeleteFunc(slices.Clone(q.last.Questions), func(o api.Question) bool { return o.ID == id })
}

// put asks the person at keys what say shows, one question after the other, until none is left, or they leave it
// open, or look at it for too long.
func (q *questions) put(keys *keyboard, say func(func(width int) string)) {
	deadline := time.Now().Add(heldFor)
	for list := q.open(); len(list) > 0; list = q.open() {
		one := list[0]
		say(func(width int) string { return promptLine(q.name, one, width) })
		p := prompt{shown: time.Now()}
		r, err := q.await(context.Background(), keys, &p, one.ID, deadline)
		if err != nil || r.later {
			return
		}
		if r.answer == (api.Answer{}) { // somebody else has answered
			continue
		}
		if err := q.answer(one.ID, r.answer); err != nil {
			say(func(width int) string { return ending(" bailey: not answered: "+vt.OneLine(err.Error())+" ", width) })
			_, _ = keys.readFor(make([]byte, 64), heldFor)
			return
		}
		deadline = time.Now().Add(heldFor)
	}
}

// answer answers one, and forgets it before the supervisor says so. That somebody else was faster is no error.
func (q *questions) answer(id uint64, answer api.Answer) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := q.client.Answer(ctx, id, answer); err != nil && !errors.Is(err, api.ErrNoQuestion) {
		return err
	}
	q.drop(id)
	return nil
}

// await waits for a key that says something, or until the question is no longer open.
func (q *questions) await(ctx context.Context, keys *keyboard, p *prompt, id uint64, deadline time.Time) (reply, error) {
	chunk := make([]byte, 1024)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		if !q.has(id) {
			return reply{}, nil
		}
		n, err := keys.readFor(chunk, glancing)
		if err != nil {
			return reply{}, err
		}
		if r := p.key(chunk[:n], time.Now()); n > 0 && r != (reply{}) {
			return r, nil
		}
	}
	return reply{later: true}, ctx.Err()
}
