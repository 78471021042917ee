package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/supervise"
	"github.com/bailey-sandbox/bailey/internal/usage/report"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

// logPoll is how often a log that is followed is looked at.
const logPoll = 100 * time.Millisecond

type logsOptions struct {
	follow bool
	tail   int
}

func newLogs(a *app) *cobra.Command {
	o := &logsOptions{}
	cmd := &cobra.Command{
		Use:   "logs [flags] NAME",
		Short: "Show what a sandbox's agent has printed",
		Long: `Show what the agent has printed, also after it has ended or the sandbox was stopped. Control sequences
are left out, so a full-screen program is best seen with bailey attach. What it has cost so far is said behind it, on stderr.`,
		Example:           "  bailey logs --tail 50 claude-shop\n  bailey logs -f claude-shop",
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			sb, err := a.load(args[0])
			if err != nil {
				return err
			}
			if err := a.logs(cmd.Context(), sb, o); err != nil {
				return err
			}
			return a.noteUsed(sb.Name)
		},
	}
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on until the agent has ended")
	cmd.Flags().IntVarP(&o.tail, "tail", "n", -1, "show the last `LINES` only")
	return cmd
}

// noteUsed says what a sandbox has used so far, if anything.
func (a *app) noteUsed(name string) error {
	used, err := a.usedBy([]string{name})
	if c, ok := used[name]; ok {
		a.note("%s has used %s, %s tokens: bailey usage %[1]s", name, c.Cost, report.Count(c.Total()))
	}
	return err
}

func (a *app) logs(ctx context.Context, sb *state.Sandbox, o *logsOptions) error {
	path := filepath.Join(sb.Dir, supervise.SessionsDir, supervise.AgentLog)
	current, err := openLog(path)
	if err != nil {
		return err
	}
	defer func() { _ = current.Close() }()
	out := &vt.Plain{W: a.Out}
	previous, err := readLog(path + supervise.PreviousSuffix)
	if err != nil {
		return err
	}
	latest, err := io.ReadAll(current)
	if err != nil {
		return fmt.Errorf("cannot read the log: %w", err)
	}
	if _, err := out.Write(lastLines(append(previous, latest...), o.tail)); err != nil {
		return err
	}
	for o.follow {
		// Asked before the rest is read: what was printed before the end is in the log by then.
		live := agentLives(ctx, sb)
		if _, err := io.Copy(out, current); err != nil {
			return fmt.Errorf("cannot follow the log: %w", err)
		}
		next, err := openLog(path)
		if err != nil {
			return err
		}
		if sameFile(current, next) {
			_ = next.Close()
		} else { // it was full and has begun anew, or is there for the first time
			_ = current.Close()
			current = next
			continue
		}
		if !live {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logPoll):
		}
	}
	return nil
}

// openLog opens the log, or something empty where there is none yet.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(os.DevNull)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the log: %w", err)
	}
	return f, nil
}

// readLog reads a whole log, whose size its writer bounds.
func readLog(path string) ([]byte, error) {
	f, err := openLog(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func sameFile(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// agentLives reports whether more output may come.
func agentLives(ctx context.Context, sb *state.Sandbox) bool {
	c, err := api.Dial(ctx, sb.Dir)
	if err != nil {
		return false
	}
	v, err := c.Inspect(ctx)
	return err == nil && v.Agent != nil && v.Agent.Running
}

// lastLines is the last n lines of text, all of it when n is negative.
func lastLines(text []byte, n int) []byte {
	if n < 0 {
		return text
	}
	end := len(bytes.TrimSuffix(text, []byte("\n")))
	for i := end; n > 0; n-- {
		i = bytes.LastIndexByte(text[:i], '\n')
		if i < 0 {
			return text
		}
		end = i
	}
	return bytes.TrimPrefix(text[end:], []byte("\n"))
}
