// Package soak makes connections from one sandbox at a steady rate for minutes, half of them carried and half of them
// inspected, and compares what its supervisor holds before and a minute after: goroutines, descriptors, memory. What
// drifts there leaks.
package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/memory"
	"github.com/bailey-sandbox/bailey/bench/network"
	"github.com/bailey-sandbox/bailey/bench/yard"
	"github.com/bailey-sandbox/bailey/internal/audit"
)

const (
	rate = 500 // connections a second
	// settle is how long the supervisor has to let go of everything.
	settle = time.Minute
	// warmUp is how long it works before it is weighed first: what it keeps for good it has then.
	warmUp = 10 * time.Second
)

// Run measures program for the given number of minutes.
func Run(ctx context.Context, dir, program string, minutes int) (report compare.Report, err error) {
	lab, err := network.OpenLab(ctx, dir)
	if err != nil {
		return report, err
	}
	defer lab.Close()
	y, inside, err := lab.Sandbox(ctx, dir, program)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, y.Remove(ctx, yard.Name)) }()
	soak := func(length time.Duration) (int, error) {
		return connect(ctx, y.Command("", "exec", yard.Name, inside, "soak", fmt.Sprint(length.Seconds()), fmt.Sprint(rate), lab.Echo, lab.Web))
	}
	if _, err := soak(warmUp); err != nil {
		return report, err
	}
	before, err := hold(ctx, y)
	if err != nil {
		return report, err
	}
	length := time.Duration(minutes) * time.Minute
	made, err := soak(length)
	if err != nil {
		return report, errors.Join(err, recorded(ctx, y))
	}
	after, err := hold(ctx, y)
	if err != nil {
		return report, err
	}
	report.Versions = []string{yard.First(ctx, program, "version")}
	report.Results = []compare.Result{compare.Summarise("connections", "1/s", []float64{float64(made) / length.Seconds()})}
	for i, h := range before {
		results := []compare.Result{compare.Summarise(h.what+" before", h.unit, []float64{h.n}), compare.Summarise(h.what+" after", h.unit, []float64{after[i].n})}
		report.Results = append(report.Results, results...)
		report.Verdicts = append(report.Verdicts, compare.Judge(results, []compare.Target{{Command: results[1].Name, Peer: results[0].Name, Factor: 1.05}})...)
	}
	return report, nil
}

// connect runs the probe and returns how many connections it made, of which none failed.
func connect(ctx context.Context, soak compare.Command) (int, error) {
	cmd := exec.CommandContext(ctx, soak.Argv[0], soak.Argv[1:]...)
	cmd.Env, cmd.Dir = soak.Env, soak.Dir
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return 0, fmt.Errorf("a connection failed: %s", strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// recorded is an error that says what the sandbox's record knows of connections that failed.
func recorded(ctx context.Context, y *yard.Yard) error {
	const most = 20
	log := y.Command("", "policy", "log", "--json", yard.Name)
	cmd := exec.CommandContext(ctx, log.Argv[0], log.Argv[1:]...)
	cmd.Env, cmd.Dir = log.Env, log.Dir
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("bailey policy log: %w", err)
	}
	var failed []string
	for line := range strings.Lines(string(out)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return err
		}
		if (e.Error != "" || e.Verdict != "allow") && len(failed) < most {
			failed = append(failed, strings.TrimSpace(line))
		}
	}
	return fmt.Errorf("the record's first lines about failures:\n%s", strings.Join(failed, "\n"))
}

// holding is how much of something the supervisor holds.
type holding struct {
	what, unit string
	n          float64
}

// hold waits until the supervisor has settled and returns what it holds.
func hold(ctx context.Context, y *yard.Yard) ([]holding, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settle):
	}
	inspect := y.Command("", "inspect", yard.Name)
	cmd := exec.CommandContext(ctx, inspect.Argv[0], inspect.Argv[1:]...)
	cmd.Env, cmd.Dir = inspect.Env, inspect.Dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("bailey inspect: %w", err)
	}
	var listed []struct {
		Running struct{ PID, Goroutines int }
	}
	if err := json.Unmarshal(out, &listed); err != nil || len(listed) != 1 {
		return nil, errors.Join(err, fmt.Errorf("inspect shows %d sandboxes", len(listed)))
	}
	running := listed[0].Running
	descriptors, err := os.ReadDir("/proc/" + strconv.Itoa(running.PID) + "/fd")
	if err != nil {
		return nil, err
	}
	size, err := memory.Size(running.PID)
	if err != nil {
		return nil, err
	}
	return []holding{{"goroutines", "", float64(running.Goroutines)}, {"descriptors", "", float64(len(descriptors))}, {"memory", memory.Mebibytes, size}}, nil
}
