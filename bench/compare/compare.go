// Package compare runs commands side by side and says how they compare. Every round runs each command
// once, so that what else the machine does meets all of them alike; what counts are the ratios of one run.
// It knows no command of its own: the benchmarks, package main below bench, bring them.
package compare

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"time"
)

// Command is one contestant.
type Command struct {
	Name string
	Argv []string
	Env  []string // nil is our own
	Dir  string
	// Missing says why the command cannot be run here; it is then listed, not run.
	Missing string
}

// Target is what one command is to achieve against another: Median(Command) ≤ Median(Peer)·Factor + Plus.
type Target struct {
	Command, Peer string
	Factor        float64
	Plus          time.Duration
}

// Result is what one command took, in milliseconds.
type Result struct {
	Name    string  `json:"name"`
	Rounds  int     `json:"rounds"`
	Median  float64 `json:"median_ms"`
	Min     float64 `json:"min_ms"`
	P90     float64 `json:"p90_ms"`
	Missing string  `json:"missing,omitempty"`
}

// Verdict is a target, judged.
type Verdict struct {
	Command string  `json:"command"`
	Peer    string  `json:"peer"`
	Target  string  `json:"target"`
	Ratio   float64 `json:"ratio"` // of the medians
	Limit   float64 `json:"limit_ms"`
	Met     bool    `json:"met"`
	Missing string  `json:"missing,omitempty"` // why nothing can be said
}

// Run runs every command that is there once to warm up and then the given number of rounds. A command
// that fails ends the benchmark: the time of a failure compares with nothing.
func Run(ctx context.Context, commands []Command, rounds int) ([]Result, error) {
	times := make([][]float64, len(commands))
	for round := range rounds + 1 {
		for i, c := range commands {
			if c.Missing != "" {
				continue
			}
			took, err := c.time(ctx)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				times[i] = append(times[i], float64(took.Microseconds())/1000)
			}
		}
	}
	results := make([]Result, len(commands))
	for i, c := range commands {
		results[i] = summarise(c, times[i])
	}
	return results, nil
}

// time runs the command without input; what it prints is kept for the error only.
func (c Command) time(ctx context.Context) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", c.Name, err, bytes.TrimSpace(out.Bytes()))
	}
	return time.Since(start), nil
}

func summarise(c Command, ms []float64) Result {
	r := Result{Name: c.Name, Rounds: len(ms), Missing: c.Missing}
	if len(ms) == 0 {
		return r
	}
	slices.Sort(ms)
	half := len(ms) / 2
	r.Median = ms[half]
	if len(ms)%2 == 0 {
		r.Median = (ms[half-1] + ms[half]) / 2
	}
	r.Min, r.P90 = ms[0], ms[(len(ms)*9+9)/10-1]
	return r
}

// Judge compares results with targets.
func Judge(results []Result, targets []Target) []Verdict {
	var verdicts []Verdict
	for _, t := range targets {
		own, peer := find(results, t.Command), find(results, t.Peer)
		v := Verdict{Command: t.Command, Peer: t.Peer, Target: t.words(), Missing: own.Missing}
		if v.Missing == "" {
			v.Missing = peer.Missing
		}
		if v.Missing == "" {
			v.Ratio = own.Median / peer.Median
			v.Limit = peer.Median*t.Factor + float64(t.Plus.Microseconds())/1000
			v.Met = own.Median <= v.Limit
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

func (t Target) words() string {
	if t.Plus != 0 {
		return fmt.Sprintf("at most %s more", t.Plus)
	}
	if t.Factor >= 1 {
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
	return Result{Missing: "not measured"}
}
