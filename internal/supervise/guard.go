package supervise

import (
	"context"
	"encoding/json"
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
	quarantine, err := makeQuarantine(s.sb)
	if err != nil {
		return nil, err
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

// mark notes what the guards guard, until they have had their last look. Where it is found, nobody had that.
func (s *supervisor) mark() error {
	var saved []json.RawMessage
	for _, p := range s.plan.workspaces {
		data, err := p.Save()
		if err != nil {
			return err
		}
		saved = append(saved, data)
	}
	data, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	// Not synchronised to the disk: a sandbox does not survive a power cut to make anything after it.
	if err := os.WriteFile(filepath.Join(s.sb.Dir, state.GuardedFile), data, 0o600); err != nil {
		return fmt.Errorf("cannot note what is guarded: %w", err)
	}
	return nil
}

func (s *supervisor) unmark() { _ = os.Remove(filepath.Join(s.sb.Dir, state.GuardedFile)) }

// FinishGuards takes the last look that the guards of sb owe when their supervisor was killed: what the agent
// made in its last moments is moved away like anything before. report is called for each hit. The caller holds the
// lock of sb, and its machine has ended.
func FinishGuards(sb *state.Sandbox, report func(workspace.Hit)) error {
	path := filepath.Join(sb.Dir, state.GuardedFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read what was guarded: %w", err)
	}
	var saved []json.RawMessage
	if json.Unmarshal(data, &saved) != nil {
		return os.Remove(path) // as a power cut leaves it, and nothing can be done about that
	}
	quarantine, err := makeQuarantine(sb)
	if err != nil {
		return err
	}
	ended, end := context.WithCancel(context.Background())
	end()
	for _, data := range saved {
		p, err := workspace.RestorePlan(data)
		if err != nil {
			return err
		}
		g, err := workspace.NewGuard(p, quarantine)
		if err != nil {
			return err
		}
		if err := g.Run(ended, report); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

func makeQuarantine(sb *state.Sandbox) (string, error) {
	dir := filepath.Join(sb.Dir, state.QuarantineDir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cannot make the quarantine: %w", err)
	}
	return dir, nil
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
	if h.Kind == workspace.HitUnseen {
		s.askStop()
	}
	text := s.describe(h)
	s.log.Warn(text)
	s.notice(text)
}

func (s *supervisor) describe(h workspace.Hit) string {
	switch h.Kind {
	case workspace.HitMoved:
		if s.sb.Temporary && strings.HasPrefix(h.MovedTo, s.sb.Dir+"/") {
			return fmt.Sprintf("%q appeared, which programs on this host would execute: it was moved away and goes with the sandbox", h.Path)
		}
		return fmt.Sprintf("%q appeared, which programs on this host would execute: it was moved to %s", h.Path, h.MovedTo)
	case workspace.HitLeft:
		return fmt.Sprintf("%q appeared, which programs on this host would execute, and it is still there: %v", h.Path, h.Err)
	case workspace.HitRepository:
		return fmt.Sprintf("%q is a new repository, made in the sandbox: do not run git there on the host while the sandbox runs", h.Path)
	case workspace.HitReplaced:
		return fmt.Sprintf("%q was replaced from outside the sandbox and is not protected until the next start", h.Path)
	case workspace.HitConfig:
		return fmt.Sprintf("%q was replaced from outside the sandbox: until the next start, settings by which git could execute something are moved away, yours as well", h.Path)
	default: // HitUnseen
		return fmt.Sprintf("%q is not watched for what programs on this host would execute, so the sandbox ends: %v", h.Path, h.Err)
	}
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
