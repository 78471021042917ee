package supervise

import (
	"sync"
	"testing"
	"time"
)

// Whoever inspects the sandbox asks the purse, which may just be telling of something.
func TestInspectAndThePurseDoNotWaitForEachOther(t *testing.T) {
	s := new(supervisor)
	var all sync.WaitGroup
	s.purse = &purse{wake: s.wake, tell: func(text string) {
		all.Go(func() {
			if v, err := s.Inspect(t.Context()); err != nil || v.Over != "a budget" {
				t.Errorf("%+v, %v", v, err)
			}
		})
		time.Sleep(50 * time.Millisecond) // it waits for the purse now
		s.alert(&s.alerts.spent, text)
	}}
	all.Go(func() { s.purse.reached("a budget") })
	done := make(chan bool)
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("they wait for each other")
	}
}
