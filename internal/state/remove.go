package state

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LeftoverError says what could not be deleted. The sandbox is gone as far as anybody sees; Dir is what
// remains of its files. Foreign paths belong to other user ids, such as those that the backend maps into
// the sandbox: the backend can delete them, and the next Sweep the rest.
type LeftoverError struct {
	Dir     string
	Foreign []string // at most a few, as examples
	Err     error
}

func (e *LeftoverError) Error() string {
	if len(e.Foreign) > 0 {
		return fmt.Sprintf("cannot delete all of %s: %s belongs to another user id", e.Dir, e.Foreign[0])
	}
	return fmt.Sprintf("cannot delete all of %s: %v", e.Dir, e.Err)
}

func (e *LeftoverError) Unwrap() error { return e.Err }

// Remove deletes the sandbox with all its files. It takes the lock unless this value has it, and fails
// with ErrLocked when another has; afterwards nobody holds it. The name is free as soon as the first step
// is done, and a crash after that leaves work for Sweep, never half a sandbox. Links are not followed. A
// *LeftoverError says that the name is free but not every file is gone.
func (sb *Sandbox) Remove() error {
	if sb.lock == nil {
		if _, err := sb.TryLock(); err != nil {
			return err
		}
	}
	defer sb.lock.Unlock()
	root := filepath.Dir(sb.Dir)
	// Nothing but a rename, which also works on a full disk.
	aside := filepath.Join(root, removedPrefix+sb.Name+"-"+rand.Text())
	if err := os.Rename(sb.Dir, aside); err != nil {
		return explain(fmt.Errorf("cannot remove the sandbox %s: %w", sb.Name, err), root)
	}
	err := sb.store.step("state.aside")
	if err == nil && !sb.Temporary {
		err = syncDir(root)
	}
	if err != nil {
		err = fmt.Errorf("cannot remove the sandbox %s for good: %w", sb.Name, err)
	}
	return errors.Join(err, removeTree(aside))
}

// Sweep deletes what killed Creates and Removes left behind, and touches no sandbox. The error joins a
// *LeftoverError for each directory that it could not delete.
func (s *Store) Sweep() error {
	unlock, err := s.lockStore()
	if err != nil {
		return err
	}
	defer unlock()
	found, err := os.ReadDir(s.root)
	if err != nil {
		return fmt.Errorf("cannot sweep: %w", err)
	}
	var errs []error
	for _, f := range found {
		if strings.HasPrefix(f.Name(), newPrefix) || strings.HasPrefix(f.Name(), removedPrefix) {
			errs = append(errs, removeTree(filepath.Join(s.root, f.Name())))
		}
	}
	return errors.Join(errs...)
}

// removeTree deletes dir. Directories without permissions, such as an overlay's work directory, are
// opened up first; os.Root keeps even that inside of dir, whatever links the sandbox made.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	left := &LeftoverError{Dir: dir, Err: err}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else has deleted it meanwhile
	}
	if err != nil {
		return left
	}
	defer root.Close()
	uid := os.Geteuid()
	_ = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // reported by the second RemoveAll
		}
		info, err := d.Info()
		if err == nil && owner(info) != uid && len(left.Foreign) < 5 {
			left.Foreign = append(left.Foreign, filepath.Join(dir, path))
		}
		if d.IsDir() {
			_ = root.Chmod(path, 0o700)
		}
		return nil
	})
	if left.Err = os.RemoveAll(dir); left.Err == nil {
		return nil
	}
	return left
}
