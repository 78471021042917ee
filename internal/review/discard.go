package review

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// DiscardAll forgets everything that the agent has changed, its git state too. The sandbox must not run.
func (p Place) DiscardAll() error {
	for _, path := range []string{p.Layer, filepath.Join(p.Dir, basesFile), filepath.Join(p.Dir, shownFile)} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("cannot discard: %w", err)
		}
	}
	return nil
}

// Discard gives the sandbox the project's own files at the items' paths. The sandbox must not run: a layer does
// not change under a mounted overlay.
func (r *Review) Discard(items []Item) error {
	var gone, there []string
	for _, i := range items {
		switch {
		case i.From != "":
			gone, there = append(gone, i.From), append(there, i.Path)
		case i.New.Is():
			there = append(there, i.Path)
		default:
			gone = append(gone, i.Path)
		}
	}
	chosen := map[string]bool{}
	for _, i := range items {
		chosen[i.Path] = true
	}
	for dir, c := range r.dirs {
		left := slices.ContainsFunc(r.Items, func(i Item) bool { return i.in(dir) && !chosen[i.Path] })
		switch {
		case !slices.ContainsFunc(items, func(i Item) bool { return i.in(dir) }):
		case c.New.Is():
			there = append(there, dir)
		case !left:
			gone = append(gone, dir)
		}
	}
	// A directory that is gone comes back as a whole; one that is there goes when it is empty.
	slices.Sort(gone)
	slices.Sort(there)
	slices.Reverse(there)
	return r.restore(append(gone, there...))
}

// Settle takes files out of the layer that are still what was applied last, so that the sandbox sees the
// project's own, with whatever the user has made of them since. The sandbox must not run.
func (p Place) Settle(ctx context.Context) error {
	known, err := p.readBases()
	if err != nil || len(known) == 0 {
		return err
	}
	layer, err := beneath.OpenOne(p.upper())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer layer.Close()
	var settled []string
	for name, base := range known {
		if !changes.At(ctx, layer, name).Same(base.Entry) {
			continue
		}
		if above := goneAbove(layer, name); above != "" {
			// A directory went with what was in it. If the user has made it anew, what is in it stays hidden.
			if _, err := os.Lstat(filepath.Join(p.Project, above)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			settled = append(settled, above)
		}
		settled = append(settled, name)
		delete(known, name)
	}
	if err := p.restore(settled); err != nil {
		return err
	}
	data, err := encodeBases(known)
	if err != nil {
		return err
	}
	return state.WriteAtomic(p.Dir, basesFile, data)
}

// goneAbove is the directory above the path that the layer says is gone, "" if there is none.
func goneAbove(layer *beneath.Tree, name string) string {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := layer.Lstat(dir); err == nil && changes.Whiteout(info) {
			return dir
		}
	}
	return ""
}

// restore takes what the layer says of the paths out of it. Where a directory above hides the project's, taking
// out is not enough, and the project's file is put there.
func (p Place) restore(paths []string) error {
	layer, err := os.OpenRoot(p.upper())
	if err != nil {
		return fmt.Errorf("cannot discard: %w", err)
	}
	defer layer.Close()
	for _, name := range paths {
		err := layer.Remove(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENOTEMPTY) {
			err = nil // ENOTEMPTY: a directory in which something was not chosen
		}
		var hidden bool
		if err == nil {
			hidden, err = openUp(layer, path.Dir(name))
		}
		if err == nil && hidden {
			err = p.copyUp(layer, name)
		}
		if err != nil {
			return fmt.Errorf("cannot discard %q: %w", name, err)
		}
	}
	return nil
}

// openUp says whether a directory on the way to dir hides the project's, and turns one that is gone as a whole into
// one of which everything is gone.
func openUp(layer *os.Root, dir string) (hidden bool, err error) {
	if dir == "." {
		return false, nil
	}
	if hidden, err = openUp(layer, path.Dir(dir)); err != nil {
		return false, err
	}
	info, err := layer.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hidden, nil
	case err != nil:
		return false, err
	case changes.Whiteout(info):
		if err := layer.Remove(dir); err != nil {
			return false, err
		}
		if err := layer.Mkdir(dir, 0o755); err != nil {
			return false, err
		}
		if err := chownLike(layer, dir); err != nil {
			return false, err
		}
	case !info.IsDir():
		return false, fmt.Errorf("the agent has made %q something else than a directory: discard that too", dir)
	}
	d, err := layer.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	if changes.Whiteout(info) {
		return true, changes.MakeOpaque(d)
	}
	opaque, err := changes.Opaque(d)
	return hidden || opaque, err
}

// copyUp puts the project's entry into the layer.
func (p Place) copyUp(layer *os.Root, name string) error {
	project, err := os.OpenRoot(p.Project)
	if err != nil {
		return err
	}
	defer project.Close()
	info, err := project.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := layer.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		if err = layer.Mkdir(name, mode.Perm()); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	case mode&fs.ModeSymlink != 0:
		var text string
		if text, err = project.Readlink(name); err == nil {
			err = layer.Symlink(text, name)
		}
	case mode.IsRegular():
		err = copyFile(project, layer, name, mode.Perm())
	}
	if err != nil {
		return err
	}
	return chownLike(layer, name)
}

func copyFile(from, to *os.Root, name string, mode fs.FileMode) error {
	source, err := from.Open(name)
	if err != nil {
		return err
	}
	defer source.Close()
	f, err := to.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, source)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// chownLike gives what root has put into the layer to the sandbox's user, to whom the layer belongs.
func chownLike(layer *os.Root, name string) error {
	if os.Getuid() != 0 {
		return nil
	}
	info, err := layer.Stat(".")
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		err = layer.Lchown(name, int(st.Uid), int(st.Gid))
	}
	return err
}
