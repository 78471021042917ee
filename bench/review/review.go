// Package review measures working under review on a large project: how long a start takes that must not grow with the
// project's size, and a diff that must grow with what changed only, against git's own and against copying the project,
// which is what tools do that have no layer.
package review

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/compare"
	"github.com/bailey-sandbox/bailey/bench/yard"
)

const (
	// project is 100,000 small files and one of 5 GiB that has no blocks, in a repository.
	project = `i=0; while [ $i -lt 500 ]; do mkdir -p d$i; seq 1 200 | sed "s,.*,d$i/f&," | xargs touch; i=$((i+1)); done
find . -name 'f*' -exec sh -c 'for f; do echo "$f $f $f" > "$f"; done' sh {} +
truncate -s 5G huge.bin; echo huge.bin > .gitignore; git init -q . && git add -A && git -c user.name=b -c user.email=b@b commit -qm x`
	// change is what an agent does to ten of them.
	change = `for i in 1 2 3 4 5 6 7 8; do echo changed >> d$i/f1; done; rm d9/f9; echo new > new`
)

// Run measures program.
func Run(ctx context.Context, dir, program string, rounds int) (report compare.Report, err error) {
	y, err := yard.New(dir, program)
	if err != nil {
		return report, err
	}
	report.Versions = []string{yard.First(ctx, program, "version"), yard.First(ctx, "git", "version")}
	small, host := filepath.Join(dir, "small"), filepath.Join(dir, "host")
	for place, script := range map[string]string{y.Work: project, small: "echo x > file", host: project + "; " + change} {
		if err := os.MkdirAll(place, 0o755); err != nil {
			return report, err
		}
		cmd := exec.CommandContext(ctx, "sh", "-e", "-c", script)
		cmd.Dir = place
		if out, err := cmd.CombinedOutput(); err != nil {
			return report, fmt.Errorf("cannot prepare %s: %w: %s", place, err, strings.TrimSpace(string(out)))
		}
	}
	if err := y.Start(ctx, "--review", "--network", "none", "--credentials", "none"); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, y.Remove(ctx, yard.Name)) }()
	if err := y.Run(ctx, "exec", yard.Name, "sh", "-e", "-c", "cd "+y.Work+"; "+change); err != nil {
		return report, err
	}
	const (
		startSmall, startLarge = "run --review, 1 file", "run --review, 100,000 files and 5 GiB"
		diff, gitDiff          = "bailey diff, 10 of 100,000 files", "git diff --stat of the same"
		direct, copying        = "run, the same project, without review", "cp -a of 100,000 files (without the 5 GiB)"
	)
	run := func(name, place string, flags ...string) compare.Command {
		args := append(append([]string{"run", "--rm", "--network", "none", "--credentials", "none"}, flags...), "shell", place, "--", "-c", "true")
		return y.Command(name, args...)
	}
	commands := []compare.Command{
		run(startSmall, small, "--review"), run(startLarge, y.Work, "--review"), run(direct, y.Work),
		y.Command(diff, "diff", "--stat", yard.Name),
		{Name: gitDiff, Argv: []string{"git", "-C", host, "diff", "--stat"}},
		{Name: copying, Argv: []string{"sh", "-c", "rm -rf copy; mkdir copy; cp -a host/d* copy"}, Dir: dir},
	}
	if report.Results, err = compare.Run(ctx, commands, rounds); err != nil {
		return report, err
	}
	report.Verdicts = compare.Judge(report.Results, []compare.Target{
		{Command: startLarge, Peer: startSmall, Factor: 1, Plus: 250}, // looking for what is to be hidden ends after 200 ms
		{Command: diff, Peer: gitDiff, Factor: 1},
		{Command: startLarge, Peer: copying, Factor: 0.2},
	})
	return report, nil
}
