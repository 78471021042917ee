package review

import (
	"path/filepath"

	"github.com/bailey-sandbox/bailey/internal/state"
)

// Places are the workspaces of a sandbox that are under review.
func Places(sb *state.Sandbox) (all []Place) {
	for n, ws := range sb.Workspaces {
		if !ws.Review {
			continue
		}
		p := Place{
			Path: ws.Path, Project: ws.Path, Layer: filepath.Join(sb.Dir, state.LayerDir(n)), Dir: filepath.Join(sb.Dir, state.ReviewDir(n)), Since: sb.Created,
		}
		if ws.Clone != nil {
			p.Project, p.Branch, p.Base = filepath.Join(sb.Dir, state.CloneDir(n)), ws.Clone.Branch, ws.Clone.Base
		}
		all = append(all, p)
	}
	return all
}
