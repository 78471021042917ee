package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Files of one sandbox that this package writes, besides those that package state names.
const (
	// SessionsDir holds what sessions printed.
	SessionsDir = "sessions"
	// AgentLog is the agent's output as it came, control sequences included: escape it before showing.
	AgentLog = "agent.log"
	// PreviousSuffix marks the older half of a log that has grown full.
	PreviousSuffix = ".1"
	// maxAgentLog is the size in bytes at which AgentLog becomes the older half.
	maxAgentLog = 8 << 20
)

// rotating is a log file that is renamed to its PreviousSuffix when it is full, so that both together
// never exceed twice the limit. Write may be called from several goroutines.
type rotating struct {
	mu    sync.Mutex
	path  string
	limit int64
	size  int64
	file  *os.File
}

func openRotating(dir, name string, limit int64) (*rotating, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot create %s: %w", dir, err)
	}
	r := &rotating{path: filepath.Join(dir, name), limit: limit}
	return r, r.open()
}

func (r *rotating) open() error {
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("cannot open the log: %w", err)
	}
	r.file, r.size = f, info.Size()
	return nil
}

func (r *rotating) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size > 0 && r.size+int64(len(p)) > r.limit {
		if err := r.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	return n, err
}

func (r *rotating) rotate() error {
	if err := os.Rename(r.path, r.path+PreviousSuffix); err != nil {
		return fmt.Errorf("cannot rotate the log: %w", err)
	}
	_ = r.file.Close()
	return r.open()
}

func (r *rotating) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file.Close()
}
