package supervise

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/backend/fake"
	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// yard is a supervised sandbox of the agent "shell".
type yard struct {
	t     *testing.T
	store *state.Store
	sb    *state.Sandbox
	cfg   Config
	api   *api.Client
	end   context.CancelFunc
	done  chan error
}

func newYard(t *testing.T, change func(*state.Record)) *yard {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	ws := filepath.Join(home, "src")
	if err := os.MkdirAll(ws, 0o700); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HOME": home, "PATH": os.Getenv("PATH"), "LOGNAME": "ann"}
	getenv := func(key string) string { return env[key] }
	dirs, err := state.Locate(getenv, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(dirs)
	if err != nil {
		t.Fatal(err)
	}
	r := state.Record{Name: "yard", Agent: "shell", Network: "deny", Workspaces: []state.Workspace{{Path: ws}}}
	if change != nil {
		change(&r)
	}
	sb, err := store.Create(r)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	return &yard{t: t, store: store, sb: sb, cfg: Config{Store: store, Backends: []sandbox.Backend{fake.New(log)}, Getenv: getenv, Log: log}}
}

// run starts the supervisor and returns when it is ready.
func (y *yard) run() {
	y.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	y.end = cancel
	y.done = make(chan error, 1)
	ready := make(chan struct{})
	go func() { y.done <- Run(ctx, y.cfg, y.sb.Name, func() { close(ready) }) }()
	y.t.Cleanup(func() {
		cancel()
		<-y.done
		goleak.VerifyNone(y.t)
	})
	select {
	case <-ready:
	case err := <-y.done:
		y.done <- nil
		y.t.Fatalf("the supervisor ended before it was ready: %v", err)
	}
	c, err := api.Dial(y.t.Context(), y.sb.Dir)
	if err != nil {
		y.t.Fatal(err)
	}
	y.api = c
}

// ended waits for the supervisor's end.
func (y *yard) ended() {
	y.t.Helper()
	select {
	case err := <-y.done:
		if err != nil {
			y.t.Errorf("the supervisor ended with %v", err)
		}
		y.done <- nil // for the cleanup
	case <-time.After(20 * time.Second):
		y.t.Fatal("the supervisor does not end")
	}
}

func (y *yard) dial() *guestproto.Client {
	y.t.Helper()
	conn, err := y.api.Stream(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	g, err := guestproto.Dial(y.t.Context(), conn)
	if err != nil {
		y.t.Fatal(err)
	}
	return g
}

// agent starts a script as the agent's session and tells the supervisor.
func (y *yard) agent(g *guestproto.Client, script string, timeout time.Duration) *guestproto.Process {
	y.t.Helper()
	p, err := g.Run(y.t.Context(), guestproto.Command{Argv: []string{"/bin/sh", "-c", script}, Session: api.Agent})
	if err != nil {
		y.t.Fatal(err)
	}
	if err := y.api.Follow(y.t.Context(), api.Follow{Timeout: timeout}); err != nil {
		y.t.Fatal(err)
	}
	return p
}

// agentEnd waits until the supervisor knows that the agent has ended.
func (y *yard) agentEnd() api.AgentRun {
	y.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		v, err := y.api.Inspect(y.t.Context())
		if err != nil {
			y.t.Fatal(err)
		}
		if v.Agent != nil && !v.Agent.Running {
			return *v.Agent
		}
	}
	y.t.Fatal("the agent does not end")
	return api.AgentRun{}
}

func TestTheLockIsHeldForTheSupervisorsLife(t *testing.T) {
	y := newYard(t, nil)
	y.run()
	if err := Run(t.Context(), y.cfg, "yard", func() { t.Error("a second supervisor is ready") }); !errors.Is(err, api.ErrRunning) {
		t.Errorf("a second supervisor: %v", err)
	}
	if err := y.api.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	y.ended()
	if held, _, err := y.sb.Locked(); held || err != nil {
		t.Errorf("after the end the lock is held: %v, %v", held, err)
	}
	if _, err := os.Lstat(filepath.Join(y.sb.Dir, api.Socket)); err == nil {
		t.Error("after the end the socket is there")
	}
	if _, err := y.store.Load("yard"); err != nil {
		t.Errorf("the sandbox that was stopped is gone: %v", err)
	}
}

func TestTheContextsEndIsAnOrderlyStop(t *testing.T) {
	y := newYard(t, nil)
	y.run()
	g := y.dial()
	p := y.agent(g, "echo up; trap '' HUP; sleep 60", 0)
	if _, err := io.ReadFull(p.Stdout, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	y.end()
	y.ended()
	if _, err := api.Dial(t.Context(), y.sb.Dir); !errors.Is(err, api.ErrNotRunning) {
		t.Errorf("after the end the socket answers: %v", err)
	}
}

func TestTheAgentsOutputAndEndAreKept(t *testing.T) {
	y := newYard(t, nil)
	y.run()
	g := y.dial()
	defer g.Close()
	p := y.agent(g, "echo one; echo two >&2; exit 7", 0)
	_, _ = io.Copy(io.Discard, p.Stdout)
	if run := y.agentEnd(); run.Exit.Code != 7 || run.TimedOut || run.Ended.IsZero() {
		t.Errorf("the agent's end is %+v", run)
	}
	log, err := os.ReadFile(filepath.Join(y.sb.Dir, SessionsDir, AgentLog))
	if err != nil || !strings.Contains(string(log), "one\n") || !strings.Contains(string(log), "two\n") {
		t.Errorf("the log is %q, %v", log, err)
	}
}

func TestTheAgentIsEndedAtItsTimeout(t *testing.T) {
	y := newYard(t, nil)
	y.run()
	g := y.dial()
	defer g.Close()
	y.agent(g, "exec sleep 60", 50*time.Millisecond)
	if run := y.agentEnd(); !run.TimedOut || run.Exit.Code != 128+15 {
		t.Errorf("the agent's end is %+v", run)
	}
}

func TestATemporarySandboxGoesWithItsAgentAndLastClient(t *testing.T) {
	y := newYard(t, func(r *state.Record) { r.Temporary = true })
	y.run()
	g := y.dial()
	y.agent(g, "exit 0", 0)
	y.agentEnd()
	select {
	case <-y.done:
		t.Fatal("the supervisor ended while a client was there")
	default:
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	y.ended()
	if _, err := y.store.Load("yard"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("the sandbox is still there: %v", err)
	}
}

func TestATemporarySandboxStaysWhileItsAgentRuns(t *testing.T) {
	y := newYard(t, func(r *state.Record) { r.Temporary = true })
	y.run()
	g := y.dial()
	y.agent(g, "exec sleep 60", 0)
	_ = g.Close()
	g = y.dial()
	defer g.Close()
	sessions, err := g.Sessions(t.Context())
	if err != nil || len(sessions) != 1 || !sessions[0].Running {
		t.Errorf("the agent of a detached client: %+v, %v", sessions, err)
	}
}

func TestASandboxThatCannotStartSaysWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*state.Record)
		want   error
	}{
		"an unknown backend":      {func(r *state.Record) { r.Backend = "moon" }, sandbox.ErrUnsupported},
		"a limit nobody enforces": {func(r *state.Record) { r.Limits.Pids = 5 }, sandbox.ErrUnsupported},
		"a rule nobody can read":  {func(r *state.Record) { r.Allow = []string{"*"} }, sandbox.ErrPolicy},
		"an unknown network mode": {func(r *state.Record) { r.Network = "perhaps" }, sandbox.ErrPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t, tc.change)
			err := Run(t.Context(), y.cfg, "yard", func() { t.Error("it is ready") })
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if held, _, _ := y.sb.Locked(); held {
				t.Error("the lock is still held")
			}
			goleak.VerifyNone(t)
		})
	}
}

// mute is a machine whose guest accepts streams and never answers.
type mute struct {
	sandbox.Machine
	inside chan net.Conn
}

func (m mute) Guest(context.Context) (net.Conn, error) {
	host, inside := net.Pipe()
	m.inside <- inside
	return host, nil
}

func TestAGuestThatNeverAnswersCannotKeepTheSupervisor(t *testing.T) {
	y := newYard(t, nil)
	inside := make(chan net.Conn, 1)
	y.cfg.Backends = []sandbox.Backend{muteBackend{y.cfg.Backends[0], inside}}
	y.run()
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- y.api.Follow(ctx, api.Follow{}) }()
	defer (<-inside).Close()
	if _, err := y.api.Inspect(t.Context()); err != nil {
		t.Errorf("inspect meanwhile: %v", err)
	}
	cancel()
	if err := <-followed; err == nil {
		t.Error("the agent of a mute guest is followed")
	}
	if err := y.api.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	y.ended()
}

type muteBackend struct {
	sandbox.Backend
	inside chan net.Conn
}

func (b muteBackend) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Machine, error) {
	m, err := b.Backend.Start(ctx, spec)
	return mute{m, b.inside}, err
}
