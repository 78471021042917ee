package supervise

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/egress"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// maxAudit is the size in bytes at which the audit record becomes its own older half.
const maxAudit = 64 << 20

// Policy is what the sandbox of that record and agent may reach: the agent's own hosts, and what the user
// allows. The error wraps sandbox.ErrPolicy.
func Policy(r state.Record, ag agent.Agent) (*policy.Policy, error) {
	p := &policy.Policy{}
	switch r.Network {
	case "deny", "none":
	case "allow":
		p.Default = policy.Allow
	default:
		return nil, fmt.Errorf("%w: unknown network mode %q", sandbox.ErrPolicy, r.Network)
	}
	add := func(text, origin, why string) error {
		rule, err := policy.ParseRule(text, origin)
		if err != nil {
			return fmt.Errorf("%w: %w", sandbox.ErrPolicy, err)
		}
		rule.Why = why
		p.Rules = append(p.Rules, rule)
		return nil
	}
	for _, h := range ag.Hosts {
		if err := add(fmt.Sprintf("%s:%d", h.Name, h.Port), "built-in: "+ag.Name, h.Why); err != nil {
			return nil, err
		}
	}
	for _, text := range r.Allow {
		if err := add(text, "--allow", ""); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func network(r state.Record) sandbox.Network {
	if r.Network == "deny" || r.Network == "allow" {
		return sandbox.NetworkGateway
	}
	return sandbox.NetworkNone
}

// maxFlows is how many connections a sandbox may have open when this process may have that many files: each takes
// up to six. What is set aside is for clients and the supervisor's own, which a sandbox must not be able to starve.
func maxFlows(files uint64) int {
	const enough, perFlow, aside = 4096, 6, 256
	return max(1, int(min(files-min(aside, files/2), enough*perFlow)/perFlow))
}

// serveNetwork puts the egress on the machine's wire. Without it nothing answers there.
func (s *supervisor) serveNetwork(ctx context.Context) error {
	flows := s.machine.Flows()
	if s.plan.spec.Network == sandbox.NetworkNone {
		return nil
	}
	if flows == nil {
		return fmt.Errorf("%w: the backend gives no network", sandbox.ErrContainment)
	}
	record, err := audit.OpenFile(filepath.Join(s.sb.Dir, state.AuditFile), maxAudit)
	if err != nil {
		return fmt.Errorf("%w: %w", sandbox.ErrPolicy, err)
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return errors.Join(fmt.Errorf("cannot read the limit of open files: %w", err), record.Close())
	}
	server := &egress.Server{Policy: func() *policy.Policy { return s.plan.rules }, Audit: record, Log: s.log, MaxFlows: maxFlows(files.Cur)}
	s.work.Go(func() {
		defer record.Close()
		if err := server.Serve(ctx, flows); err != nil && ctx.Err() == nil {
			s.log.Error("the network has ended", "error", err)
		}
	})
	return nil
}
