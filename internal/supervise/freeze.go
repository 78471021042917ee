package supervise

import (
	"context"
	"fmt"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// pauseTime is how long the guest may take to stop its processes, or to let them go on.
const pauseTime = 5 * time.Second

// checkFrozen refuses to start what a human has to look at first.
func checkFrozen(sb *state.Sandbox) error {
	reason, err := sb.Frozen()
	if err != nil {
		return err
	}
	if reason != "" {
		return sandbox.WithHint(fmt.Errorf("the sandbox %s is frozen: %s", sb.Name, reason), "bailey policy log "+sb.Name+", then: bailey unpause "+sb.Name)
	}
	return nil
}

// freeze denies the sandbox everything, now and after a restart, until a human has looked.
func (s *supervisor) freeze(reason string) {
	if err := s.sb.Freeze(reason); err != nil {
		s.log.Error("cannot note that the sandbox is frozen", "error", err)
	}
	s.reload.Lock()
	defer s.reload.Unlock()
	s.frozen = reason
	if err := s.readRules(); err != nil {
		s.log.Error("cannot freeze the sandbox by its rules, so it ends", "error", err)
		s.askStop()
		return
	}
	s.pause(true)
	s.alertFrozen()
}

// alertFrozen tells who is attached why nothing moves any more, or takes that back. It is called with reload held.
func (s *supervisor) alertFrozen() {
	text := ""
	if s.frozen != "" {
		text = "frozen: " + s.frozen + ": bailey policy log " + s.sb.Name + ", then: bailey unpause " + s.sb.Name
	}
	s.alert(&s.alerts.frozen, text)
}

// readFrozen reads whether a human has frozen the sandbox, or has looked. It is called with reload held.
func (s *supervisor) readFrozen() error {
	reason, err := s.sb.Frozen()
	if err != nil {
		return err
	}
	if stop := reason != ""; stop != (s.frozen != "") {
		defer s.pause(stop)
		defer s.alertFrozen()
	}
	s.frozen = reason
	return nil
}

// pause stops what runs inside, or lets it go on. That is a courtesy to the machine and to whoever looks: what keeps
// the sandbox from doing harm is that its network is closed.
func (s *supervisor) pause(stop bool) {
	if err := s.tryPause(stop); err != nil {
		s.log.Warn("what runs inside was not stopped, or does not go on", "stop", stop, "error", err)
	}
}

// Hold implements api.Supervisor.
func (s *supervisor) Hold(context.Context) (release func(), err error) {
	s.reload.Lock()
	defer s.reload.Unlock()
	if s.frozen != "" {
		return func() {}, nil
	}
	if err := s.tryPause(true); err != nil {
		return nil, fmt.Errorf("cannot stop what runs inside: %w", err)
	}
	return func() {
		s.reload.Lock()
		defer s.reload.Unlock()
		if s.frozen == "" {
			s.pause(false)
		}
	}, nil
}

func (s *supervisor) tryPause(stop bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), pauseTime)
	defer cancel()
	s.followMu.Lock()
	defer s.followMu.Unlock()
	client, err := s.guest(ctx)
	if err == nil {
		err = client.Pause(ctx, stop)
	}
	return err
}
