package supervise

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// Main is the whole life of a spawned supervisor: self is the binary's path, args are what follows Verb, the log goes to stderr, and
// the outcome of the start to the status pipe. It returns the process's exit code, which nobody waits for.
func Main(self string, args []string, backends func(log *slog.Logger) []sandbox.Backend) int {
	log := slog.New(slog.NewTextHandler(&bounded{os.Stderr, maxLog}, nil))
	if len(args) != 2 {
		log.Error("a supervisor is started by other commands: see bailey start --help")
		return 125
	}
	pipe, loan := inherited(log)
	// The terminal's signals are not ours: we have left its session, but a shell may still send them. They
	// are caught and dropped, not ignored: an ignored signal stays ignored in every process inside.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := supervise(ctx, self, args[0], args[1], loan, log, backends, func() { tell(pipe, status{Ready: true}) })
	if err != nil {
		log.Error("ended", "error", err)
		tell(pipe, status{Error: api.NewError(err)}) // after ready the pipe is closed and this does nothing
		return 125
	}
	return 0
}

func supervise(ctx context.Context, self, name, agentVersion string, loan secret.Loan, log *slog.Logger, backends func(*slog.Logger) []sandbox.Backend, ready func()) error {
	dirs, err := state.Locate(os.Getenv, os.Geteuid())
	if err != nil {
		return err
	}
	store, err := state.Open(dirs)
	if err != nil {
		return err
	}
	user, err := config.Load(filepath.Join(dirs.Config, state.ConfigFile))
	if err != nil {
		return err
	}
	cfg := Config{Store: store, Backends: backends(log), Getenv: os.Getenv, Agents: user.Agents, Prices: user.Prices, Budget: user.Budget, AgentVersion: agentVersion, Loan: loan, Self: self, Log: log}
	return Run(ctx, cfg, name, ready)
}

// inherited takes the status pipe and the loan over and closes every other descriptor that was inherited: a file
// that somebody's shell had open must not live on here, let alone reach a sandbox.
func inherited(log *slog.Logger) (io.WriteCloser, secret.Loan) {
	closeInherited(loanFD)
	syscall.CloseOnExec(statusFD)
	syscall.CloseOnExec(loanFD)
	var loan secret.Loan
	if f := os.NewFile(loanFD, "loan"); isPipe(f) {
		if err := json.NewDecoder(f).Decode(&loan); err != nil {
			log.Warn("what was lent cannot be read") // the error may quote it
		}
		_ = f.Close()
	}
	f := os.NewFile(statusFD, "status")
	if !isPipe(f) {
		log.Warn("started without a status pipe")
		return nopCloser{io.Discard}, loan
	}
	return f, loan
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func tell(pipe io.WriteCloser, s status) {
	_ = json.NewEncoder(pipe).Encode(s)
	_ = pipe.Close()
}
