package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// tag is what a dist-tag last meant: a version that was in the cache then.
type tag struct {
	Version string    `json:"version"`
	Checked time.Time `json:"checked"`
}

// tags reads tags.json. It is a cache: what cannot be read is as good as missing.
func (s Store) tags(a Agent) map[string]tag {
	var tags map[string]tag
	data, err := os.ReadFile(filepath.Join(s.packageDir(a), "tags.json"))
	if err != nil || json.Unmarshal(data, &tags) != nil {
		return nil
	}
	return tags
}

// setTag writes tags.json. The lock is held.
func (s Store) setTag(a Agent, name string, t tag) error {
	tags := s.tags(a)
	if tags == nil {
		tags = map[string]tag{}
	}
	tags[name] = t
	data, err := json.MarshalIndent(tags, "", "\t")
	if err != nil {
		return err
	}
	path := filepath.Join(s.packageDir(a), "tags.json")
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write to the agent cache: %w", err)
	}
	return os.Rename(path+".new", path)
}

// lock waits for the file lock at path, which is made when missing. It ends with the process.
func lock(ctx context.Context, path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the agent cache: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond) // flock(2) itself cannot be cancelled
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("cannot lock the agent cache: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cannot lock the agent cache: %w", ctx.Err())
		}
	}
}
