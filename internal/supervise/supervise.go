// Package supervise is the one place where everything meets, for one sandbox: it turns the record into a
// machine, puts the egress on the machine's wire, watches the agent, and serves the API socket until the
// machine ends. It also starts itself as a process of its own (Spawn). It parses no command line, prints
// nothing, and knows backends only by their contract.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/egress"
	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/snapshot"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/usage/price"
	"github.com/bailey-sandbox/bailey/internal/workspace"
)

// stopGrace is how long a machine may take to stop. Its guest gives processes about one second.
const stopGrace = 15 * time.Second

// Config is what a supervisor works with.
type Config struct {
	Store        *state.Store
	Backends     []sandbox.Backend
	Getenv       func(string) string
	Agents       []agent.Agent // the user's own
	Prices       []price.Row   // of models, the user's own
	Budget       config.Budget // what may be used where nothing else was set
	AgentVersion string        // exact, already in the agent cache; "" for an agent without a package
	Loan         secret.Loan   // what the command line lends for this run
	Self         string        // the binary's path, which looks for secrets in a process of its own; "" looks for none
	Log          *slog.Logger
}

// Run supervises the sandbox called name and returns when its machine has ended: by itself, by a request
// on the socket, or because ctx ended. It calls ready once, when the socket answers; an error before
// that is returned instead. The lock is held all the while, so nobody else runs, changes or removes it.
func Run(ctx context.Context, cfg Config, name string, ready func()) error {
	sb, err := cfg.Store.Load(name)
	if err != nil {
		return err
	}
	lock, err := sb.TryLock()
	if errors.Is(err, state.ErrLocked) {
		return fmt.Errorf("cannot start the sandbox %s: %w", name, api.ErrRunning)
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := failpoint.Hit("supervise.locked"); err != nil {
		return err
	}
	if err := checkFrozen(sb); err != nil {
		return err
	}
	s := &supervisor{cfg: cfg, sb: sb, log: cfg.Log.With("sandbox", name), changed: make(chan struct{}, 1), stopAsked: make(chan struct{}), stopped: make(chan struct{})}
	if err := s.run(ctx, ready); err != nil {
		return err
	}
	if !sb.Temporary {
		if err := snapshot.Auto(context.WithoutCancel(ctx), s.backend, sb, "the end of a session"); err != nil {
			s.log.Error("cannot keep a snapshot of the session's end", "error", err)
		}
	}
	if sb.Temporary && s.finished() {
		// What somebody wants to review does not go with the sandbox.
		if n, err := review.Pending(context.WithoutCancel(ctx), sb); n > 0 || err != nil {
			s.log.Warn("keeping the sandbox: it has changes to review", "changes", n, "error", err)
			return nil
		}
		s.log.Info("removing the sandbox: its agent has ended")
		if err := s.backend.Remove(context.WithoutCancel(ctx), sb.Name, sb.Dir); err != nil {
			return err
		}
		if err := failpoint.Hit("supervise.discarded"); err != nil {
			return err
		}
		return sb.Remove()
	}
	return nil
}

// supervisor is one run of one sandbox. It implements api.Supervisor.
type supervisor struct {
	cfg     Config
	sb      *state.Sandbox
	log     *slog.Logger
	plan    plan
	backend sandbox.Backend
	caps    sandbox.Capabilities
	machine sandbox.Machine
	started time.Time
	work    sync.WaitGroup // egress and the agent's watcher

	rules  atomic.Pointer[policy.Policy] // in force
	egress *egress.Server                // nil without a network
	purse  *purse                        // the same; its lock is taken before mu
	reload sync.Mutex                    // held while the rules are read again

	keeper    atomic.Pointer[credential.Keeper]
	decisions audit.Sink // the record; nil without a network
	frozen    string     // why a human must look first; guarded by reload

	session state.Grants // what a human has answered until the machine ends; guarded by reload

	endGuards func()        // waits for what the guards do last; nothing may run in the sandbox by then
	changed   chan struct{} // buffered by one: clients or agent have changed
	stopAsked chan struct{} // closed by the first Stop
	stopped   chan struct{} // closed when the machine has ended
	askOnce   sync.Once
	stopOnce  sync.Once

	mu      sync.Mutex // never held while the guest is spoken to: a guest may choose not to answer
	clients int
	served  bool // a client has been there
	alerts  alerts
	agent   *api.AgentRun
	watcher *guestproto.Client // nil until the first Follow

	followMu sync.Mutex // makes Follow one at a time
}

func (s *supervisor) run(ctx context.Context, ready func()) error {
	backend, caps, err := pick(ctx, s.cfg.Backends, s.sb.Backend)
	if err != nil {
		return err
	}
	s.backend, s.caps = backend, caps
	// Whoever ran this sandbox before may have been killed.
	if err := backend.Recover(ctx, s.sb.Name, s.sb.Dir); err != nil {
		return fmt.Errorf("cannot clean up after the last run: %w", err)
	}
	var owed []workspace.Hit
	if err := FinishGuards(s.sb, func(h workspace.Hit) { owed = append(owed, h) }); err != nil {
		return err
	}
	if err := errors.Join(snapshot.Finish(ctx, backend, s.sb), settleReviews(ctx, s.sb)); err != nil {
		return err
	}
	if s.plan, err = makePlan(ctx, s.cfg, s.sb); err != nil {
		return err
	}
	if err := failpoint.Hit("supervise.planned"); err != nil {
		return err
	}
	for _, h := range owed {
		s.plan.notices = append(s.plan.notices, s.describe(h)+" (found after the last run was killed)")
	}
	for _, n := range s.plan.notices {
		s.log.Warn(n)
	}
	guards, err := s.placeGuards()
	if err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer s.work.Wait()
	defer cancel()
	s.runGuards(background, guards)
	defer func() { s.endGuards() }()
	if err := errors.Join(s.mark(), failpoint.Hit("supervise.marked")); err != nil {
		return err
	}
	if err := failpoint.Hit("supervise.guarded"); err != nil {
		return err
	}
	if s.machine, err = backend.Start(ctx, s.plan.spec); err != nil {
		return err
	}
	s.started = time.Now()
	defer s.stopMachine()
	if err := failpoint.Hit("supervise.started"); err != nil {
		return err
	}
	if err := s.plan.seedHome(ctx, s.machine.StateDir(state.HomeDir), s.sb); err != nil {
		return err
	}
	if err := failpoint.Hit("supervise.seeded"); err != nil {
		return err
	}
	s.rules.Store(s.plan.rules)
	if err := s.serveNetwork(background); err != nil {
		return err
	}
	if err := failpoint.Hit("supervise.networked"); err != nil {
		return err
	}
	return s.serve(ctx, background, ready)
}

// serve answers on the socket from when ready is called until the machine has ended.
func (s *supervisor) serve(ctx, background context.Context, ready func()) error {
	ln, err := api.Listen(s.sb.Dir)
	if err != nil {
		return err
	}
	defer api.Remove(s.sb.Dir)
	// Whoever changed the rules before now has found nobody to tell.
	if err := s.Reload(ctx); err != nil {
		return err
	}
	if err := failpoint.Hit("supervise.listening"); err != nil {
		return err
	}
	serveCtx, endServe := context.WithCancel(background)
	served := make(chan error, 1)
	go func() { served <- api.Serve(serveCtx, ln, s, s.log) }()
	ready()
	s.log.Info("ready", "backend", s.backend.Name())
	s.work.Go(func() { s.scan(background) })
	s.work.Go(func() { s.watchProjected(background) })
	_ = failpoint.Hit("supervise.ready")
	s.wait(ctx)
	_ = failpoint.Hit("supervise.stopping")
	s.stopMachine()
	_ = failpoint.Hit("supervise.stopped")
	endServe() // answers the Stop that brought us here before it closes
	return <-served
}

// calm is how long after its start a supervisor gives back the memory that the start took. At once would be in
// the way of whoever waits for the start.
const calm = time.Second

// wait returns when the machine has ended or should.
func (s *supervisor) wait(ctx context.Context) {
	started := time.NewTimer(calm)
	defer started.Stop()
	for {
		select {
		case <-started.C:
			giveBack()
		case <-s.machine.Done():
			s.log.Info("the machine has ended")
			return
		case <-s.stopAsked:
			return
		case <-ctx.Done():
			s.log.Info("asked to end")
			return
		case <-s.changed:
			if s.sb.Temporary && s.finished() {
				return
			}
		}
	}
}

// finished reports whether a temporary sandbox has served its purpose: its agent has ended, or was never
// started, and nobody is there any more.
func (s *supervisor) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served && s.clients == 0 && (s.agent == nil || !s.agent.Running)
}

