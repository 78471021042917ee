package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// projected is a file of variables, such as .env, as it is at this start.
type projected struct {
	secret.Projection
	variables map[string]string // none where it cannot be read, and err says why
	err       error
}

// readProjections reads the files in the sandbox's workspaces that are shown with what stands for their values.
func (c *credentials) readProjections() (err error) {
	if c.projections, err = c.store.Projections(); err != nil {
		return err
	}
	for _, p := range c.projections {
		within := func(ws state.Workspace) bool { _, ok := p.Pattern(ws.Path); return ok }
		if !slices.ContainsFunc(c.sb.Workspaces, within) {
			continue
		}
		f := projected{Projection: p}
		f.variables, f.err = p.Variables()
		if !errors.Is(f.err, fs.ErrNotExist) {
			c.files = append(c.files, f)
		}
	}
	return nil
}

// standsFor is the name of what stands for a variable's value: the secret's that is kept for it, or the variable's own,
// which may go nowhere.
func (c *credentials) standsFor(p secret.Projection, variable string) (name string, shape credential.Shape) {
	source := p.Source(variable)
	if i := slices.IndexFunc(c.begun, func(l lendable) bool { return l.Source == source }); i >= 0 {
		return c.begun[i].Name, c.begun[i].resolved.Shape
	}
	return source, credential.Shape{}
}

// standForFiles makes what stands for the variables that are no secrets of their own.
func (c *credentials) standForFiles(stand func(name string, shape credential.Shape)) {
	for _, f := range c.files {
		for variable := range f.variables {
			if name, shape := c.standsFor(f.Projection, variable); name == f.Source(variable) {
				stand(name, shape)
			}
		}
	}
}

// projectFiles shows those files, in the place of nothing at all. One that cannot be read stays hidden, and so do all where
// the sandbox may use no secrets.
func (p *plan) projectFiles(sb *state.Sandbox) error {
	if !sb.Lends() {
		return nil
	}
	c := p.credentials
	for n, f := range c.files {
		i := slices.IndexFunc(p.spec.Mounts, func(m sandbox.Mount) bool { return m.Kind == sandbox.MountHidden && m.Target == f.Path })
		if i < 0 {
			continue // it is below something that is hidden
		}
		if f.err != nil {
			p.notices = append(p.notices, fmt.Sprintf("%s is hidden: %v", f.Path, f.err))
			continue
		}
		text, err := f.Render(f.variables, func(variable string) string {
			name, _ := c.standsFor(f.Projection, variable)
			return c.stands.Placeholders[name]
		})
		if err != nil {
			return err
		}
		shown := filepath.Join(sb.Dir, state.ProjectedDir)
		if err := os.MkdirAll(shown, 0o755); err != nil {
			return err
		}
		name := fmt.Sprint(n)
		if err := state.WriteAtomic(shown, name, text); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(shown, name), 0o644); err != nil { // the agent may be another user
			return err
		}
		p.spec.Mounts[i] = sandbox.Mount{Kind: sandbox.MountBind, Source: filepath.Join(shown, name), Target: f.Path, ReadOnly: true}
	}
	return nil
}

// projectedEvery is how often it is looked whether such a file is still the one that is covered inside.
const projectedEvery = time.Second

// watchProjected tells when one of those files is replaced on the host, as most editors do when they save: the kernel then
// takes away what covers it inside, and the new one can be read until the next start.
func (s *supervisor) watchProjected(ctx context.Context) {
	covered := map[string]os.FileInfo{}
	for _, f := range s.plan.credentials.files {
		if info, err := os.Lstat(f.Path); err == nil {
			covered[f.Path] = info
		}
	}
	for len(covered) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(projectedEvery):
		}
		for path, before := range covered {
			if now, err := os.Lstat(path); err == nil && !os.SameFile(before, now) {
				delete(covered, path)
				text := fmt.Sprintf("%s was replaced, and can be read inside as it is: bailey restart %s, and change the secrets in it", path, s.sb.Name)
				s.notice(text)
				s.alert(&s.alerts.replaced, text)
				s.log.Warn("a file of variables was replaced", "path", path)
			}
		}
	}
}
