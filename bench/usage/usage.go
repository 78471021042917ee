// Package usage measures how long it takes to read and price a history that Claude Code has written, against ccusage,
// which the sums must agree with to the token and to the cent. BENCH_USAGE_MIB says how large the history is.
package usage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

const (
	cold = "history on the disk"
	warm = "history in memory"
)

// Run measures bailey's packages; the program itself is not needed.
func Run(ctx context.Context, dir, _ string, rounds int) (report compare.Report, err error) {
	size := int64(256)
	if text := os.Getenv("BENCH_USAGE_MIB"); text != "" {
		if size, err = strconv.ParseInt(text, 10, 32); err != nil || size < 1 {
			return report, fmt.Errorf("BENCH_USAGE_MIB is %q", text)
		}
	}
	tally := filepath.Join(dir, "tally")
	if err := yard.Build(ctx, tally, "bench/usage/tally"); err != nil {
		return report, err
	}
	config := filepath.Join(dir, "claude")
	projects := filepath.Join(config, "projects")
	if err := generate(projects, size<<20); err != nil {
		return report, err
	}
	own, peer := contestant{"bailey", []string{tally, projects}, nil, ""}, ccusage(config)
	agreed, err := agree(ctx, own, peer)
	if err != nil {
		return report, err
	}
	report.Versions = []string{yard.First(ctx, "ccusage", "--version"), agreed}
	name := func(c contestant) string { return fmt.Sprintf("%s, %d MiB", c.name, size) }
	var commands []compare.Command
	for _, c := range []contestant{own, peer} {
		commands = append(commands, compare.Command{Name: name(c), Argv: append([]string{tally, "time", projects}, c.argv...), Env: c.env,
			Figures: []string{cold, warm}, Missing: c.missing})
	}
	if report.Results, err = compare.Run(ctx, commands, rounds); err != nil {
		return report, err
	}
	for _, figure := range []string{cold, warm} {
		target := compare.Target{Command: name(own) + ", " + figure, Peer: name(peer) + ", " + figure, Factor: 1}
		report.Verdicts = append(report.Verdicts, compare.Judge(report.Results, []compare.Target{target})...)
	}
	return report, nil
}
