// Package files measures file work in a sandbox's workspace and system against the same work on the host: git
// status on many files, unpacking and removing a tree, a Go build from nothing, npm ci from a warm cache.
// Both sides run the same scripts on trees of their own on the same disk, in interleaved rounds. Beside the time that
// passes stands the time that processors worked: other work on the machine hardly touches that one.
package files

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

// work is one piece of file work: a script that runs in a directory of its own. $SIDE is that directory.
type work struct{ name, prepare, script, needs string }

// Names of the two sides, and of the second figure of each.
const (
	native    = "native"
	inside    = "in bailey"
	processor = ", processor time"
)

// timed is the script, which then prints its milliseconds and those of the processors, which the kernel counts in
// hundredths of a second: the way into a sandbox is no file work.
func (w work) timed() string {
	return "began=$(date +%s%N); " + w.script + "; echo $((($(date +%s%N) - began) / 1000))e-3; read -r stat </proc/$$/stat; set -- ${stat##*)}; echo $(((${14} + ${15}) * 10))"
}

func works(module, modules string) []work {
	return []work{
		{"git status, 20,000 files", many + "git init -q . && git add -A && git -c user.name=b -c user.email=b@b commit -qm x",
			"git status --porcelain >/dev/null", "git"},
		{"untar and remove 20,000 files", many + "tar cf ../tree-$(basename $PWD).tar . && mv ../tree-$(basename $PWD).tar tree.tar",
			"mkdir out && tar xf tree.tar -C out && rm -rf out", "tar"},
		{"go build of bailey, empty cache", "cp -r " + module + " src && mkdir cache",
			"cd src && rm -rf ../cache && HOME=$SIDE GOCACHE=$SIDE/cache GOMODCACHE=" + modules +
				" GOFLAGS=-mod=mod GOPROXY=off CGO_ENABLED=0 go build -o ../out ./cmd/bailey", "go"},
		{"npm ci, warm cache", `echo '{"dependencies":{"express":"4","typescript":"5","eslint":"9"}}' > package.json && npm install --cache $SIDE/npm --no-audit --no-fund >/dev/null && rm -rf node_modules && npm ci --cache $SIDE/npm --no-audit --no-fund >/dev/null`,
			"rm -rf node_modules && npm ci --offline --cache $SIDE/npm --no-audit --no-fund >/dev/null", "npm"},
	}
}

// many makes the tree: a hundred directories of small files.
const many = `i=0; while [ $i -lt 100 ]; do mkdir d$i; j=0; while [ $j -lt 200 ]; do echo "file $i $j" > d$i/f$j; j=$((j+1)); done; i=$((i+1)); done; `

// Run measures program.
func Run(ctx context.Context, dir, program string, rounds int) (report compare.Report, err error) {
	module, modules := yard.First(ctx, "go", "list", "-m", "-f", "{{.Dir}}"), yard.First(ctx, "go", "env", "GOMODCACHE")
	y, err := yard.Open(ctx, dir, program, "--network", "none", "--volume", modules+":"+modules+":ro")
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, y.Remove(ctx, yard.Name)) }()
	report.Versions = []string{yard.First(ctx, y.Program, "version"), yard.First(ctx, "git", "version"), yard.First(ctx, "go", "version"), "npm " + yard.First(ctx, "npm", "--version")}
	for i, w := range works(module, modules) {
		pair, err := contestants(ctx, y, dir, fmt.Sprint("w", i), w)
		if err != nil {
			return report, err
		}
		results, err := compare.Run(ctx, pair, rounds)
		if err != nil {
			return report, err
		}
		report.Results = append(report.Results, results...)
		// 0.97 of native speed is 1/0.97 of native time.
		for _, figure := range []string{"", processor} {
			report.Verdicts = append(report.Verdicts, compare.Judge(results, []compare.Target{
				{Command: w.name + ", " + inside + figure, Peer: w.name + ", " + native + figure, Factor: 1 / 0.97}})...)
		}
	}
	return report, nil
}

// contestants prepares the same tree twice, outside of the workspace for the host and in it for the sandbox.
func contestants(ctx context.Context, y *yard.Yard, dir, name string, w work) ([]compare.Command, error) {
	host := compare.Command{Name: w.name, Figures: []string{native, native + processor}}
	sandboxed := compare.Command{Name: w.name, Figures: []string{inside, inside + processor}}
	if _, err := exec.LookPath(w.needs); err != nil {
		host.Missing, sandboxed.Missing = err.Error(), err.Error()
		return []compare.Command{host, sandboxed}, nil
	}
	for _, side := range []string{filepath.Join(dir, name), filepath.Join(y.Work, name)} {
		if err := os.Mkdir(side, 0o755); err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "sh", "-e", "-c", w.prepare)
		cmd.Dir, cmd.Env = side, append(os.Environ(), "SIDE="+side)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cannot prepare %s: %w: %s", w.name, err, strings.TrimSpace(string(out)))
		}
	}
	host.Dir, host.Env = filepath.Join(dir, name), append(os.Environ(), "SIDE="+filepath.Join(dir, name))
	host.Argv = []string{"sh", "-e", "-c", w.timed()}
	side := filepath.Join(y.Work, name)
	sandboxed.Argv = y.Command("", "exec", "-w", side, "-e", "SIDE="+side, yard.Name, "sh", "-e", "-c", w.timed()).Argv
	sandboxed.Env, sandboxed.Dir = y.Command("").Env, y.Work
	return []compare.Command{host, sandboxed}, nil
}
