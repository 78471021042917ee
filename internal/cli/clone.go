package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bailey-sandbox/bailey/internal/gitcommit"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// makeClones makes the clones of a sandbox that was just created. Nothing has ever run in it, so the user's git may.
func (a *app) makeClones(ctx context.Context, sb *state.Sandbox) error {
	record := sb.Record
	changed := false
	for n, ws := range record.Workspaces {
		if ws.Clone == nil {
			continue
		}
		repository, err := gitcommit.Open(ctx, ws.Path, a.cfg.Environ)
		if err != nil {
			return err
		}
		branch := ws.Clone.Branch
		if branch == "" {
			branch = fmt.Sprintf("bailey/%s-%s", sb.Name, time.Now().Format("20060102-150405"))
		}
		clone, err := repository.MakeClone(ctx, filepath.Join(sb.Dir, state.CloneDir(n)), branch, state.CloneObjects(n))
		if err != nil {
			return err
		}
		record.Workspaces[n].Clone = &state.Clone{Branch: branch, Base: clone.Base, Objects: clone.Objects}
		changed = true
	}
	if !changed {
		return nil
	}
	return sb.Save(record)
}
