package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// In state.RestoringDir: what is put back; what it replaces; and that the first is whole.
const (
	incoming = "new"
	outgoing = "old"
	whole    = "whole"
)

// Restore gives a sandbox, which must not run, what the snapshot has. What the snapshot does not have stays as it is.
// A restore that is killed is finished by Finish once everything is copied, and forgotten before.
func Restore(ctx context.Context, b sandbox.Backend, sb *state.Sandbox, s Snapshot) error {
	if err := Finish(ctx, b, sb); err != nil {
		return err
	}
	dir := filepath.Join(sb.Dir, state.RestoringDir)
	fail := func(err error) error {
		return errors.Join(fmt.Errorf("cannot restore %s of %s: %w", s.Label, sb.Name, err), drop(ctx, b, sb, dir))
	}
	for _, d := range []string{incoming, outgoing} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return fail(err)
		}
	}
	from := filepath.Join(sb.Dir, state.SnapshotsDir, s.Label)
	if err := copyAll(ctx, b, sb, s.Trees, from, filepath.Join(dir, incoming)); err != nil {
		return fail(err)
	}
	if err := os.WriteFile(filepath.Join(dir, whole), nil, 0o600); err != nil {
		return fail(err)
	}
	return Finish(ctx, b, sb)
}

// copyAll copies the trees of a snapshot, and what is recorded of reviews.
func copyAll(ctx context.Context, b sandbox.Backend, sb *state.Sandbox, trees []string, from, to string) error {
	names := append([]string(nil), trees...)
	for _, p := range review.Places(sb) {
		names = append(names, filepath.Base(p.Dir))
	}
	for _, name := range present(from, names) {
		if _, err := b.Copy(ctx, filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// Finish ends a restore that was killed. The sandbox does not run.
func Finish(ctx context.Context, b sandbox.Backend, sb *state.Sandbox) error {
	dir := filepath.Join(sb.Dir, state.RestoringDir)
	if _, err := os.Lstat(filepath.Join(dir, whole)); errors.Is(err, fs.ErrNotExist) {
		return drop(ctx, b, sb, dir)
	}
	entries, err := os.ReadDir(filepath.Join(dir, incoming))
	if err != nil {
		return fmt.Errorf("cannot finish a restore: %w", err)
	}
	for _, e := range entries {
		now, old := filepath.Join(sb.Dir, e.Name()), filepath.Join(dir, outgoing, e.Name())
		if _, err := os.Lstat(old); errors.Is(err, fs.ErrNotExist) {
			if err := os.Rename(now, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot finish a restore: %w", err)
			}
		}
		if err := os.Rename(filepath.Join(dir, incoming, e.Name()), now); err != nil {
			return fmt.Errorf("cannot finish a restore: %w", err)
		}
	}
	// By now only old things are in it, which nobody needs to be deleted in one step.
	if err := os.Remove(filepath.Join(dir, whole)); err != nil {
		return err
	}
	return errors.Join(drop(ctx, b, sb, filepath.Join(dir, outgoing)), drop(ctx, b, sb, dir))
}

// Fork makes a sandbox called name of what sb has now or, with a snapshot, had then. Whoever works in it sees the same
// projects, and changes none of what sb has.
func Fork(ctx context.Context, b sandbox.Backend, store *state.Store, sb *state.Sandbox, s *Snapshot, name string) (*state.Sandbox, error) {
	record := sb.Record
	record.Name, record.Temporary = name, false
	record.Workspaces = append([]state.Workspace(nil), sb.Workspaces...)
	for i, ws := range record.Workspaces {
		if !ws.Review && !ws.ReadOnly {
			return nil, sandbox.WithHint(fmt.Errorf("cannot fork %s: it writes to %s itself, which both would", sb.Name, ws.Path), "make sandboxes with --review or --clone to fork them")
		}
		if ws.Clone != nil {
			clone := *ws.Clone
			clone.Branch += "-" + name
			record.Workspaces[i].Clone = &clone
		}
	}
	made, err := store.Create(record)
	if err != nil {
		return nil, err
	}
	from, names := sb.Dir, trees(sb)
	if s != nil {
		from, names = filepath.Join(sb.Dir, state.SnapshotsDir, s.Label), s.Trees
	}
	err = copyAll(ctx, b, sb, names, from, made.Dir)
	if s == nil && err == nil {
		err = forkBases(ctx, sb, made)
	}
	if err == nil {
		err = copyGrants(sb, made)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot fork %s: %w", sb.Name, err), b.Remove(ctx, made.Name, made.Dir), made.Remove())
	}
	return made, nil
}

// forkBases writes down what the copies have in common with the projects.
func forkBases(ctx context.Context, from, to *state.Sandbox) error {
	places, copies := review.Places(from), review.Places(to)
	for i, p := range places {
		if err := p.CopyBases(ctx, copies[i].Dir); err != nil {
			return err
		}
	}
	return nil
}

// copyGrants copies the rules that were given to a sandbox.
func copyGrants(from, to *state.Sandbox) error {
	data, err := os.ReadFile(filepath.Join(from.Dir, state.GrantsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return state.WriteAtomic(to.Dir, state.GrantsFile, data)
}
