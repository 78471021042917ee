package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// Verb is the first argument that makes the binary a supervisor; the sandbox's name and the agent's
// version follow.
const Verb = "supervise"

// statusFD is where a spawned supervisor finds its status pipe: the first descriptor after stderr.
const statusFD = 3

// loanFD is where it finds what it is lent: a secret.Loan as JSON.
const loanFD = 4

// status is the one line on the status pipe.
type status struct {
	Ready bool       `json:"ready"`
	Error *api.Error `json:"error,omitempty"`
}

// Spawn starts a supervisor for sb as a process of its own, out of reach of the caller's terminal, and
// returns when its socket answers. self is the binary's path. When ctx ends before that, the
// supervisor is told to end and Spawn returns after it has cleaned up.
func Spawn(ctx context.Context, self string, sb *state.Sandbox, agentVersion string, environ []string, loan secret.Loan) error {
	log, err := openLog(filepath.Join(sb.Dir, state.LogFile))
	if err != nil {
		return fmt.Errorf("cannot open the supervisor's log: %w", err)
	}
	defer log.Close()
	if err := failpoint.Hit("spawn.log"); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	defer r.Close()
	lent, err := lend(loan)
	if err != nil {
		_ = w.Close()
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	defer lent.Close()
	cmd := exec.Cmd{
		Path:        self,
		Args:        []string{"bailey", Verb, sb.Name, agentVersion},
		Env:         reduce(environ),
		Dir:         "/",
		Stdout:      log,
		Stderr:      log,
		ExtraFiles:  []*os.File{w, lent},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if err = failpoint.Hit("spawn.started"); err == nil {
		err = readStatus(r)
	}
	if err != nil {
		// It is ending, or it must, since nobody will know that it is there. It holds the lock no longer than this.
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = sandbox.WithHint(fmt.Errorf("the supervisor of %s ended before it was ready", sb.Name), "see "+log.Name())
		}
		return err
	}
	return cmd.Process.Release()
}

// lend writes a loan into a pipe, which is the only place where it ever lies: not the environment, not the arguments,
// no file. A loan that a pipe does not hold is refused.
func lend(loan secret.Loan) (*os.File, error) {
	const most = 60 << 10 // a pipe takes 64 KiB at once, pipe(7)
	data, err := json.Marshal(loan)
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("the secrets that variables hold are longer than %d bytes", most)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	return r, errors.Join(err, w.Close())
}

// maxLog is how many bytes of log one supervisor writes: what a sandbox does can make it write without end.
const maxLog = 4 << 20

// openLog continues the log at path, or begins it anew where earlier supervisors have written enough.
func openLog(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+PreviousSuffix); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
}

// bounded passes on what is written to it until that is enough.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left <= 0 {
		return len(p), nil
	}
	if b.left -= len(p); b.left <= 0 {
		p = append(slices.Clone(p), "the log is full: nothing more is kept\n"...)
	}
	_, err := b.w.Write(p)
	return len(p), err
}

// readStatus returns nil for ready, the supervisor's error, or io.ErrUnexpectedEOF when it died silently.
func readStatus(r io.Reader) error {
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadBytes('\n')
	var s status
	if err != nil || json.Unmarshal(line, &s) != nil || !s.Ready && s.Error == nil {
		return io.ErrUnexpectedEOF
	}
	if s.Error != nil {
		return s.Error.Err()
	}
	return nil
}

// reduce keeps of the caller's environment what a supervisor needs: where things are, who the user is, how
// text is written, and how to reach the user's systemd, which lends cgroups. Everything else, secrets
// above all, must not sit in a long-lived process's environment.
func reduce(environ []string) []string {
	keep := []string{"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "DBUS_SESSION_BUS_ADDRESS"}
	prefixes := []string{"LC_", "XDG_", "BAILEY_"}
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return !slices.Contains(keep, key) &&
			!slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
	})
}
