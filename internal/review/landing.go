package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bailey-sandbox/bailey/internal/beneath"
	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/state"
)

const landingFile = "landing.json"

// Landing is a commit that is owed for what is applied. It is written down before that, so that it is made also
// when bailey is killed in between.
type Landing struct {
	Message string   `json:"message"`
	Files   []Landed `json:"files"`
}

// Landed is one file of it, as the project has it then; nothing for one that is removed.
type Landed struct {
	Path []byte `json:"path"`
	changes.Entry
}

// Owe writes down that choices, once they are applied, are to be committed.
func (r *Review) Owe(message string, choices []Choice) error {
	l := Landing{Message: message}
	for _, c := range choices {
		now, _, err := r.chosen(c)
		if err != nil {
			return err
		}
		if c.Item.From != "" {
			l.Files = append(l.Files, Landed{Path: []byte(c.Item.From)})
		}
		if now.Kind != changes.Dir && (now.Is() || c.Item.Old.Kind != changes.Dir) { // git knows no directories
			l.Files = append(l.Files, Landed{[]byte(c.Item.Path), now})
		}
	}
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return state.WriteAtomic(r.Dir, landingFile, data)
}

// Owed is the commit that is owed, nil when there is none.
func (p Place) Owed() (*Landing, error) {
	data, err := state.ReadLimited(filepath.Join(p.Dir, landingFile), maxShown)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var l Landing
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what is to be committed: %w", err)
	}
	return &l, nil
}

// Paid forgets what was owed.
func (p Place) Paid() error {
	err := os.Remove(filepath.Join(p.Dir, landingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// OpenLanded opens a file as it was applied, and fails if it is not that any more.
func (p Place) OpenLanded(ctx context.Context, l Landed) (io.ReadCloser, int64, error) {
	tree, err := beneath.OpenOne(p.Project)
	if err != nil {
		return nil, 0, err
	}
	defer tree.Close()
	name := string(l.Path)
	if !changes.At(ctx, tree, name).Same(l.Entry) {
		return nil, 0, fmt.Errorf("%q has changed since it was applied", name)
	}
	f, err := tree.Open(name)
	return f, l.Size, err
}
