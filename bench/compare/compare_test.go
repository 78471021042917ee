package compare

import (
	"os"
	"strings"
	"testing"
)

func TestSummariseTakesTheMiddle(t *testing.T) {
	for _, c := range []struct {
		name             string
		ms               []float64
		median, min, p90 float64
	}{
		{"of one", []float64{7}, 7, 7, 7},
		{"of an odd number", []float64{9, 1, 5}, 5, 1, 9},
		{"of an even number, between the two in the middle", []float64{4, 1, 2, 9}, 3, 1, 9},
		{"of ten, the ninth being nine tenths", []float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 5.5, 1, 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Summarise("", Milliseconds, c.ms)
			if r.Median != c.median || r.Min != c.min || r.P90 != c.p90 {
				t.Errorf("got median %v, min %v, p90 %v", r.Median, r.Min, r.P90)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	measured := func(name string, values ...float64) Result { return Summarise(name, Milliseconds, values) }
	results := []Result{measured("ours", 40, 60), measured("peer", 12, 12), measured("slow", 200, 400), {Name: "gone", Missing: "not installed"}}
	for _, c := range []struct {
		name         string
		target       Target
		met          bool
		missing, out string
	}{
		{"a sum is met", Target{"ours", "peer", 1, 40}, true, "", "ours peer 4.17 3.33–5.00 at most 40 ms more: met"},
		{"a sum is missed", Target{"ours", "peer", 1, 30}, false, "", "missed by 8.000 ms"},
		{"a fraction is met at the limit", Target{"ours", "slow", 1. / 6, 0}, true, "", "0.17 0.15–0.20 at most 1/6: met"},
		{"a fraction is missed", Target{"ours", "slow", 1. / 10, 0}, false, "", "missed by 20.0 ms"},
		{"a limit is met", Target{"ours", "", 0, 50}, true, "", "ours 1.00 0.80–1.20 at most 50 ms: met"},
		{"a limit is missed", Target{"slow", "", 0, 50}, false, "", "missed by 250.0 ms"},
		{"a peer that is not here decides nothing", Target{"ours", "gone", 1, 0}, false, "not installed", "not here: not installed"},
		{"a peer that nobody measured decides nothing", Target{"ours", "typo", 1, 0}, false, "not measured", "not here: not measured"},
	} {
		t.Run(c.name, func(t *testing.T) {
			verdicts := Judge(results, []Target{c.target})
			if v := verdicts[0]; v.Met() != c.met || v.Missing != c.missing {
				t.Errorf("got %+v", v)
			}
			var b strings.Builder
			if err := (Report{Results: results, Verdicts: verdicts}).Table(&b); err != nil {
				t.Fatal(err)
			}
			if table := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(table, c.out) {
				t.Errorf("%q is not in %s", c.out, table)
			}
		})
	}
}

func TestRunInterleavesAndLeavesOutWhatIsMissing(t *testing.T) {
	log := t.TempDir() + "/log"
	note := func(word string) Command {
		return Command{Name: word, Argv: []string{"/bin/sh", "-c", "printf " + word + " >>" + log}}
	}
	results, err := Run(t.Context(), []Command{note("a"), {Name: "x", Missing: "why"}, note("b")}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, log); got != "abbaab" {
		t.Errorf("ran in the order %q, the first round being the warm-up", got)
	}
	if len(results[0].Values) != 2 || results[0].Min <= 0 || results[1].Missing != "why" || len(results[1].Values) != 0 {
		t.Errorf("got %+v", results)
	}
}

func TestACommandThatMeasuresItself(t *testing.T) {
	own := Command{Name: "own", Argv: []string{"/bin/sh", "-c", "echo 1.5; echo 20"}, Figures: []string{"a", "b"}}
	results, err := Run(t.Context(), []Command{own}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].Name != "own, a" || results[0].Median != 1.5 || results[1].Name != "own, b" || results[1].Median != 20 {
		t.Errorf("got %+v", results)
	}
	for _, figures := range [][]string{{"a"}, {"a", "b", "c"}} {
		own.Figures = figures
		if _, err := Run(t.Context(), []Command{own}, 1); err == nil {
			t.Errorf("two numbers were taken for %d figures", len(figures))
		}
	}
	own.Argv = []string{"/bin/sh", "-c", "echo 1.5 oops"}
	if _, err := Run(t.Context(), []Command{own}, 1); err == nil {
		t.Error("a word was taken for a number")
	}
}

func TestAFailingCommandEndsTheBenchmark(t *testing.T) {
	_, err := Run(t.Context(), []Command{{Name: "broken", Argv: []string{"/bin/sh", "-c", "echo why; exit 3"}}}, 1)
	if err == nil || err.Error() != "broken: exit status 3: why" {
		t.Errorf("got %v", err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
