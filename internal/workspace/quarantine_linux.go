package workspace

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// quarantine is the directory, out of every sandbox's sight, for what may not stay in a workspace. It is safe
// for concurrent use.
type quarantine struct {
	dir   *os.File
	count atomic.Int64
}

func openQuarantine(path string) (*quarantine, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot guard the workspace: %w", err)
	}
	return &quarantine{dir: dir}, nil
}

func (q *quarantine) Close() error { return q.dir.Close() }

// maxTries bounds how often an agent can make a move fail.
const maxTries = 100

// take moves the name in the directory from here, whatever it is. From another file system nothing can be moved;
// there it only gets another name beside the old one, under which nobody executes it.
func (q *quarantine) take(from *os.File, name string) Hit {
	path := filepath.Join(from.Name(), name)
	var err error
	for range maxTries {
		n := q.count.Add(1)
		stamp := fmt.Sprintf("%s-%d", time.Now().UTC().Format("20060102T150405.000"), n)
		to := stamp + "-" + strings.TrimLeft(name, ".")
		moved := filepath.Join(q.dir.Name(), to)
		err = unix.Renameat2(int(from.Fd()), name, int(q.dir.Fd()), to, unix.RENAME_NOREPLACE)
		if err == unix.EXDEV {
			to = name + ".quarantined-" + stamp
			moved = filepath.Join(from.Name(), to)
			err = unix.Renameat2(int(from.Fd()), name, int(from.Fd()), to, unix.RENAME_NOREPLACE)
		}
		switch err {
		case nil:
			return Hit{Kind: HitMoved, Path: path, MovedTo: moved}
		case unix.EEXIST:
		case unix.EACCES:
			// The agent may have made the directory, or the one in it, read-only to its owner.
			regain(from)
			allow(int(from.Fd()), name)
		default:
			return Hit{Kind: HitLeft, Path: path, Err: fmt.Errorf("cannot move %s away: %w", path, err)}
		}
	}
	return Hit{Kind: HitLeft, Path: path, Err: fmt.Errorf("cannot move %s away: %w", path, err)}
}
