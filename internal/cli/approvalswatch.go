package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

// newcomers is how often it is looked whether other sandboxes run.
const newcomers = time.Second

func newApprovalsWatch(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "watch [NAME...]",
		Short: "Show questions as they come, and answer them",
		Long: `Show questions as they come, from every sandbox that runs, also those that start later, or from those
named. On a terminal each is shown by itself and takes one key: y (once), s (for the session), a (always),
n (no), esc (next). Keys count only after the question has been there for a moment; ctrl-c ends it.`,
		Example:           "  bailey approvals watch\n  bailey approvals watch night",
		Args:              takes(0, -1, ""),
		ValidArgsFunction: a.names,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.approvalsWatch(cmd.Context(), args) },
	}
}

// board is what several sandboxes ask.
type board struct {
	mu      sync.Mutex
	boxes   map[string]*questions // by the sandbox's name
	changed chan struct{}         // buffered by one
}

func (a *app) approvalsWatch(ctx context.Context, names []string) error {
	if _, err := a.supervisors(ctx, names); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &board{boxes: map[string]*questions{}, changed: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { a.followAll(ctx, names, b) })
	if a.isTTY() {
		return a.answerBoard(ctx, b)
	}
	seen := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.changed:
		}
		list := b.open()
		for _, q := range list {
			if !seen[q.name()] {
				fmt.Fprintln(a.Out, vt.OneLine(q.name()+"  "+place(q.Question)+"  "+wish(q.Question)))
			}
		}
		seen = map[string]bool{}
		for _, q := range list {
			seen[q.name()] = true
		}
	}
}

// followAll follows every sandbox until ctx ends.
func (a *app) followAll(ctx context.Context, names []string, b *board) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		running, err := a.supervisors(ctx, names)
		if err != nil {
			running = nil // one that was named has stopped, and may start again
		}
		for _, s := range running {
			if q := b.add(s); q != nil {
				wg.Go(func() {
					q.follow(ctx, b.change)
					b.remove(s.Name)
				})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(newcomers):
		}
	}
}

// add returns the questions of s when nobody follows them yet.
func (b *board) add(s supervised) *questions {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.boxes[s.Name] != nil {
		return nil
	}
	q := &questions{client: s.client, name: s.Name}
	b.boxes[s.Name] = q
	return q
}

func (b *board) remove(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.boxes, name)
}

func (b *board) change() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// open is what is asked, the oldest first.
func (b *board) open() []asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []asked
	for name, q := range b.boxes {
		for _, one := range q.open() {
			list = append(list, asked{name, one})
		}
	}
	slices.SortFunc(list, func(a, b asked) int {
		if c := a.Asked.Compare(b.Asked); c != 0 {
			return c
		}
		return strings.Compare(a.name(), b.name())
	})
	return list
}

// of is who asks q, nil when that is over.
func (b *board) of(q asked) *questions {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.boxes[q.Sandbox]
}

// answerBoard asks whoever sits at the terminal what is on b, one question after the other.
func (a *app) answerBoard(ctx context.Context, b *board) error {
	in, _ := terminal(a.In)
	out, _ := terminal(a.Out)
	raw, err := makeRaw(in, out, true)
	if err != nil {
		return err
	}
	defer raw.restore()
	defer raw.restoreOnPanic()
	say := func(format string, args ...any) { fmt.Fprintf(out, "\r\x1b[2K"+format, args...) }
	passed := map[string]bool{} // by esc
	for {
		list := slices.DeleteFunc(b.open(), func(q asked) bool { return passed[q.name()] })
		if len(list) == 0 {
			say("waiting for questions; ctrl-c ends")
			if a.idle(ctx, raw.keys, b) {
				say("")
				return context.Canceled
			}
			continue
		}
		q := list[0]
		from := b.of(q)
		if from == nil {
			continue
		}
		_, width := a.size()
		say("%s", promptLine(q.Sandbox, q.Question, width-1))
		p := prompt{shown: time.Now()}
		r, err := from.await(ctx, raw.keys, &p, q.ID, time.Now().Add(time.Hour))
		line := vt.OneLine(q.name() + "  " + place(q.Question) + "  " + wish(q.Question))
		switch {
		case err != nil || r.quit:
			say("")
			return context.Canceled
		case r.later:
			passed[q.name()] = true
			say("%s  left open\r\n", line)
		case r.answer == (api.Answer{}):
			say("%s  no longer open\r\n", line)
		default:
			if err := from.answer(q.ID, r.answer); err != nil {
				say("%s  not answered: %s\r\n", line, vt.OneLine(err.Error()))
				passed[q.name()] = true
				continue
			}
			say("%s  %s (%s)\r\n", line, r.answer.Verdict, r.answer.Scope)
		}
	}
}

// idle waits until something has changed on b. It reports whether the person, or ctx, has ended it.
func (a *app) idle(ctx context.Context, keys *keyboard, b *board) (ended bool) {
	chunk := make([]byte, 1024)
	for {
		select {
		case <-ctx.Done():
			return true
		case <-b.changed:
			return false
		default:
		}
		if n, err := keys.readFor(chunk, glancing); err != nil || bytes.IndexByte(chunk[:n], interrupt) >= 0 {
			return true
		}
	}
}
