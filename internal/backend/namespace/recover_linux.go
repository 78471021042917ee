package namespace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/cgroup"
	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// machineLock, in the machine's directory, is locked by the supervisor while it starts the machine and by the
// machine's first process for as long as that lives. An overlay must never be used by two machines.
const machineLock = "machine.lock"

// lockWait bounds how long a start waits for the previous machine to be gone. Unmounting its overlays writes out
// what the file system has not written yet, which a busy disk takes long for. A machine whose supervisor
// died ends by itself, within moments.
const lockWait = 30 * time.Second

func lockMachine(ctx context.Context, dir string) (*os.File, error) {
	return lockFile(ctx, filepath.Join(dir, machineLock))
}

// lockFile opens the file at path, which is made when it is not there, and waits for its lock.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the machine's lock: %w", err)
	}
	deadline := time.Now().Add(lockWait)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("the sandbox's previous machine has not ended (%s is locked): %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Recover implements sandbox.Backend. A machine ends with its supervisor: its namespaces, mounts and links
// are the kernel's to remove. What may stay behind is its cgroup.
func (b *Backend) Recover(ctx context.Context, name, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return cgroup.Clean(groupName(name, dir))
	}
	lock, err := lockMachine(ctx, dir)
	if err != nil {
		return err
	}
	lock.Close()
	return cgroup.Clean(groupName(name, dir))
}

// groupName is what a machine's control groups are called. They are the whole host's, while names of sandboxes are
// unique in one state directory only.
func groupName(name, dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return name + "-" + hex.EncodeToString(sum[:4])
}

// Remove implements sandbox.Backend.
func (b *Backend) Remove(ctx context.Context, name, dir string) error {
	if err := b.Recover(ctx, name, dir); err != nil {
		return err
	}
	trees, err := ownedTrees(dir)
	if err != nil {
		return err
	}
	ids := mapIDs(sandbox.User{UID: os.Getuid(), GID: os.Getgid()})
	if err := failpoint.Hit("machine.remove"); err != nil {
		return err
	}
	if !ids.helper {
		return removeTrees(trees)
	}
	// Files of subordinate ids can be removed only where those ids are mapped.
	return b.removeMapped(ids, trees)
}

// ownedTrees lists the directories of a machine whose contents belong to ids of the inside.
func ownedTrees(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var trees []string
	for _, e := range entries {
		if e.IsDir() {
			trees = append(trees, filepath.Join(dir, e.Name()))
		}
	}
	return trees, err
}

// removeTrees deletes directories that may contain some without permission bits, as overlay leaves them.
// os.RemoveAll follows no link.
func removeTrees(trees []string) error {
	var all error
	for _, t := range trees {
		err := os.RemoveAll(t)
		if errors.Is(err, fs.ErrPermission) {
			err = errors.Join(openUp(t), os.RemoveAll(t))
		}
		all = errors.Join(all, err)
	}
	return all
}

// openUp gives every directory below root its owner's permissions back.
func openUp(root string) error {
	top, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer top.Close()
	var walk func(dir string) error
	walk = func(dir string) error {
		if err := top.Chmod(dir, 0o700); err != nil {
			return err
		}
		f, err := top.Open(dir)
		if err != nil {
			return err
		}
		entries, err := f.ReadDir(-1)
		f.Close()
		for _, e := range entries {
			if e.IsDir() {
				err = errors.Join(err, walk(filepath.Join(dir, e.Name())))
			}
		}
		return err
	}
	return walk(".")
}

func (b *Backend) removeMapped(ids mappings, trees []string) error {
	if _, err := b.runMapped(context.Background(), ids, append([]string{stageRemove}, trees...)...); err != nil {
		return fmt.Errorf("cannot remove the sandbox's layers: %w", err)
	}
	return nil
}

// runMapped runs this binary as a process that may do with files of every id in ids what their owners may, and returns
// what it prints.
func (b *Backend) runMapped(ctx context.Context, ids mappings, args ...string) (string, error) {
	gate, open, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer open.Close()
	cmd := exec.CommandContext(ctx, b.self, append([]string{Child}, args...)...)
	cmd.Env = failpoint.Environ()
	cmd.ExtraFiles = []*os.File{gate}
	var out, told strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &told
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		AmbientCaps: []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_CHOWN},
	}
	if !ids.helper {
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids.uids, ids.gids
	}
	if err := cmd.Start(); err != nil {
		gate.Close()
		return "", err
	}
	gate.Close()
	if ids.helper {
		if err := ids.writeWithHelpers(cmd.Process.Pid); err != nil {
			return "", errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
	}
	open.Close()
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(told.String()))
	}
	return out.String(), nil
}

// awaitMapped waits until the ids of this process's user namespace are mapped: its parent then closes descriptor 3.
func awaitMapped() error {
	_, err := io.ReadAll(os.NewFile(3, "gate"))
	return err
}

// removeMain is removeMapped's other end.
func removeMain(trees []string) int {
	if err := errors.Join(awaitMapped(), removeTrees(trees), failpoint.Hit("remove.mapped")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// treeStats adds up the processes below pid, from the host's /proc.
func treeStats(pid int) (sandbox.Stats, error) {
	procs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return sandbox.Stats{}, err
	}
	type process struct {
		parent, ticks, pages int
	}
	all := map[int]process{}
	for _, p := range procs {
		b, err := os.ReadFile(p)
		if err != nil {
			continue // it has ended
		}
		// proc(5): the name in parentheses may contain anything; fields count from behind it.
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 22 {
			continue
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		field := func(n int) int { v, _ := strconv.Atoi(f[n-3]); return v }
		all[id] = process{parent: field(4), ticks: field(14) + field(15) + field(16) + field(17), pages: field(24)}
	}
	var s sandbox.Stats
	for id, p := range all {
		for up := id; up > 1; up = all[up].parent {
			if up == pid {
				s.Processes++
				s.CPU += time.Duration(p.ticks) * (time.Second / 100)
				s.Memory += int64(p.pages * os.Getpagesize())
				break
			}
		}
	}
	return s, nil
}
