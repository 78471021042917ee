package review

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bailey-sandbox/bailey/internal/state"
)

const (
	shownFile = "shown.json"
	lockFile  = "lock"
	maxShown  = 1 << 30
)

// shown is what a human has seen.
type shown struct {
	Time time.Time         `json:"time"`
	Keys map[string]string `json:"keys"` // digest of path → key of the item
}

// Show notes that a human has seen items, and with all that there are no others.
func (r *Review) Show(items []Item, all bool) error {
	seen := shown{Keys: map[string]string{}}
	if !all {
		old, err := r.shown()
		if err != nil {
			return err
		}
		seen = old
	}
	seen.Time = time.Now().UTC()
	for _, i := range items {
		seen.Keys[digest([]byte(i.Path))] = i.key()
	}
	data, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	return state.WriteAtomic(r.Dir, shownFile, data)
}

// Unseen lists those of the items that no human has seen as they are now; never says that nothing was ever shown.
func (r *Review) Unseen(items []Item) (unseen []Item, never bool, err error) {
	seen, err := r.shown()
	if err != nil {
		return nil, false, err
	}
	for _, i := range items {
		if key := i.key(); key == "" || seen.Keys[digest([]byte(i.Path))] != key {
			unseen = append(unseen, i)
		}
	}
	return unseen, seen.Time.IsZero(), nil
}

func (r *Review) shown() (shown, error) {
	seen := shown{Keys: map[string]string{}}
	data, err := state.ReadLimited(filepath.Join(r.Dir, shownFile), maxShown)
	if errors.Is(err, fs.ErrNotExist) {
		return seen, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &seen)
	}
	if err != nil {
		return shown{}, fmt.Errorf("cannot read what was shown: %w", err)
	}
	return seen, nil
}

// Lock makes p.Dir and keeps everybody else from applying and discarding until it is closed.
func (p Place) Lock() (*os.File, error) {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the review's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(p.Dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the review: %w", err)
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
