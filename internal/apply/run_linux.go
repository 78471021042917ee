package apply

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const (
	journalFile = "journal"
	slotsDir    = "slots"
	// Where the target is another file system, the slots are in it and this file says where.
	elsewhereFile = "elsewhere"
	slotsPrefix   = ".bailey-apply-"
	maxJournal    = 1 << 30
)

// journal is what an apply under way is about. That it is there means that every slot is filled and on the disk.
type journal struct {
	Target []byte `json:"target"`
	Slots  []byte `json:"slots"` // where the slots are
	Steps  []step `json:"steps"`
}

// Run applies ops. The directory dir is the apply's own, on the host, out of every sandbox's reach; nobody else
// uses it meanwhile. When target is another file system, the slots are in a directory in target until the end.
// The error is a *ConflictError when something is not as Old says; wraps ErrInterrupted when a Recover is needed;
// after any other nothing has changed. Cancelling ctx has an effect until the first path changes.
func Run(ctx context.Context, dir string, target Target, ops []Op) error {
	steps, err := plan(ops)
	if err != nil || len(steps) == 0 {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, journalFile)); err == nil {
		return ErrInterrupted
	}
	j := journal{Target: []byte(target.Dir), Steps: steps}
	slots, err := makeSlots(dir, target.Dir)
	if err != nil {
		return err
	}
	j.Slots = []byte(slots)
	a, err := open(j)
	if err != nil {
		return errors.Join(err, removeSlots(dir))
	}
	defer a.close()
	if err := a.stage(ctx, target, ops); err != nil {
		return errors.Join(err, removeSlots(dir))
	}
	if err := failpoint.Hit("apply.staged"); err != nil {
		return errors.Join(err, removeSlots(dir))
	}
	if err := writeJournal(dir, j); err != nil {
		return errors.Join(err, removeSlots(dir))
	}
	if err := failpoint.Hit("apply.journaled"); err != nil {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return a.finish(dir)
}

// Recover finishes what a Run in dir has left halfway, or undoes it when it cannot be finished: the error is
// then a *ConflictError. It does nothing when there is nothing to do; did says whether there was.
func Recover(dir string) (did bool, err error) {
	data, err := os.ReadFile(filepath.Join(dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, removeSlots(dir) // nothing had begun
	}
	if err != nil {
		return false, fmt.Errorf("cannot read what was applied: %w", err)
	}
	var j journal
	if err := json.Unmarshal(data, &j); err != nil {
		return false, fmt.Errorf("cannot read what was applied: %w", err)
	}
	a, err := open(j)
	if err != nil {
		return false, err
	}
	defer a.close()
	return true, a.finish(dir)
}

func writeJournal(dir string, j journal) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if len(data) > maxJournal {
		return fmt.Errorf("cannot apply so much at once: %d changes", len(j.Steps))
	}
	temp := filepath.Join(dir, "."+journalFile)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, filepath.Join(dir, journalFile))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot note what is applied: %w", errors.Join(err, os.Remove(temp)))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// makeSlots makes the directory for what comes and goes, on the target's own mount, for only there can the
// kernel exchange two files.
func makeSlots(dir, target string) (string, error) {
	if err := removeSlots(dir); err != nil {
		return "", err
	}
	one, err := sameMount(dir, target)
	if err != nil {
		return "", err
	}
	slots := filepath.Join(dir, slotsDir)
	if !one {
		slots = filepath.Join(target, slotsPrefix+rand.Text())
		if err := os.WriteFile(filepath.Join(dir, elsewhereFile), []byte(slots), 0o600); err != nil {
			return "", err
		}
	}
	return slots, os.Mkdir(slots, 0o700)
}

// removeSlots removes what an apply has left that was killed before it began, wherever its slots are.
func removeSlots(dir string) error {
	note := filepath.Join(dir, elsewhereFile)
	slots, err := os.ReadFile(note)
	if err == nil && strings.HasPrefix(filepath.Base(string(slots)), slotsPrefix) {
		err = errors.Join(os.RemoveAll(string(slots)), os.Remove(note))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, slotsDir))
}

