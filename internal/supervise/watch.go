package supervise

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// killGrace is how long an agent that ran into its timeout has between SIGTERM and SIGKILL.
const killGrace = 5 * time.Second

// Follow implements api.Supervisor. A second Follow of a running agent does nothing.
//
// The supervisor only watches the agent. What the guest says on this stream is written to a log, and
// nothing is done because of it but to note that the agent has ended.
func (s *supervisor) Follow(ctx context.Context, f api.Follow) error {
	s.followMu.Lock()
	defer s.followMu.Unlock()
	if s.agentRunning() {
		return nil
	}
	client, err := s.guest(ctx)
	if err != nil {
		return err
	}
	p, err := client.Attach(ctx, guestproto.Attach{Session: api.Agent})
	if err != nil {
		return fmt.Errorf("cannot watch the agent: %w", err)
	}
	if err := failpoint.Hit("supervise.followed"); err != nil {
		return err
	}
	run := &api.AgentRun{Running: true, Started: time.Now()}
	s.mu.Lock()
	s.agent = run
	s.mu.Unlock()
	s.work.Go(func() { s.watch(client, p, run, f.Timeout) })
	return nil
}

func (s *supervisor) agentRunning() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agent != nil && s.agent.Running
}

// guest returns the supervisor's own client, made at the first call. followMu is held.
func (s *supervisor) guest(ctx context.Context) (*guestproto.Client, error) {
	s.mu.Lock()
	client := s.watcher
	s.mu.Unlock()
	if client != nil {
		return client, nil
	}
	conn, err := s.machine.Guest(ctx)
	if err != nil {
		return nil, err
	}
	if client, err = guestproto.Dial(ctx, conn); err != nil {
		return nil, fmt.Errorf("cannot reach the guest: %w", err)
	}
	s.mu.Lock()
	s.watcher = client
	s.mu.Unlock()
	return client, nil
}

// watch logs the agent's output, ends it at its timeout, and notes how it ended.
func (s *supervisor) watch(client *guestproto.Client, p *guestproto.Process, run *api.AgentRun, timeout time.Duration) {
	defer p.Close()
	if timeout > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s.work.Go(func() { s.enforce(ctx, client, run, timeout) })
	}
	s.record(p)
	exit, err := p.Wait()
	if err != nil {
		s.log.Debug("the agent's end was not seen", "error", err)
		exit = guestproto.Exit{Code: 137, Signal: "KILL"}
	}
	s.mu.Lock()
	run.Running, run.Ended, run.Exit = false, time.Now(), exit
	s.mu.Unlock()
	s.log.Info("the agent has ended", "code", exit.Code)
	s.notify()
}

// record copies what the agent prints into its log until both streams end. A log that cannot be written
// stops nothing: the streams are drained all the same.
func (s *supervisor) record(p *guestproto.Process) {
	var out io.Writer = io.Discard
	if f, err := openRotating(filepath.Join(s.sb.Dir, SessionsDir), AgentLog, maxAgentLog); err != nil {
		s.log.Error("cannot keep the agent's output", "error", err)
	} else {
		defer f.Close()
		out = f
	}
	var streams sync.WaitGroup
	for _, r := range []io.Reader{p.Stdout, p.Stderr} {
		streams.Go(func() {
			if _, err := io.Copy(out, r); err != nil {
				s.log.Error("cannot keep the agent's output", "error", err)
				_, _ = io.Copy(io.Discard, r)
			}
		})
	}
	streams.Wait()
}

func (s *supervisor) enforce(ctx context.Context, client *guestproto.Client, run *api.AgentRun, timeout time.Duration) {
	signals := []struct {
		after time.Duration
		name  string
	}{{timeout, "TERM"}, {killGrace, "KILL"}}
	for _, sig := range signals {
		timer := time.NewTimer(sig.after)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		s.mu.Lock()
		run.TimedOut = true
		s.mu.Unlock()
		s.log.Info("the agent's time is over", "signal", sig.name)
		if err := client.Kill(ctx, guestproto.Kill{Session: api.Agent, Signal: sig.name}); err != nil {
			s.log.Error("cannot end the agent", "error", err)
		}
	}
}

// closeWatcher ends the supervisor's own client. When the agent runs that is after the machine's end, so that
// its last words are still logged.
func (s *supervisor) closeWatcher() {
	s.mu.Lock()
	client := s.watcher
	s.mu.Unlock()
	if client != nil {
		_ = client.Close()
	}
}
