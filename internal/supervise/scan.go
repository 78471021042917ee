package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/leaks"
	"github.com/bailey-sandbox/bailey/internal/state"
)

const (
	// scanDelay keeps the search for secrets out of the way of the agent's start.
	scanDelay = time.Second
	// scanCommits is how far the search goes back.
	scanCommits = 100
	// maxHistory bounds what is read of git's output, in bytes.
	maxHistory = 16 << 20
	// shownFor is how long an attached terminal shows what was found.
	shownFor = 20 * time.Second
)

// scan looks for secrets in the workspaces and tells how many of them can be read inside. It is another process, of low
// priority, which takes its memory with it: what it reads may be large, and is the agent's.
func (s *supervisor) scan(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(scanDelay):
	}
	if s.cfg.Self == "" {
		return
	}
	for _, ws := range s.sb.Workspaces {
		text, err := s.scanWorkspace(ctx, ws)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Warn("cannot look for secrets", "workspace", ws.Path, "error", err)
		case text != "":
			s.notice(text)
			s.alert(&s.alerts.found, text)
			time.AfterFunc(shownFor, func() { s.alert(&s.alerts.found, "") })
		}
	}
}

// scanWorkspace returns a sentence, or "" where nothing can be read.
func (s *supervisor) scanWorkspace(ctx context.Context, ws state.Workspace) (string, error) {
	cmd := exec.CommandContext(ctx, s.cfg.Self, "scan", "--json", "--git-log", "-", ws.Path)
	cmd.Args[0] = "bailey"
	cmd.Stdin = bytes.NewReader(s.gitLog(ctx, ws.Path))
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 19) // without it, it is only less polite
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		return "", err
	}
	var found []struct {
		leaks.Finding
		Inside string
	}
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		return "", err
	}
	files, commits := map[string]bool{}, map[string]bool{}
	for _, f := range found {
		if f.Inside != "readable" {
			continue
		}
		if f.Commit != "" {
			commits[f.Commit] = true
		} else {
			files[f.Path] = true
		}
	}
	var parts []string
	if n := len(files); n > 0 {
		parts = append(parts, fmt.Sprintf("in %s of its files", count(n)))
	}
	if n := len(commits); n > 0 {
		parts = append(parts, fmt.Sprintf("in %s of its commits", count(n)))
	}
	if len(parts) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s has what looks like secrets, readable inside, %s: bailey scan", filepath.Base(ws.Path), strings.Join(parts, " and ")), nil
}

func count(n int) string {
	if n == 1 {
		return "one"
	}
	return fmt.Sprint(n)
}

// gitLog has git tell of the last commits, inside, where a repository's settings harm nobody. It is empty where there is
// no repository or no git.
func (s *supervisor) gitLog(ctx context.Context, dir string) []byte {
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err != nil {
		return nil
	}
	s.followMu.Lock()
	client, err := s.guest(ctx)
	s.followMu.Unlock()
	if err != nil {
		return nil
	}
	p, err := client.Run(ctx, guestproto.Command{Argv: leaks.LogArgs(dir, scanCommits)})
	if err != nil {
		return nil
	}
	defer p.Close()
	defer context.AfterFunc(ctx, func() { _ = p.Close() })()
	go func() { _, _ = io.Copy(io.Discard, p.Stderr) }()
	log, _ := io.ReadAll(io.LimitReader(p.Stdout, maxHistory))
	return log
}
