package ledger

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BAILEY_LEDGER_WRITER"); dir != "" {
		os.Exit(write(dir, os.Args[1]))
	}
	os.Exit(m.Run())
}

// write appends until it is killed, and prints the number of each record that is kept.
func write(dir, name string) int {
	l, err := Open(dir)
	if err != nil {
		return 1
	}
	for n := 0; ; n++ {
		c := usage.Call{Time: day(1), Sandbox: name, Request: strconv.Itoa(n), Tokens: usage.Tokens{Input: 1}, Cost: usage.Dollar / 100, Model: strings.Repeat("m", n%300)}
		if err := l.Append(c); err != nil {
			return 1
		}
		fmt.Println(n)
	}
}

func day(n int) time.Time { return time.Date(2026, 11, n, 12, 0, 0, 0, time.UTC) }

func all(t *testing.T, l *Ledger, since, until time.Time) (calls []usage.Call, broken int) {
	t.Helper()
	broken, err := l.Calls(since, until, func(c usage.Call) bool { calls = append(calls, c); return true })
	if err != nil {
		t.Fatal(err)
	}
	return calls, broken
}

func TestWhatIsAppendedIsRead(t *testing.T) {
	l, err := Open(filepath.Join(t.TempDir(), "usage"))
	if err != nil {
		t.Fatal(err)
	}
	want := []usage.Call{
		{Time: day(-40), Sandbox: "old"},
		{Time: day(2), Sandbox: "a", Session: "s", Agent: "claude", Model: "m", Request: "r", Status: 200, Tokens: usage.Tokens{Input: 1, CacheWrite: 2, CacheWrite1h: 3, CacheRead: 4, Output: 5, Thinking: 6, Searches: 7}, Cost: 12345, Estimated: true, Unpriced: "why", Latency: 1.5},
		{Time: day(3)},
	}
	for _, c := range want {
		if err := l.Append(c); err != nil {
			t.Fatal(err)
		}
	}
	got, broken := all(t, l, time.Time{}, time.Time{})
	if broken != 0 || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		since, until time.Time
		want         int
	}{{day(2), time.Time{}, 2}, {day(3), time.Time{}, 1}, {time.Time{}, day(3), 2}, {day(1), day(3), 1}, {day(4), time.Time{}, 0}, {time.Time{}, day(-100), 0}} {
		if got, _ := all(t, l, c.since, c.until); len(got) != c.want {
			t.Errorf("from %s to %s there are %d", c.since, c.until, len(got))
		}
	}
}

func TestWhatIsBrokenIsLeftOutAndCounted(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	half := `{"time":"2026-11-01T12:00:00Z","sandbox":"half`
	if err := os.WriteFile(filepath.Join(dir, "calls-2026-11.jsonl"), []byte("[]x\n\n"+strings.Repeat("y", 3*maxLine)+"\n"+half), 0o600); err != nil {
		t.Fatal(err)
	}
	if calls, broken := all(t, l, time.Time{}, time.Time{}); len(calls) != 0 || broken != 3 {
		t.Errorf("%v, %d broken", calls, broken)
	}
	if err := l.Append(usage.Call{Time: day(1), Sandbox: "whole"}); err != nil {
		t.Fatal(err)
	}
	if calls, broken := all(t, l, time.Time{}, time.Time{}); len(calls) != 1 || calls[0].Sandbox != "whole" || broken != 3 {
		t.Errorf("%v, %d broken", calls, broken)
	}
}

// TestFiftyWritersAreKilled: whatever a writer was told is kept is there exactly once, and nothing else is but the one
// that it was not told of any more.
func TestFiftyWritersAreKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "usage")
	told := make([]int, 50)
	var wg sync.WaitGroup
	for i := range told {
		wg.Go(func() {
			cmd := exec.Command(self, fmt.Sprintf("box-%d", i))
			cmd.Env = append(os.Environ(), "BAILEY_LEDGER_WRITER="+dir)
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			time.AfterFunc(time.Duration(2000+37*i)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			for lines := bufio.NewScanner(out); lines.Scan(); {
				told[i]++
			}
			_ = cmd.Wait()
		})
	}
	wg.Wait()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	calls, broken := all(t, l, time.Time{}, time.Time{})
	seen, kept := map[string]bool{}, make([]int, len(told))
	for _, c := range calls {
		if seen[c.Sandbox+" "+c.Request] {
			t.Errorf("%s %s is there twice", c.Sandbox, c.Request)
		}
		seen[c.Sandbox+" "+c.Request] = true
		i, _ := strconv.Atoi(strings.TrimPrefix(c.Sandbox, "box-"))
		kept[i]++
	}
	sum := 0
	for i := range told {
		sum += told[i]
		if kept[i] != told[i] && kept[i] != told[i]+1 {
			t.Errorf("box-%d was told of %d, and %d are there", i, told[i], kept[i])
		}
	}
	t.Logf("%d records of 50 writers, %d half ones", len(calls), broken)
	if sum < 50 {
		t.Errorf("only %d records: this shows little", sum)
	}
}

func TestMoreYieldsWhatWasRecordedSince(t *testing.T) {
	l, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var p Position
	more := func() (names string) {
		t.Helper()
		if err := l.More(&p, func(c usage.Call) { names += c.Sandbox }); err != nil {
			t.Fatal(err)
		}
		return names
	}
	add := func(name string, at time.Time) {
		t.Helper()
		if err := l.Append(usage.Call{Time: at, Sandbox: name}); err != nil {
			t.Fatal(err)
		}
	}
	if got := more(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	add("a", day(1))
	add("b", day(40))
	if got := more() + "-" + more(); got != "ab-" {
		t.Errorf("%q", got)
	}
	// Half a line is read when it is whole, or passed over when another begins.
	f, err := os.OpenFile(l.file(day(1)), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time":"2026-11-01T00:00:00Z","sandbox":"half`); err != nil {
		t.Fatal(err)
	}
	if got := more(); got != "" {
		t.Errorf("of half a line: %q", got)
	}
	add("c", day(1))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := more() + "-" + more(); got != "c-" {
		t.Errorf("%q", got)
	}
}
