// Package memory measures what idle sandboxes cost: the proportional set size of supervisor and guest, for one
// sandbox and for each of a hundred, how long it takes to start those, and how long ls takes with them.
package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

// many is how many sandboxes stand for many.
const many = 100

// Names of the results, which targets refer to.
const (
	one      = "one idle sandbox"
	each     = "one of 100 idle sandboxes"
	starting = "create and start one of 100"
	list     = "bailey ls with 100"
)

// Mebibytes is the unit of sizes.
const Mebibytes = "MiB"

func targets() []compare.Target {
	return []compare.Target{{Command: one, Plus: 20}, {Command: each, Plus: 20}}
}

// settle is what the supervisor takes to give back what its start took.
const settle = 3 * time.Second

// Run measures program; rounds are those of ls.
func Run(ctx context.Context, dir, program string, rounds int) (report compare.Report, err error) {
	y, err := yard.New(dir, program)
	if err != nil {
		return report, err
	}
	var names []string
	defer func() { err = errors.Join(err, y.Remove(ctx, names...)) }()
	var took []float64
	start := func() error {
		names = append(names, fmt.Sprint(yard.Name, len(names)+1))
		name := names[len(names)-1]
		began := time.Now()
		err := errors.Join(y.Run(ctx, "create", "--name", name, "shell", "."), y.Run(ctx, "start", name))
		took = append(took, float64(time.Since(began).Microseconds())/1000)
		return err
	}
	if err := start(); err != nil {
		return report, err
	}
	alone, err := idle(ctx, y)
	if err != nil {
		return report, err
	}
	for len(names) < many {
		if err := start(); err != nil {
			return report, fmt.Errorf("%d sandboxes run: %w", len(names)-1, err)
		}
	}
	crowd, err := idle(ctx, y)
	if err != nil {
		return report, err
	}
	listing, err := compare.Run(ctx, []compare.Command{y.Command(list, "ls")}, rounds)
	if err != nil {
		return report, err
	}
	report.Versions = []string{yard.First(ctx, y.Program, "version")}
	report.Results = append([]compare.Result{
		compare.Summarise(one, Mebibytes, alone),
		compare.Summarise(each, Mebibytes, crowd),
		compare.Summarise(starting, compare.Milliseconds, took),
	}, listing...)
	report.Verdicts = compare.Judge(report.Results, targets())
	return report, nil
}

// idle returns the size of every sandbox that runs in y, once they have settled.
func idle(ctx context.Context, y *yard.Yard) ([]float64, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settle):
	}
	pids, err := Supervisors(ctx, y)
	if err != nil {
		return nil, err
	}
	var sizes []float64
	for _, pid := range pids {
		size, err := family(pid)
		if err != nil {
			return nil, fmt.Errorf("cannot read the size of process %d: %w", pid, err)
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}

// Supervisors are the process numbers that ls tells.
func Supervisors(ctx context.Context, y *yard.Yard) ([]int, error) {
	ls := y.Command("", "ls", "--json")
	cmd := exec.CommandContext(ctx, ls.Argv[0], ls.Argv[1:]...)
	cmd.Env, cmd.Dir = ls.Env, ls.Dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("bailey ls: %w", err)
	}
	var listed []struct{ Running struct{ PID int } }
	if err := json.Unmarshal(out, &listed); err != nil {
		return nil, err
	}
	var pids []int
	for _, l := range listed {
		pids = append(pids, l.Running.PID)
	}
	return pids, nil
}
