package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/gitcommit"
	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// mayLand says whether what is applied could be committed.
func (a *app) mayLand(ctx context.Context, p review.Place) error {
	repository, err := gitcommit.Open(ctx, p.Path, a.cfg.Environ)
	if err != nil {
		return err
	}
	return repository.Check(ctx, p.Branch)
}

// land makes the commit that is owed, and returns its name.
func (a *app) land(ctx context.Context, p review.Place) (string, error) {
	owed, err := p.Owed()
	if err != nil || owed == nil {
		return "", err
	}
	repository, err := gitcommit.Open(ctx, p.Path, a.cfg.Environ)
	if err != nil {
		return "", err
	}
	var files []gitcommit.File
	var paths []string
	for _, l := range owed.Files {
		f := gitcommit.File{Path: string(l.Path)}
		switch l.Kind {
		case changes.Link:
			f.Mode = "120000"
			f.Open = func() (io.ReadCloser, int64, error) {
				return io.NopCloser(strings.NewReader(l.Target)), int64(len(l.Target)), nil
			}
		case changes.File:
			f.Mode = "100644"
			if l.Mode&0o100 != 0 {
				f.Mode = "100755"
			}
			f.Open = func() (io.ReadCloser, int64, error) { return p.OpenLanded(ctx, l) }
			paths = append(paths, f.Path)
		}
		files = append(files, f)
	}
	filtered, err := repository.Filtered(ctx, paths)
	if err != nil {
		return "", err
	}
	if len(filtered) > 0 {
		dir := filepath.Clean(p.Project)
		return "", sandbox.WithHint(fmt.Errorf("it is applied and not committed: git stores %q through a filter, such as that of LFS", filtered[0]),
			"git -C "+dir+" add -A && git -C "+dir+" commit")
	}
	var commit string
	if p.Branch != "" {
		commit, err = repository.CommitTo(ctx, p.Branch, p.Base, owed.Message, files)
	} else {
		commit, err = repository.Commit(ctx, owed.Message, files)
	}
	if err != nil {
		return "", err
	}
	return commit, p.Paid()
}