func (s *supervisor) stopMachine() {
	s.stopOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
		defer cancel()
		if !s.agentRunning() {
			s.closeWatcher() // with nothing left to watch, no client keeps the guest from ending at once
		}
		err := s.machine.Stop(ctx)
		if err != nil {
			s.log.Error("cannot stop the machine", "error", err)
		}
		s.closeWatcher()
		s.endGuards()
		if err == nil {
			s.unmark()
		}
		close(s.stopped)
	})
}

func (s *supervisor) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// pick finds the backend called name, or the first that this host can run when name is "" or "auto".
func pick(ctx context.Context, backends []sandbox.Backend, name string) (sandbox.Backend, sandbox.Capabilities, error) {
	auto := name == "" || name == "auto"
	var last error
	for _, b := range backends {
		if !auto && b.Name() != name {
			continue
		}
		caps, err := b.Probe(ctx)
		if err == nil {
			return b, caps, nil
		}
		last = err
	}
	if last == nil {
		last = fmt.Errorf("no backend called %q: %w", name, sandbox.ErrUnsupported)
	}
	err := fmt.Errorf("cannot run a sandbox on this host: %w", last)
	if sandbox.Hint(err) == "" {
		err = sandbox.WithHint(err, "bailey doctor")
	}
	return nil, sandbox.Capabilities{}, err
}
