// Package snapshot keeps what a sandbox has written as it was at one moment: its changes to projects under review, its
// part of the system, and its home with the agent's state; puts it back, and makes further sandboxes of it. Nothing
// of a project itself is in a snapshot. Its callers see to it that nothing inside changes meanwhile.
package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// Snapshot is one, as it is described on disk.
type Snapshot struct {
	Label string    `json:"label"`
	Time  time.Time `json:"time"`
	Why   string    `json:"why,omitempty"` // what bailey took it for; "" for the user's own
	Size  int64     `json:"size_bytes"`
	Trees []string  `json:"trees"` // names in the sandbox's directory
}

const (
	describedBy = "snapshot.json"
	newPrefix   = ".new-"
	maxDescribe = 1 << 20
	// maxAuto bounds the changes, in bytes, that are copied without having been asked for, and keptAuto how many
	// such copies there are.
	maxAuto  = 64 << 20
	keptAuto = 5
)

// trees are what a sandbox keeps of what was written in it.
func trees(sb *state.Sandbox) (all []string) {
	all = []string{state.LayersDir, state.HomeDir}
	for n, ws := range sb.Workspaces {
		if ws.Review {
			all = append(all, state.LayerDir(n), state.LayerDir(n)+"-git")
		}
		if ws.Clone != nil {
			all = append(all, state.CloneDir(n))
		}
	}
	return present(sb.Dir, all)
}

func present(dir string, names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return err != nil
	})
}

// Take makes a snapshot called label.
func Take(ctx context.Context, b sandbox.Backend, sb *state.Sandbox, label string) (Snapshot, error) {
	return take(ctx, b, sb, Snapshot{Label: label, Trees: trees(sb)})
}

// Auto makes one of the changes to projects alone, because of why, if there are any and they are not large, and
// removes the oldest of its kind.
func Auto(ctx context.Context, b sandbox.Backend, sb *state.Sandbox, why string) error {
	var names []string
	for n, ws := range sb.Workspaces {
		if ws.Review {
			names = append(names, state.LayerDir(n))
		}
	}
	names = present(sb.Dir, names)
	var size int64
	for _, name := range names {
		n, err := treeSize(filepath.Join(sb.Dir, name, "upper"))
		if err != nil {
			return err
		}
		size += n
	}
	if size == 0 || size > maxAuto {
		return nil
	}
	now := time.Now()
	label := fmt.Sprintf("auto-%s-%03d", now.Format("20060102-150405"), now.Nanosecond()/1e6)
	if _, err := take(ctx, b, sb, Snapshot{Label: label, Why: why, Trees: names}); err != nil {
		return err
	}
	all, err := List(sb)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(s Snapshot) bool { return s.Why == "" })
	for len(all) > keptAuto {
		if err := Remove(ctx, b, sb, all[0].Label); err != nil {
			return err
		}
		all = all[1:]
	}
	return nil
}

// treeSize counts the bytes of what can be read, up to what is too much, and one for each name.
func treeSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return nil
		}
		size++
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		if size > maxAuto {
			return fs.SkipAll
		}
		return nil
	})
	return size, err
}

func take(ctx context.Context, b sandbox.Backend, sb *state.Sandbox, s Snapshot) (Snapshot, error) {
	if err := sandbox.CheckName(s.Label); err != nil {
		return Snapshot{}, fmt.Errorf("cannot call a snapshot so: %w", err)
	}
	all := filepath.Join(sb.Dir, state.SnapshotsDir)
	final, temp := filepath.Join(all, s.Label), filepath.Join(all, newPrefix+s.Label)
	if _, err := os.Lstat(final); err == nil {
		return Snapshot{}, sandbox.WithHint(fmt.Errorf("%s has a snapshot called %s", sb.Name, s.Label), "bailey snapshot rm "+sb.Name+" "+s.Label)
	}
	fail := func(err error) (Snapshot, error) {
		return Snapshot{}, errors.Join(fmt.Errorf("cannot take a snapshot of %s: %w", sb.Name, err), drop(ctx, b, sb, temp))
	}
	if err := drop(ctx, b, sb, temp); err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return fail(err)
	}
	for _, name := range s.Trees {
		size, err := b.Copy(ctx, filepath.Join(sb.Dir, name), filepath.Join(temp, name))
		if err != nil {
			return fail(err)
		}
		s.Size += size
	}
	for _, p := range review.Places(sb) {
		if err := p.CopyBases(ctx, filepath.Join(temp, filepath.Base(p.Dir))); err != nil {
			return fail(err)
		}
	}
	s.Time = time.Now().UTC()
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = state.WriteAtomic(temp, describedBy, data)
	}
	if err == nil {
		err = os.Rename(temp, final)
	}
	if err != nil {
		return fail(err)
	}
	return s, nil
}

// drop deletes a directory with copies, whatever ids they belong to.
func drop(ctx context.Context, b sandbox.Backend, sb *state.Sandbox, dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(b.Remove(ctx, sb.Name, dir), os.RemoveAll(dir))
}

// List is every snapshot of a sandbox, the oldest first.
func List(sb *state.Sandbox) ([]Snapshot, error) {
	dir := filepath.Join(sb.Dir, state.SnapshotsDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the snapshots of %s: %w", sb.Name, err)
	}
	var all []Snapshot
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) {
			continue // under way, or killed: the next of that name removes it
		}
		data, err := state.ReadLimited(filepath.Join(dir, e.Name(), describedBy), maxDescribe)
		var s Snapshot
		if err == nil {
			err = json.Unmarshal(data, &s)
		}
		if err != nil || s.Label != e.Name() {
			return nil, fmt.Errorf("cannot read the snapshot %s of %s: %w", e.Name(), sb.Name, err)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Snapshot) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// Find is the snapshot called label, the latest when that is "".
func Find(sb *state.Sandbox, label string) (Snapshot, error) {
	all, err := List(sb)
	if err != nil {
		return Snapshot{}, err
	}
	for _, s := range slices.Backward(all) {
		if label == "" || s.Label == label {
			return s, nil
		}
	}
	if label == "" {
		return Snapshot{}, sandbox.WithHint(fmt.Errorf("%s has no snapshot", sb.Name), "bailey snapshot "+sb.Name)
	}
	return Snapshot{}, sandbox.WithHint(fmt.Errorf("%s has no snapshot called %s", sb.Name, label), "bailey snapshot ls "+sb.Name)
}

// Remove deletes the snapshot called label.
func Remove(ctx context.Context, b sandbox.Backend, sb *state.Sandbox, label string) error {
	s, err := Find(sb, label)
	if err != nil {
		return err
	}
	all := filepath.Join(sb.Dir, state.SnapshotsDir)
	temp := filepath.Join(all, newPrefix+s.Label)
	if err := errors.Join(drop(ctx, b, sb, temp), os.Rename(filepath.Join(all, s.Label), temp)); err != nil {
		return fmt.Errorf("cannot remove the snapshot %s: %w", s.Label, err)
	}
	return drop(ctx, b, sb, temp)
}