func sameMount(a, b string) (bool, error) {
	var at, bt unix.Statx_t
	const want = unix.STATX_MNT_ID | unix.STATX_INO
	if err := errors.Join(unix.Statx(unix.AT_FDCWD, a, 0, want, &at), unix.Statx(unix.AT_FDCWD, b, 0, want, &bt)); err != nil {
		return false, err
	}
	return at.Mnt_id == bt.Mnt_id && at.Dev_major == bt.Dev_major && at.Dev_minor == bt.Dev_minor, nil
}

// applier has the directories open that an apply works in.
type applier struct {
	journal
	target, slots *os.File
	parent        *os.File // of the last path
	parentPath    string
}

func open(j journal) (*applier, error) {
	a := &applier{journal: j}
	var err error
	if a.target, err = openDir(string(j.Target)); err != nil {
		return nil, fmt.Errorf("cannot apply to %s: %w", j.Target, err)
	}
	if a.slots, err = openDir(string(j.Slots)); err != nil {
		a.close()
		return nil, fmt.Errorf("cannot apply: %w", err)
	}
	return a, nil
}

func (a *applier) close() {
	for _, f := range []*os.File{a.target, a.slots, a.parent} {
		if f != nil {
			f.Close()
		}
	}
}

func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// stage fills the slots with what comes.
func (a *applier) stage(ctx context.Context, target Target, ops []Op) error {
	for i, op := range ops {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		slot := fmt.Sprint(i)
		switch op.New.Kind {
		case changes.File:
			err = a.stageFile(slot, op)
		case changes.Link:
			err = unix.Symlinkat(op.New.Target, int(a.slots.Fd()), slot)
		default:
			continue
		}
		if err == nil && os.Getuid() == 0 {
			err = unix.Fchownat(int(a.slots.Fd()), slot, target.UID, target.GID, unix.AT_SYMLINK_NOFOLLOW)
		}
		var conflict *ConflictError
		if err != nil && !errors.As(err, &conflict) {
			err = fmt.Errorf("cannot write what %q becomes: %w", op.Path, err)
		}
		if err != nil {
			return err
		}
	}
	return unix.Syncfs(int(a.slots.Fd()))
}

func (a *applier) stageFile(slot string, op Op) error {
	content, err := op.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	fd, err := unix.Openat(int(a.slots.Fd()), slot, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), slot)
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, hash), content); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != op.New.Digest {
		return &ConflictError{op.Path, "has changed in the sandbox since it was shown"}
	}
	return f.Chmod(fs.FileMode(op.New.Mode & 0o777)) // never set-id
}

// finish takes every step that has not been taken, or undoes all of them.
func (a *applier) finish(dir string) error {
	for i, s := range a.Steps {
		err := a.do(s)
		if err == nil {
			err = failpoint.Hit("apply.step")
		}
		if err == nil {
			continue
		}
		kept, undoErr := a.undo(a.Steps[:i+1])
		if undoErr != nil {
			return fmt.Errorf("%w, after %w: %w", ErrInterrupted, err, undoErr)
		}
		if len(kept) > 0 {
			err = fmt.Errorf("%w; %q was edited meanwhile, and keeps what was applied with that edit", err, kept)
		}
		return errors.Join(err, a.end(dir))
	}
	if err := failpoint.Hit("apply.done"); err != nil {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return a.end(dir)
}

// end makes what is there durable, and forgets how it came about.
func (a *applier) end(dir string) error {
	if err := unix.Syncfs(int(a.target.Fd())); err != nil {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	if err := os.Remove(filepath.Join(dir, journalFile)); err != nil {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return errors.Join(syncDir(dir), removeSlots(dir))
}

// hintExchange explains the one thing that a file system may lack.
func hintExchange(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return sandbox.WithHint(fmt.Errorf("the project's file system cannot exchange two files: %w", err),
			"export the changes instead: bailey apply --patch FILE")
	}
	return err
}
