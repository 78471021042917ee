// Package compare runs commands side by side and says how they compare. Every round runs each command
// once, so that what else the machine does meets all of them alike; what counts are the ratios of one run.
// It knows no command of its own: the benchmarks bring them.
package compare

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Milliseconds is the unit of times.
const Milliseconds = "ms"

// Command is one contestant.
type Command struct {
	Name string
	Argv []string
	Env  []string // nil is our own
	Dir  string
	// Figures names what the command measures itself: it prints as many numbers, milliseconds, and each is a
	// result of its own. Without any the result is the time that the command takes.
	Figures []string
	// Missing says why the command cannot be run here; it is then listed, not run.
	Missing string
}

// Target is what one result is to achieve against another: Median(Command) ≤ Median(Peer)·Factor + Plus.
// Without a Peer, Plus is the limit.
type Target struct {
	Command, Peer string
	Factor, Plus  float64 // Plus in the results' unit
}

// Result is what was measured of one command.
type Result struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	P90     float64   `json:"p90"`
	Values  []float64 `json:"values"` // of each round
	Missing string    `json:"missing,omitempty"`
}

// Verdict is a target, judged.
type Verdict struct {
	Command string  `json:"command"`
	Peer    string  `json:"peer,omitempty"`
	Target  string  `json:"target"`
	Ratio   float64 `json:"ratio"` // of the medians; of the limit, where there is no peer
	Low     float64 `json:"low"`   // the tenth and the ninth tenth of the rounds' own ratios
	High    float64 `json:"high"`
	Excess  float64 `json:"excess"` // how far above its limit the median is, in Unit; below 0 it is met
	Unit    string  `json:"unit"`
	Missing string  `json:"missing,omitempty"` // why nothing can be said
}

// Met says whether the target is.
func (v Verdict) Met() bool { return v.Missing == "" && v.Excess <= 0 }

// Try runs the command once. One that fails is Missing, for the reason that it gave last.
func (c Command) Try(ctx context.Context) Command {
	if c.Missing != "" {
		return c
	}
	if _, err := c.measure(ctx); err != nil {
		lines := strings.Split(strings.TrimPrefix(err.Error(), c.Name+": "), "\n")
		c.Missing = lines[len(lines)-1]
	}
	return c
}

// Run runs every command that is there once to warm up and then the given number of rounds, every other one in
// the opposite order, so that nobody always comes first. A command that fails ends the benchmark: the time of a
// failure compares with nothing.
func Run(ctx context.Context, commands []Command, rounds int) ([]Result, error) {
	values := make([][][]float64, len(commands))
	for round := range rounds + 1 {
		for i, c := range commands {
			if round%2 == 1 {
				i = len(commands) - 1 - i
				c = commands[i]
			}
			if c.Missing != "" {
				continue
			}
			figures, err := c.measure(ctx)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				values[i] = append(values[i], figures)
			}
		}
	}
	var results []Result
	for i, c := range commands {
		results = append(results, c.results(values[i])...)
	}
	return results, nil
}

// measure runs the command without input and returns its figures, or the milliseconds that it took.
func (c Command) measure(ctx context.Context) ([]float64, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	var out, said bytes.Buffer // figures must not mix with warnings
	cmd.Stdout, cmd.Stderr = &out, &said
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", c.Name, err, bytes.TrimSpace(append(out.Bytes(), said.Bytes()...)))
	}
	if len(c.Figures) == 0 {
		return []float64{float64(took.Microseconds()) / 1000}, nil
	}
	return c.figures(out.String())
}

func (c Command) figures(printed string) ([]float64, error) {
	var figures []float64
	for _, word := range strings.Fields(printed) {
		f, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, fmt.Errorf("%s printed %q instead of numbers", c.Name, printed)
		}
		figures = append(figures, f)
	}
	if len(figures) != len(c.Figures) {
		return nil, fmt.Errorf("%s printed %d numbers instead of %d", c.Name, len(figures), len(c.Figures))
	}
	return figures, nil
}

// results are one for each figure, of all rounds.
func (c Command) results(rounds [][]float64) []Result {
	names := []string{c.Name}
	if len(c.Figures) > 0 {
		names = nil
		for _, f := range c.Figures {
			names = append(names, c.Name+", "+f)
		}
	}
	var results []Result
	for i, name := range names {
		var values []float64
		for _, figures := range rounds {
			values = append(values, figures[i])
		}
		r := Summarise(name, Milliseconds, values)
		r.Missing = c.Missing
		results = append(results, r)
	}
	return results
}

// Summarise makes a result of what each round measured.
func Summarise(name, unit string, values []float64) Result {
	r := Result{Name: name, Unit: unit, Values: values}
	if len(values) == 0 {
		return r
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	r.Median = sorted[half]
	if len(sorted)%2 == 0 {
		r.Median = (sorted[half-1] + sorted[half]) / 2
	}
	r.Min, r.P90 = sorted[0], tenth(sorted, 9)
	return r
}

// tenth is the value that n tenths of the sorted ones do not exceed.
func tenth(sorted []float64, n int) float64 { return sorted[max(0, (len(sorted)*n+9)/10-1)] }

// Judge compares results with targets.
func Judge(results []Result, targets []Target) []Verdict {
	var verdicts []Verdict
	for _, t := range targets {
		own := find(results, t.Command)
		peer := Result{Median: t.Plus}
		if t.Peer != "" {
			peer = find(results, t.Peer)
		}
		v := Verdict{Command: t.Command, Peer: t.Peer, Target: t.words(own.Unit), Unit: own.Unit, Missing: own.Missing}
		if v.Missing == "" {
			v.Missing = peer.Missing
		}
		if v.Missing == "" {
			v.Ratio = own.Median / peer.Median
			v.Low, v.High = spread(own, peer)
			v.Excess = own.Median - (peer.Median*t.Factor + t.Plus)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

// spread is how far the ratios of single rounds lie apart, without the outermost tenths.
func spread(own, peer Result) (low, high float64) {
	var ratios []float64
	for i, value := range own.Values {
		by := peer.Median
		if i < len(peer.Values) {
			by = peer.Values[i]
		}
		ratios = append(ratios, value/by)
	}
	slices.Sort(ratios)
	return tenth(ratios, 1), tenth(ratios, 9)
}

func (t Target) words(unit string) string {
	switch {
	case t.Peer == "":
		return fmt.Sprintf("at most %g %s", t.Plus, unit)
	case t.Plus != 0:
		return fmt.Sprintf("at most %g %s more", t.Plus, unit)
	case t.Factor >= 1:
		return fmt.Sprintf("at most %.3g ×", t.Factor)
	}
	return fmt.Sprintf("at most 1/%.3g", 1/t.Factor)
}

func find(results []Result, name string) Result {
	for _, r := range results {
		if r.Name == name {
			return r
		}
	}
	return Result{Name: name, Missing: "not measured"}
}
