package budget

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BAILEY_BUDGET_SPENDER"); dir != "" {
		os.Exit(spend(dir, os.Args[1]))
	}
	os.Exit(m.Run())
}

const cent = usage.Dollar / 100

// spend makes calls that cost one to ten cents, of which ten are reserved, until the budget is used up.
func spend(dir, name string) int {
	b, err := Open(dir, time.UTC)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		r, err := b.Reserve(context.Background(), Hold{Purse: name, Most: Amount{Money: 10 * cent, Tokens: 100}})
		var reached *Reached
		if errors.As(err, &reached) {
			fmt.Println("reached", reached)
			return 0
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		if err := r.Settle(usage.Call{Time: time.Now(), Purse: name, Cost: usage.Money(1+rand.IntN(10)) * cent}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
}

func book(t *testing.T, limits ...string) *Book {
	t.Helper()
	b, err := Open(filepath.Join(t.TempDir(), "usage"), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	set(t, b, limits...)
	return b
}

// set sets limits, written as SCOPE=AMOUNT.
func set(t *testing.T, b *Book, limits ...string) {
	t.Helper()
	var all []Limit
	for _, text := range limits {
		scope, amount, _ := strings.Cut(text, "=")
		of, period, err1 := ParseScope(scope)
		a, err2 := ParseAmount(amount)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		all = append(all, Limit{Of: of, Period: period, Amount: a})
	}
	if err := b.Change(func([]Limit) ([]Limit, error) { return all, nil }); err != nil {
		t.Fatal(err)
	}
}

func dollars(n int64) Amount { return Amount{Money: usage.Money(n) * usage.Dollar, Tokens: n * 1000} }

// try reserves at once, or says why not: "reached SCOPE" or "wait".
func try(t *testing.T, b *Book, sandbox, agent string, most Amount) (*Reservation, string) {
	t.Helper()
	r, wait, err := b.tryReserve(Hold{Purse: sandbox, Agent: agent, Most: most})
	var reached *Reached
	switch {
	case errors.As(err, &reached):
		return nil, "reached " + reached.Limit.Scope()
	case err != nil:
		t.Fatal(err)
	case wait:
		return nil, "wait"
	}
	return r, "ok"
}

func settle(t *testing.T, r *Reservation, sandbox, agent string, used Amount, at time.Time) {
	t.Helper()
	if err := r.Settle(usage.Call{Time: at, Purse: sandbox, Agent: agent, Cost: used.Money, Tokens: usage.Tokens{Input: used.Tokens}}); err != nil {
		t.Fatal(err)
	}
}

func TestALimitIsKept(t *testing.T) {
	b := book(t, "sandbox:a=10usd", "all=3Mtok")
	now := time.Now()
	first, got := try(t, b, "a", "claude", dollars(6))
	if got != "ok" {
		t.Fatal(got)
	}
	if _, got := try(t, b, "a", "claude", dollars(6)); got != "wait" {
		t.Errorf("beside one that may use the rest: %s", got)
	}
	if _, got := try(t, b, "b", "claude", dollars(600)); got != "ok" {
		t.Errorf("another sandbox: %s", got)
	}
	settle(t, first, "a", "claude", dollars(1), now) // it used less than it might have
	second, got := try(t, b, "a", "claude", dollars(600))
	if got != "ok" {
		t.Errorf("alone, while something is left: %s", got)
	}
	if _, got := try(t, b, "a", "claude", dollars(1)); got != "wait" {
		t.Errorf("beside one that may use everything: %s", got)
	}
	settle(t, second, "a", "claude", dollars(9), now)
	if _, got := try(t, b, "a", "claude", dollars(1)); got != "reached sandbox:a" {
		t.Errorf("at the limit: %s", got)
	}
	set(t, b, "sandbox:a=11usd")
	if r, got := try(t, b, "a", "claude", dollars(1)); got != "ok" {
		t.Errorf("after it was raised: %s", got)
	} else if err := r.Cancel(); err != nil {
		t.Fatal(err)
	}
	states, err := b.States()
	if err != nil || len(states) != 1 || states[0].Used.Money != 10*usage.Dollar || states[0].Held.Money != 0 {
		t.Errorf("%+v, %v", states, err)
	}
}

func TestPeriods(t *testing.T) {
	b := book(t, "day=5usd", "agent:codex/month=7usd")
	b.zone = time.FixedZone("east", 5*3600+1800)
	now := time.Date(2026, 11, 30, 20, 0, 0, 0, time.UTC) // the first of December, half past one, in that zone
	b.now = func() time.Time { return now }
	use := func(agent string, amount int64, at time.Time) {
		t.Helper()
		r, got := try(t, b, "a", agent, dollars(0))
		if got != "ok" {
			t.Fatal(got)
		}
		settle(t, r, "a", agent, dollars(amount), at)
	}
	use("codex", 100, now.Add(-3*time.Hour)) // yesterday, and last month
	use("codex", 4, now)
	if _, got := try(t, b, "a", "codex", dollars(1)); got != "ok" {
		t.Errorf("what is over counts: %s", got)
	}
	b = &Book{dir: b.dir, ledger: b.ledger, zone: b.zone, now: b.now, spent: map[key]Amount{}, ended: map[string]bool{}} // another process
	use("claude", 1, now)
	if _, got := try(t, b, "a", "codex", dollars(1)); got != "reached day" {
		t.Errorf("at the day's limit: %s", got)
	}
	now = now.Add(24 * time.Hour)
	use("codex", 3, now)
	if _, got := try(t, b, "a", "codex", dollars(1)); got != "reached agent:codex/month" {
		t.Errorf("on the next day, at the month's: %s", got)
	}
	if _, got := try(t, b, "a", "claude", dollars(1)); got != "ok" {
		t.Errorf("another agent: %s", got)
	}
}

// What is usual holds until something else is set.
func TestUsualLimits(t *testing.T) {
	b, err := Open(t.TempDir(), time.UTC, Limit{Of: "all", Period: Day, Amount: Amount{Money: usage.Dollar}})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := try(t, b, "a", "", dollars(1))
	settle(t, r, "a", "", dollars(3), time.Now())
	if _, got := try(t, b, "a", "", dollars(1)); got != "reached day" {
		t.Errorf("%s", got)
	}
	set(t, b, "day=5usd")
	if _, got := try(t, b, "a", "", dollars(1)); got != "ok" {
		t.Errorf("%s", got)
	}
}

func TestWaitingEnds(t *testing.T) {
	b := book(t, "all=1usd")
	r, got := try(t, b, "a", "", dollars(1))
	if got != "ok" {
		t.Fatal(got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lookAgain)
	defer cancel()
	if _, err := b.Reserve(ctx, Hold{Purse: "b", Most: dollars(1)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	time.AfterFunc(2*lookAgain, func() { _ = r.Cancel() })
	if _, err := b.Reserve(t.Context(), Hold{Purse: "b", Most: dollars(1)}); err != nil {
		t.Errorf("%v", err)
	}
}

func TestWhatCannotBeReadReservesNothing(t *testing.T) {
	b := book(t, "all=1usd")
	if err := os.WriteFile(filepath.Join(b.dir, limitsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.tryReserve(Hold{}); err == nil {
		t.Error("without the limits something was reserved")
	}
}

// TestManySpendersAreKilled has processes share a budget, kills some of them, and looks how far it was passed.
func TestManySpendersAreKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 8, 32} {
		b := book(t, "all=5usd")
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				cmd := exec.Command(self, fmt.Sprintf("box-%d", i))
				cmd.Env = append(os.Environ(), "BAILEY_BUDGET_SPENDER="+b.dir)
				var out bytes.Buffer
				cmd.Stdout = &out
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				if i%4 == 3 {
					time.AfterFunc(time.Duration(50+rand.IntN(300))*time.Millisecond, func() { _ = cmd.Process.Kill() })
				}
				if err := cmd.Wait(); i%4 != 3 && (err != nil || !strings.HasPrefix(out.String(), "reached ")) {
					t.Errorf("box-%d: %v, %s", i, err, out.String())
				}
			})
		}
		wg.Wait()
		states, err := b.States()
		if err != nil || len(states) != 1 {
			t.Fatal(states, err)
		}
		ids, sum := map[string]bool{}, usage.Money(0)
		if _, err := b.Ledger().Calls(time.Time{}, time.Time{}, func(c usage.Call) bool {
			if c.ID == "" || ids[c.ID] {
				t.Errorf("the call %q is there twice", c.ID)
			}
			ids[c.ID] = true
			sum += c.Cost
			return true
		}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d sandboxes: %s of $5.00 in %d calls", n, sum, len(ids))
		if used := states[0].Used.Money; used != sum || used < 5*usage.Dollar || used >= 5*usage.Dollar+10*cent || states[0].Held.Money != 0 {
			t.Errorf("%d sandboxes: used is %s, the ledger has %s, held are %s", n, used, sum, states[0].Held.Money)
		}
	}
}
