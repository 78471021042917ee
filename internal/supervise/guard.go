package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/workspace"
)

// placeGuards starts watching the workspaces for protected names that do not exist yet, before anything
// runs in the sandbox. Whoever gets the guards runs or closes them.
func (s *supervisor) placeGuards() ([]*workspace.Guard, error) {
	quarantine := filepath.Join(s.sb.Dir, state.QuarantineDir)
	if err := os.Mkdir(quarantine, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot make the quarantine: %w", err)
	}
	var guards []*workspace.Guard
	for _, p := range s.plan.workspaces {
		g, err := workspace.NewGuard(p, quarantine)
		if err != nil {
			for _, g := range guards {
				g.Close()
			}
			return nil, err
		}
		guards = append(guards, g)
	}
	return guards, nil
}

// runGuards acts on what the guards see until endGuards or the end of ctx. A guard that ends before, or cannot
// watch what it should, is the sandbox's end: an agent can use up what a guard needs, and nothing goes on
// with less protection than it started with.
func (s *supervisor) runGuards(ctx context.Context, guards []*workspace.Guard) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	s.endGuards = func() { cancel(); running.Wait() }
	for _, g := range guards {
		running.Go(func() {
			if err := g.Run(ctx, s.report); err != nil && ctx.Err() == nil {
				s.log.Error("a workspace is not guarded any more", "error", err)
				s.notice("the workspace is not guarded any more: " + err.Error())
				s.askStop()
			}
		})
	}
}

// report makes a notice of what happened to a protected name.
func (s *supervisor) report(h workspace.Hit) {
	var text string
	switch h.Kind {
	case workspace.HitMoved:
		text = fmt.Sprintf("%q appeared, which programs on this host would execute: it was moved to %s", h.Path, h.MovedTo)
		if s.sb.Temporary && strings.HasPrefix(h.MovedTo, s.sb.Dir+"/") {
			text = fmt.Sprintf("%q appeared, which programs on this host would execute: it was moved away and goes with the sandbox", h.Path)
		}
	case workspace.HitLeft:
		text = fmt.Sprintf("%q appeared, which programs on this host would execute, and it is still there: %v", h.Path, h.Err)
	case workspace.HitRepository:
		text = fmt.Sprintf("%q is a new repository, made in the sandbox: do not run git there on the host while the sandbox runs", h.Path)
	case workspace.HitReplaced:
		text = fmt.Sprintf("%q was replaced from outside the sandbox and is not protected until the next start", h.Path)
	case workspace.HitUnseen:
		text = fmt.Sprintf("%q is not watched for what programs on this host would execute, so the sandbox ends: %v", h.Path, h.Err)
		s.askStop()
	default:
		return
	}
	s.log.Warn(text)
	s.notice(text)
}

// maxNotices bounds what an agent can make the supervisor remember.
const maxNotices = 100

func (s *supervisor) notice(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.plan.notices) < maxNotices {
		s.plan.notices = append(s.plan.notices, text)
	}
}
