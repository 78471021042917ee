package supervise

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/egress"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// maxAudit is the size in bytes at which the audit record becomes its own older half.
const maxAudit = 64 << 20

func network(r state.Record) sandbox.Network {
	if r.Network == "deny" || r.Network == "ask" || r.Network == "allow" {
		return sandbox.NetworkGateway
	}
	return sandbox.NetworkNone
}

// maxFlows is how many connections a sandbox may have open when this process may have that many files: each takes
// up to six. What is set aside is for requests beyond one on a connection, of which there are no more than 512, and for
// clients and the supervisor's own, which a sandbox must not be able to starve.
func maxFlows(files uint64) int {
	const enough, perFlow, aside = 4096, 6, 512 + 256
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
	s.decisions = record
	s.plan.credentials.kept = s.relend
	if err := s.readCredentials(); err != nil {
		return errors.Join(err, record.Close())
	}
	purse, err := s.newPurse()
	if err != nil {
		return errors.Join(err, record.Close())
	}
	s.purse = purse
	server := &egress.Server{Policy: s.rules.Load, Purse: purse, CA: s.plan.authority, Credentials: s.keeper.Load, Audit: record, Log: s.log, MaxFlows: maxFlows(files.Cur)}
	s.egress = server
	s.work.Go(func() {
		defer record.Close()
		if err := server.Serve(ctx, flows); err != nil && ctx.Err() == nil {
			s.log.Error("the network has ended", "error", err)
		}
	})
	return nil
}
