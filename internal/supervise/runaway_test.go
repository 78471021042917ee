package supervise

import (
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/egress"
)

func TestAnAgentThatRunsAwayIsStopped(t *testing.T) {
	now := time.Now()
	call := func(sum uint32) egress.Wanted { return egress.Wanted{Bytes: 10, Sum: sum} }
	g := guard{Guard: config.Guard{PerMinute: 3}}
	for i := range uint32(3) {
		if text := g.let(call(i), now); text != "" {
			t.Errorf("call %d: %s", i, text)
		}
	}
	if text := g.let(call(9), now.Add(59*time.Second)); !strings.Contains(text, "more than 3 calls in a minute") {
		t.Errorf("the fourth: %q", text)
	}
	if text := g.let(call(9), now.Add(time.Minute)); text != "" {
		t.Errorf("a minute later: %s", text)
	}
	g = guard{Guard: config.Guard{Same: 2}}
	for i, c := range []struct {
		sum  uint32
		says string
	}{{1, ""}, {1, ""}, {1, "the same call more than 2 times"}, {1, "the same call more than 2 times"}, {2, ""}, {1, ""}, {1, ""}} {
		if text := g.let(call(c.sum), now); !strings.HasPrefix(text, c.says) || c.says == "" && text != "" {
			t.Errorf("call %d: %q", i, text)
		}
	}
	g = guard{Guard: config.Guard{AtOnce: 1}}
	if text := g.let(call(1), now); text != "" {
		t.Error(text)
	}
	if text := g.let(call(2), now); !strings.HasPrefix(text, "more than 1 calls at once") {
		t.Errorf("a second at once: %q", text)
	}
	g.under--
	if text := g.let(call(2), now); text != "" {
		t.Error(text)
	}
	g = guard{} // without limits
	for range 1000 {
		if text := g.let(call(1), now); text != "" {
			t.Fatal(text)
		}
	}
	if len(g.recent) != 0 {
		t.Error("without a limit times are kept")
	}
}
