package supervise

import (
	"cmp"
	"context"
	"slices"

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
	v.Alert = cmp.Or(s.alerts.frozen, s.alerts.replaced, s.alerts.spent, s.alerts.found)
	s.mu.Unlock()
	v.Spent = s.purse.Spent()
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

// alerts are the sentences that attached terminals show, one at a time: the first of them that there is. They are guarded
// by mu.
type alerts struct{ frozen, replaced, spent, found string }

// alert puts text, or nothing, into one of s.alerts. Without a network nobody looks for it.
func (s *supervisor) alert(slot *string, text string) {
	s.mu.Lock()
	*slot = text
	s.mu.Unlock()
	s.wake()
}

// wake has attached terminals look again.
func (s *supervisor) wake() {
	if s.egress != nil {
		s.egress.Questions().Wake()
	}
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
