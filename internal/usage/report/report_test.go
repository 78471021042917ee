package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

func at(day, hour, minute int) time.Time {
	return time.Date(2026, 11, day, hour, minute, 0, 0, time.UTC)
}

func calls() []usage.Call {
	return []usage.Call{
		{Time: at(2, 23, 30), Sandbox: "a", Session: "s1", Agent: "claude", Model: "opus", Tokens: usage.Tokens{Input: 10, Output: 5, CacheRead: 100}, Cost: 3 * usage.Dollar},
		{Time: at(1, 10, 10), Sandbox: "a", Session: "s1", Agent: "claude", Model: "haiku", Tokens: usage.Tokens{Input: 20}, Cost: usage.Dollar, Estimated: true},
		{Time: at(1, 14, 59), Sandbox: "b", Session: "s2", Agent: "codex", Model: "gpt", Tokens: usage.Tokens{Input: 30}, Unpriced: "no usage"},
		{Time: at(1, 15, 0), Sandbox: "b", Session: "s2", Agent: "codex", Model: "gpt", Tokens: usage.Tokens{Input: 40}, Cost: 5 * usage.Dollar},
	}
}

func TestRows(t *testing.T) {
	berlin := time.FixedZone("Berlin", 3600)
	for by, want := range map[By]string{
		Sandbox: "b 2 $5.00, a 2 $4.00",
		Session: "s2 2 $5.00, s1 2 $4.00",
		Model:   "gpt 2 $5.00, opus 1 $3.00, haiku 1 $1.00",
		Agent:   "codex 2 $5.00, claude 2 $4.00",
		Day:     "2026-11-01 3 $6.00, 2026-11-03 1 $3.00",
		Hour:    "2026-11-01 11:00 1 $1.00, 2026-11-01 15:00 1 $0.00, 2026-11-01 16:00 1 $5.00, 2026-11-03 00:00 1 $3.00",
		Block:   "2026-11-01 11:00 2 $1.00, 2026-11-01 16:00 1 $5.00, 2026-11-03 00:00 1 $3.00",
	} {
		s := New(by, berlin)
		for _, c := range calls() {
			s.Add(c, usage.Dollar/10)
		}
		var got []string
		rows := s.Rows()
		for _, r := range rows {
			got = append(got, fmt.Sprintf("%s %d %s", r.Key, r.Calls, r.Cost))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("by %s: %s", by, strings.Join(got, ", "))
		}
		total := Total(rows)
		if total.Calls != 4 || total.Cost != 9*usage.Dollar || total.Saved != 4*usage.Dollar/10 || total.Estimated != 1 || total.Unpriced != 1 || total.Input != 100 || total.CacheRead != 100 ||
			len(total.Models) != 3 || !total.First.Equal(at(1, 10, 10)) || !total.Last.Equal(at(2, 23, 30)) {
			t.Errorf("by %s the total is %+v", by, total)
		}
	}
	if rows := New(Day, time.UTC).Rows(); len(rows) != 0 || Total(rows).Calls != 0 {
		t.Errorf("of nothing: %v", rows)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1.00K", 12345: "12.3K", 999499: "999K", 999500: "1.00M", 4560000: "4.56M", 99_960_000: "100M", 1_500_000_000: "1.50G", 2e12: "2.00T"} {
		if got := Count(n); got != want || len(got) > 5 {
			t.Errorf("%d reads %s, not %s", n, got, want)
		}
	}
}

func TestSpark(t *testing.T) {
	for _, c := range []struct {
		values []int64
		width  int
		want   string
	}{{nil, 5, ""}, {[]int64{0, 0}, 5, "▁▁"}, {[]int64{0, 50, 100}, 5, "▁▄█"}, {[]int64{1, 2, 3, 4, 5, 6, 7, 8}, 4, "▂▄▆█"}, {[]int64{5}, 0, ""}, {[]int64{-5, 5}, 2, "▁█"}} {
		if got := Spark(c.values, c.width); got != c.want {
			t.Errorf("%v in %d is %q, not %q", c.values, c.width, got, c.want)
		}
	}
}

func TestTheContextOfALongSessionIsBounded(t *testing.T) {
	s := New(Session, time.UTC)
	for i := range 10 * maxContext {
		s.Add(usage.Call{Time: at(1, 1, 1), Session: "s", Tokens: usage.Tokens{Input: int64(i + 1)}}, 0)
	}
	if r := s.Rows()[0]; len(r.Context) != maxContext || r.Context[maxContext-1] != 10*maxContext {
		t.Errorf("%d are kept, the last is %d", len(r.Context), r.Context[len(r.Context)-1])
	}
}

// A session's or a model's name may be anything.
func FuzzSVG(f *testing.F) {
	f.Add("title", "a<b>&\"'\x00\x1b", int64(5))
	f.Add("", "\xff\xfe\uffff", int64(-1))
	f.Fuzz(func(t *testing.T, title, key string, cost int64) {
		s := New(Model, time.UTC)
		s.Add(usage.Call{Model: key, Cost: usage.Money(cost)}, 0)
		for d := xml.NewDecoder(strings.NewReader(SVG(title, s.Rows()))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%q, %q: %v", title, key, err)
			}
		}
	})
}
