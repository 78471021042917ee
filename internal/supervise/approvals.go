package supervise

import (
	"context"
	"slices"
	"time"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// Approvals implements api.Supervisor.
func (s *supervisor) Approvals(context.Context) (api.Approvals, error) {
	v := api.Approvals{Questions: []api.Question{}}
	if s.egress == nil {
		return v, nil
	}
	s.mu.Lock()
	v.Alert = s.alerted
	s.mu.Unlock()
	v.Asks = s.rules.Load().Default == policy.Ask
	list, seq := s.egress.Questions().List()
	v.Seq = seq
	for _, q := range list {
		v.Questions = append(v.Questions, api.Question{ID: q.ID, Host: q.Host, Port: q.Port, Protocol: q.Protocol.String(),
			Method: q.Method, Path: q.Path, Asked: q.Asked, Waiting: q.Waiting, Rule: q.Rule})
	}
	return v, nil
}

// AwaitApprovals implements api.Supervisor.
func (s *supervisor) AwaitApprovals(ctx context.Context, seen uint64) (api.Approvals, error) {
	if s.egress == nil {
		<-ctx.Done()
	} else {
		s.egress.Questions().Wait(ctx, seen)
	}
	return s.Approvals(ctx)
}

// alert shows a sentence in the attached terminals, for some time or, with 0, until another takes its place. Without a
// network nobody looks for it.
func (s *supervisor) alert(text string, shown time.Duration) {
	if s.egress == nil {
		return
	}
	s.mu.Lock()
	s.alerted = text
	s.mu.Unlock()
	s.egress.Questions().Wake()
	if shown == 0 {
		return
	}
	time.AfterFunc(shown, func() {
		s.mu.Lock()
		over := s.alerted == text
		if over {
			s.alerted = ""
		}
		s.mu.Unlock()
		if over {
			s.egress.Questions().Wake()
		}
	})
}

// Answer implements api.Supervisor. An answer that lasts is a rule, which decides what waits like any other: so
// nothing is written that does not answer, and nothing answered that was not written.
func (s *supervisor) Answer(ctx context.Context, id uint64, a api.Answer) error {
	v, err := a.Check()
	if err != nil {
		return err
	}
	if s.egress == nil {
		return api.ErrNoQuestion
	}
	if a.Scope == api.Once {
		if !s.egress.Questions().Answer(id, v) {
			return api.ErrNoQuestion
		}
		return nil
	}
	entry, ok := s.egress.Questions().Rule(id, v)
	if !ok {
		return api.ErrNoQuestion
	}
	if a.Scope == api.Session {
		return s.grantSession(v, entry)
	}
	err = s.sb.ChangeGrants(func(g *state.Grants) error { g.Add(v, entry); return nil })
	if err != nil {
		return err
	}
	return s.Reload(ctx)
}

// grantSession adds a rule that ends with the machine, or none when the rules cannot be read.
func (s *supervisor) grantSession(v policy.Verdict, e policy.Entry) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	before := state.Grants{Allow: slices.Clone(s.session.Allow), Deny: slices.Clone(s.session.Deny)}
	s.session.Add(v, e)
	if err := s.readRules(); err != nil {
		s.session = before
		return err
	}
	return nil
}
