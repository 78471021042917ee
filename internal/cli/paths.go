package cli

import (
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/workspace"
)

// cutReadOnly splits the suffix ":ro" off. It always is one: who has a directory of that name writes a
// slash behind it.
func cutReadOnly(text string) (path string, readOnly bool) {
	return strings.CutSuffix(text, ":ro")
}

// workspaces resolves the PATH arguments, "." when there are none. mode says what becomes of what is written to them;
// with tighten, a project's own file can ask for a stricter one.
func (a *app) workspaces(paths []string, mode string, tighten bool) ([]state.Workspace, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	var all []state.Workspace
	for _, text := range paths {
		path, readOnly := cutReadOnly(text)
		resolved, err := workspace.Resolve(path, roots)
		if err != nil {
			return nil, err
		}
		ws := state.Workspace{Path: resolved, ReadOnly: readOnly}
		if !readOnly {
			if err := setMode(&ws, mode, tighten); err != nil {
				return nil, err
			}
		}
		all = append(all, ws)
	}
	return all, nil
}

// setMode gives a workspace its mode.
func setMode(ws *state.Workspace, mode string, tighten bool) error {
	if tighten {
		project, err := config.ReadProject(ws.Path)
		if err != nil {
			return err
		}
		if project != nil {
			mode = config.Stricter(mode, project.Workspace.Mode)
		}
	}
	switch mode {
	case "read-only":
		ws.ReadOnly = true
	case "clone":
		ws.Review, ws.Clone = true, &state.Clone{}
	case "review":
		ws.Review = true
	}
	return nil
}

// sameReview says whether the main workspaces of two sandboxes are under review in the same way, as far as want says.
func sameReview(have, want state.Record) bool {
	if len(have.Workspaces) == 0 || len(want.Workspaces) == 0 {
		return true
	}
	h, w := have.Workspaces[0], want.Workspaces[0]
	return h.Review == w.Review && (h.Clone != nil) == (w.Clone != nil) && (w.Clone == nil || w.Clone.Branch == "" || w.Clone.Branch == h.Clone.Branch)
}

// volumes resolves HOST[:GUEST][:ro]. Without GUEST the directory appears at its own path.
func (a *app) volumes(texts []string) ([]state.Volume, error) {
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	var all []state.Volume
	for _, text := range texts {
		rest, readOnly := cutReadOnly(text)
		host, guest, _ := strings.Cut(rest, ":")
		resolved, err := workspace.Resolve(host, roots)
		if err != nil {
			return nil, err
		}
		if guest == "" {
			guest = resolved
		}
		all = append(all, state.Volume{Host: resolved, Guest: filepath.Clean(guest), ReadOnly: readOnly})
	}
	return all, nil
}

// roots is what package workspace must know to refuse dangerous directories.
func (a *app) roots() (workspace.Roots, error) {
	dirs, err := state.Locate(a.getenv, uid())
	if err != nil {
		return workspace.Roots{}, err
	}
	return workspace.Roots{Home: a.getenv("HOME"), Own: []string{dirs.State, dirs.Data, dirs.Config}}, nil
}

// realPath is the absolute path without symbolic links.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}
