package supervise

import (
	"context"
	"net"
	"os"
	"runtime"
	"slices"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Inspect implements api.Supervisor.
func (s *supervisor) Inspect(context.Context) (api.Inspect, error) {
	over := ""
	if s.purse != nil {
		over = s.purse.Over() // before mu is held, which the purse takes when it tells of something
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := api.Inspect{
		PID:          os.Getpid(),
		Started:      s.started,
		Isolation:    s.caps.Isolation,
		AgentVersion: s.cfg.AgentVersion,
		AgentArgv:    slices.Clone(s.plan.agentArgv),
		Workdir:      s.plan.spec.Workdir,
		Clients:      s.clients,
		Goroutines:   runtime.NumGoroutine(),
		Notices:      slices.Clone(s.plan.notices),
		Over:         over,
	}
	if s.agent != nil {
		run := *s.agent
		v.Agent = &run
	}
	return v, nil
}

// Stats implements api.Supervisor.
func (s *supervisor) Stats(ctx context.Context) (sandbox.Stats, error) { return s.machine.Stats(ctx) }

// Stop implements api.Supervisor.
func (s *supervisor) Stop(context.Context) error {
	s.askStop()
	<-s.stopped
	return nil
}

// askStop has the sandbox end, as when somebody stops it.
func (s *supervisor) askStop() { s.askOnce.Do(func() { close(s.stopAsked) }) }

// Stream implements api.Supervisor.
func (s *supervisor) Stream(ctx context.Context) (net.Conn, func(), error) {
	conn, err := s.machine.Guest(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.count(+1)
	return conn, func() { s.count(-1) }, nil
}

func (s *supervisor) count(by int) {
	s.mu.Lock()
	s.clients += by
	s.served = true
	s.mu.Unlock()
	s.notify()
}
