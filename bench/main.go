// Command bench measures bailey against its peers, in interleaved rounds on this machine, and prints one table
// of what was measured and of the targets. A peer that is not here is listed with the reason; nothing is
// installed, and nothing stays.
//
//	go run ./bench [-n ROUNDS] [-json] [-bailey PROGRAM] [start files review network requests memory usage | soak]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/files"
	"github.com/bailey-sandbox/bailey/bench/memory"
	"github.com/bailey-sandbox/bailey/bench/network"
	"github.com/bailey-sandbox/bailey/bench/requests"
	"github.com/bailey-sandbox/bailey/bench/review"
	"github.com/bailey-sandbox/bailey/bench/soak"
	"github.com/bailey-sandbox/bailey/bench/start"
	"github.com/bailey-sandbox/bailey/bench/usage"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// benchmark measures program in the given number of rounds. dir is an empty directory of its own.
type benchmark struct {
	name   string
	rounds int
	named  bool // only run when it is named
	run    func(ctx context.Context, dir, program string, rounds int) (compare.Report, error)
}

func benchmarks() []benchmark {
	return []benchmark{
		{name: "start", rounds: 20, run: start.Run},
		{name: "files", rounds: 5, run: files.Run},
		{name: "review", rounds: 5, run: review.Run},
		{name: "network", rounds: 9, run: network.Run},
		{name: "requests", rounds: 9, run: requests.Run},
		{name: "memory", rounds: 20, run: memory.Run},
		{name: "usage", rounds: 5, run: usage.Run},
		{name: "soak", rounds: 10, run: soak.Run, named: true}, // minutes
	}
}

// in runs the benchmark in a directory below dir.
func (b benchmark) in(ctx context.Context, dir, program string, rounds int) (compare.Report, error) {
	if rounds == 0 {
		rounds = b.rounds
	}
	own := filepath.Join(dir, b.name)
	if err := os.Mkdir(own, 0o755); err != nil {
		return compare.Report{}, err
	}
	return b.run(ctx, own, program, rounds)
}

func run(ctx context.Context) (err error) {
	rounds := flag.Int("n", 0, "`ROUNDS` that are measured, after one to warm up (default: each benchmark's own)")
	asJSON := flag.Bool("json", false, "print JSON")
	program := flag.String("bailey", "", "the `PROGRAM` to measure; built from this module when empty")
	flag.Parse()
	chosen, err := choose(flag.Args())
	if err != nil {
		return err
	}
	// Not below /tmp, which is a tmpfs on many machines: projects lie on disks.
	dir, err := os.MkdirTemp("/var/tmp", "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if *program == "" {
		*program = filepath.Join(dir, "bailey")
		if err := yard.Build(ctx, *program, "cmd/bailey"); err != nil {
			return err
		}
	}
	report := compare.Report{Machine: compare.Machine()}
	for _, b := range chosen {
		found, err := b.in(ctx, dir, *program, *rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		report.Add(found)
	}
	report.Machine = append(report.Machine, "load afterwards "+compare.Load())
	if *asJSON {
		return report.JSON(os.Stdout)
	}
	return report.Table(os.Stdout)
}

// choose returns the benchmarks of those names, or all but the long ones.
func choose(names []string) ([]benchmark, error) {
	all := benchmarks()
	if len(names) == 0 {
		return slices.DeleteFunc(all, func(b benchmark) bool { return b.named }), nil
	}
	var chosen []benchmark
	for _, name := range names {
		i := slices.IndexFunc(all, func(b benchmark) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no benchmark %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
