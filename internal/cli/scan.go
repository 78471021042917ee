package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/leaks"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/workspace"
)

const (
	// scanTime is how long looking through one project may take.
	scanTime = time.Minute
	// maxHistory bounds what is read of git's output, in bytes.
	maxHistory = 64 << 20
)

type scanOptions struct {
	json    bool
	commits int
	log     string
}

func newScan(a *app) *cobra.Command {
	o := &scanOptions{}
	cmd := &cobra.Command{
		Use:   "scan [flags] [PATH...]",
		Short: "List the secrets that lie in a project",
		Long: `List the secrets that lie in a project ("." by default) and in its recent git history, by the rules of
gitleaks, and whether an agent in a sandbox can read them. The secrets themselves are not printed. git runs
in a sandbox of its own, as a repository's settings can have it execute programs.

Each start does the same in the background, and tells how many can be read. Files called .env are hidden
inside; bailey secret project gives programs something that stands for what is in them. Rename others so, or
move them out of the project; what is in the history stays readable until it is rewritten.

The exit code is 1 when something can be read.`,
		Example: "  bailey scan\n  bailey scan --history 0 ~/src/shop\n  bailey scan --json | jq -r '.[].path'",
		Args:    takes(0, -1, "PATH"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.scan(cmd.Context(), args, o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.IntVar(&o.commits, "history", 100, "look into the last `N` commits of all branches")
	fs.StringVar(&o.log, "git-log", "", "look into `FILE` instead, which has what git log -p has printed; - is standard input")
	return cmd
}

// scanned is a finding, and what an agent can do with it.
type scanned struct {
	leaks.Finding
	Project string `json:"project"`
	Inside  string `json:"inside"` // "readable" or "hidden"
}

func (a *app) scan(ctx context.Context, paths []string, o *scanOptions) error {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	rules, err := leaks.Load()
	if err != nil {
		return err
	}
	all, readable := []scanned{}, false
	for _, path := range paths {
		found, err := a.scanProject(ctx, rules, path, o)
		if err != nil {
			return fmt.Errorf("cannot look through %s: %w", path, err)
		}
		all = append(all, found...)
	}
	var rows [][]string
	for _, f := range all {
		where := filepath.Join(f.Project, f.Path)
		switch {
		case f.Commit != "":
			where = fmt.Sprintf("%s of commit %s", where, f.Commit)
		case f.Line > 0:
			where = fmt.Sprintf("%s:%d", where, f.Line)
		}
		rows = append(rows, []string{where, f.What, f.Inside})
		readable = readable || f.Inside == "readable"
	}
	switch {
	case o.json:
		err = a.json(all)
	case len(all) == 0:
		a.note("no secrets were found")
	default:
		err = a.table([]string{"WHERE", "WHAT IT LOOKS LIKE", "INSIDE"}, rows)
	}
	if err == nil && readable {
		return &exitError{code: 1}
	}
	return err
}

// scanProject looks through one project's files and history.
func (a *app) scanProject(ctx context.Context, rules *leaks.Rules, path string, o *scanOptions) ([]scanned, error) {
	dir, err := realPath(path)
	if err != nil {
		return nil, err
	}
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	projections, err := a.secrets(store).Projections()
	if err != nil {
		return nil, err
	}
	plan, err := workspace.MakePlan(dir, workspace.Direct, workspace.Options{Hide: secret.Patterns(projections, dir)})
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, scanTime)
	defer cancel()
	files, partly, err := rules.Tree(limited, dir)
	if err != nil {
		return nil, err
	}
	if partly != "" {
		a.note("not all of %s was looked through: %s", dir, partly)
	}
	log, err := a.gitLog(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	var all []scanned
	for _, f := range files {
		s := scanned{f, dir, "readable"}
		if hides(plan.Mounts, filepath.Join(dir, f.Path)) {
			s.Inside = "hidden"
		}
		all = append(all, s)
	}
	for _, f := range rules.History(limited, log) {
		all = append(all, scanned{f, dir, "readable"})
	}
	return all, nil
}

// hides says whether path is hidden inside.
func hides(mounts []sandbox.Mount, path string) bool {
	for _, m := range mounts {
		if m.Kind == sandbox.MountHidden && below(path, m.Target) {
			return true
		}
	}
	return false
}

// gitLog is what git says of the last commits, in a sandbox without a network that is removed afterwards.
func (a *app) gitLog(ctx context.Context, dir string, o *scanOptions) ([]byte, error) {
	switch _, err := os.Lstat(filepath.Join(dir, ".git")); {
	case o.log == "-":
		return io.ReadAll(io.LimitReader(a.In, maxHistory))
	case o.log != "":
		return os.ReadFile(o.log)
	case o.commits == 0 || err != nil:
		return nil, nil
	}
	args := append([]string{"run", "--rm", "--quiet", "--network", "none", "--credentials", "none", "shell", dir + ":ro", "--", "-c", `exec "$@"`, "git"}, leaks.LogArgs(dir, o.commits)...)
	cmd := a.again(ctx, args...)
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &capped{&out, maxHistory}, &told
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 128 { // git's own: there is no commit yet, or no repository
			return nil, nil
		}
		return nil, sandbox.WithHint(fmt.Errorf("git in a sandbox: %w: %s", err, strings.TrimSpace(told.String())), "leave the history out: bailey scan --history 0")
	}
	return out.Bytes(), nil
}

// capped drops what is beyond most bytes.
type capped struct {
	*bytes.Buffer
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.most - c.Len(); room > 0 {
		_, _ = c.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
