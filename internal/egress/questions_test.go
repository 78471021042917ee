package egress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// asker asks about hosts under a policy that a test can change.
type asker struct {
	Questions
	mu     sync.Mutex
	policy policy.Policy
	opened int
}

func (a *asker) ask(ctx context.Context, host string) policy.Decision {
	req := policy.Request{Host: hostname.Name(host), Port: 443, Method: "GET", Path: "/"}
	return a.Questions.ask(ctx, Question{Host: host, Port: 443, Method: req.Method, Path: req.Path}, func() policy.Decision {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.policy.Decide(req)
	}, func(policy.Decision) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.opened++
		return nil
	})
}

func newAsker() *asker { return &asker{policy: policy.Policy{Default: policy.Ask}} }

func TestAnAnswerIsForAllWhoWait(t *testing.T) {
	for verdict, want := range map[policy.Verdict]string{
		policy.Allow: "GET on a.test:443 is allowed once by a human",
		policy.Deny:  "no rule speaks of GET on a.test:443, and a human has denied it this once",
		policy.Ask:   "no rule speaks of GET on a.test:443, and a human has denied it this once",
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAsker()
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if d := a.ask(t.Context(), "a.test"); d.Reason != want || (d.Verdict == policy.Allow) != (verdict == policy.Allow) {
						t.Errorf("%s: %s", d.Verdict, d.Reason)
					}
				})
			}
			synctest.Wait()
			list, seq := a.List()
			if len(list) != 1 || list[0].Waiting != 3 || list[0].Rule != "a.test:443" || seq != 1 || a.opened != 1 {
				t.Errorf("asked %+v, number %d, opened %d", list, seq, a.opened)
			}
			if a.Answer(list[0].ID+1, verdict) {
				t.Error("a question that nobody asked is answered")
			}
			if !a.Answer(list[0].ID, verdict) || a.Answer(list[0].ID, policy.Allow) {
				t.Error("it is not answered exactly once")
			}
			wg.Wait()
			if list, seq := a.List(); len(list) != 0 || seq != 2 || a.waiting != 0 {
				t.Errorf("left are %+v, number %d", list, seq)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker()
		began := time.Now()
		d := a.ask(t.Context(), "a.test")
		if d.Verdict != policy.Deny || time.Since(began) != answerTime || !strings.Contains(d.Reason, "no human has answered within 2 minutes") {
			t.Errorf("after %s: %s, %s", time.Since(began), d.Verdict, d.Reason)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if d := a.ask(ctx, "a.test"); d.Verdict != policy.Deny || !strings.Contains(d.Reason, "its connection ended") {
			t.Errorf("%s: %s", d.Verdict, d.Reason)
		}
		if list, _ := a.List(); len(list) != 0 {
			t.Errorf("still asked: %+v", list)
		}
	})
}

func TestAQuestionThatCannotBeRecordedIsNotAsked(t *testing.T) {
	a := newAsker()
	judge := func() policy.Decision { return a.policy.Decide(policy.Request{Host: "a.test", Port: 443}) }
	d := a.Questions.ask(t.Context(), Question{Host: "a.test", Port: 443}, judge, func(policy.Decision) error { return errors.New("disk full") })
	if list, _ := a.List(); d.Verdict != policy.Deny || len(list) != 0 {
		t.Errorf("%s (%s), asked %+v", d.Verdict, d.Reason, list)
	}
}

func TestQuestionsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker()
		var wg sync.WaitGroup
		reasons := make(chan string, 1000)
		for i := range cap(reasons) {
			wg.Go(func() { reasons <- a.ask(t.Context(), fmt.Sprintf("h%d.test", i)).Reason })
		}
		synctest.Wait()
		list, _ := a.List()
		if len(list) != maxQuestions || len(reasons) != cap(reasons)-maxQuestions || a.opened != maxQuestions {
			t.Fatalf("%d are asked, %d refused, %d recorded", len(list), len(reasons), a.opened)
		}
		if reason := <-reasons; !strings.Contains(reason, "a human is asked 16 other questions already") {
			t.Error(reason)
		}
		for _, q := range list {
			a.Answer(q.ID, policy.Deny)
		}
		wg.Wait()
		// In the same minute there are only some more, however quickly they are answered.
		for i := range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			d := a.ask(ctx, fmt.Sprintf("more%d.test", i))
			if limited := strings.Contains(d.Reason, "no more than 20 questions a minute"); limited != (i >= maxNew-maxQuestions) {
				t.Errorf("%d: %s", i, d.Reason)
			}
			cancel()
		}
		time.Sleep(time.Minute)
		go a.ask(t.Context(), "later.test")
		synctest.Wait()
		if list, _ := a.List(); len(list) != 1 {
			t.Errorf("a minute later nothing is asked: %+v", list)
		}
		a.Answer(a.lastID, policy.Deny)
	})
}

func TestWaitersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker()
		var wg sync.WaitGroup
		for range maxWaiting {
			wg.Go(func() { a.ask(t.Context(), "a.test") })
		}
		synctest.Wait()
		if d := a.ask(t.Context(), "a.test"); d.Verdict != policy.Deny || !strings.Contains(d.Reason, "1024 requests wait for a human already") {
			t.Errorf("%s: %s", d.Verdict, d.Reason)
		}
		a.Answer(1, policy.Allow)
		wg.Wait()
		if _, seq := a.List(); seq != 2 {
			t.Errorf("the number is %d: whoever watches is woken by every request", seq)
		}
	})
}

func TestARuleAnswers(t *testing.T) {
	for verdict := range map[policy.Verdict]bool{policy.Allow: true, policy.Deny: true} {
		synctest.Test(t, func(t *testing.T) {
			a := newAsker()
			answer := make(chan policy.Decision, 2)
			go func() { answer <- a.ask(t.Context(), "a.test") }()
			go func() { answer <- a.ask(t.Context(), "b.test") }()
			synctest.Wait()
			list, _ := a.List()
			i := 0
			if list[0].Host != "a.test" {
				i = 1
			}
			entry, ok := a.Rule(list[i].ID, verdict)
			rule, err := entry.Rule(verdict, "session")
			if !ok || err != nil || rule.String() != "a.test:443" {
				t.Fatalf("the rule is %s, %v, %v", rule, ok, err)
			}
			a.mu.Lock()
			a.policy.Rules = append(a.policy.Rules, rule)
			a.mu.Unlock()
			a.rejudge()
			if d := <-answer; d.Verdict != verdict || !strings.Contains(d.Reason, `by rule "a.test:443" (session)`) || d.Once {
				t.Errorf("%s: %s", d.Verdict, d.Reason)
			}
			synctest.Wait()
			if list, _ := a.List(); len(list) != 1 || list[0].Host != "b.test" {
				t.Errorf("still asked: %+v", list)
			}
			a.Answer(list[1-i].ID, policy.Deny)
			<-answer
		})
	}
}

func TestWhoWatchesIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker()
		woken := make(chan uint64, 1)
		watch := func(ctx context.Context, seen uint64) {
			a.Wait(ctx, seen)
			_, seq := a.List()
			woken <- seq
		}
		go watch(t.Context(), 0)
		synctest.Wait()
		if len(woken) != 0 {
			t.Fatal("woken by nothing")
		}
		go a.ask(t.Context(), "a.test")
		if seq := <-woken; seq != 1 {
			t.Errorf("the number is %d", seq)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go watch(ctx, 1)
		synctest.Wait()
		cancel()
		<-woken
		a.Answer(1, policy.Deny)
		watch(t.Context(), 1)
	})
}
