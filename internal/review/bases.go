package review

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/state"
)

const (
	basesFile = "bases.jsonl"
	// maxBase bounds the content that is kept of one file, and maxBases what is read of all, in bytes.
	maxBase  = 256 << 10
	maxBases = 256 << 20
)

// record is what project and layer had in common at a path when it was last applied: the ancestor of both.
type record struct {
	changes.Entry
	Content []byte `json:"content,omitempty"` // of a text that is not large; nil when it is not known
}

type bases map[string]record

// line is a record on disk: names need not be text.
type line struct {
	Path []byte `json:"path"`
	record
}

// readBases reads what was recorded; the last line about a path counts. A line that cannot be read, as a crash may
// leave one, is about what is then not known.
func (p Place) readBases() (bases, error) {
	f, err := os.Open(filepath.Join(p.Dir, basesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what was applied before: %w", err)
	}
	defer f.Close()
	known := bases{}
	lines := bufio.NewReaderSize(io.LimitReader(f, maxBases), 64<<10)
	for {
		data, err := lines.ReadBytes('\n')
		var l line
		if json.Unmarshal(data, &l) == nil && len(l.Path) > 0 {
			known[string(l.Path)] = l.record
		}
		switch err {
		case nil:
		case io.EOF:
			return known, nil
		default:
			return nil, fmt.Errorf("cannot read what was applied before: %w", err)
		}
	}
}

func encodeBases(known bases) ([]byte, error) {
	b := bytes.NewBufferString("\n") // ends what a crash has cut off
	e := json.NewEncoder(b)
	for path, r := range known {
		if err := e.Encode(line{[]byte(path), r}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// addBases appends encoded records.
func (p Place) addBases(data []byte) error {
	f, err := os.OpenFile(filepath.Join(p.Dir, basesFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// keepBases records that a choice has been applied, as which the project's file is now.
func (r *Review) keepBases(known bases, c Choice, now changes.Entry, content []byte) {
	switch {
	case c.Hunks != nil && c.Item.Joined:
		return // the ancestor stays the one that it was
	case c.Item.Joined:
		// The project has the user's edits as well. What both have is the agent's text.
		now, content = c.Item.agent, read(r.upper(), c.Item.Path, c.Item.agent)
	}
	if len(content) > maxBase {
		content = nil
	}
	known[c.Item.Path] = record{now, content}
	if c.Item.From != "" {
		known[c.Item.From] = record{}
	}
}

// CopyBases writes down in the directory to what project and layer have in common at each path, for a copy of the
// layer: when files of a copy were made says nothing about that.
func (p Place) CopyBases(ctx context.Context, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	list, err := changes.Overlay(ctx, p.Project, p.upper())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	known, err := p.readBases()
	if err != nil {
		return err
	}
	if known == nil {
		known = bases{}
	}
	r := &Review{Place: p}
	for _, c := range list.Changes {
		if _, ok := known[c.Path]; ok {
			continue
		}
		base, ok := r.base(c, nil)
		switch {
		case !ok:
			base.Kind = changes.Unreadable // stays unknown
		case c.Old.Size <= maxBase:
			base.Content = read(p.Project, c.Path, c.Old)
		}
		known[c.Path] = base
	}
	data, err := encodeBases(known)
	if err != nil {
		return err
	}
	return state.WriteAtomic(to, basesFile, data)
}

// undone are the bases of choices that are taken back: those that are no conflict and not recorded yet are what the
// project had.
func (r *Review) undone(choices []Choice) bases {
	known := bases{}
	for _, c := range choices {
		i := c.Item
		if i.Conflict != "" || i.Joined || i.recorded || i.Old.Kind == changes.Dir {
			continue
		}
		before, _ := r.Contents(i)
		if len(before) > maxBase {
			before = nil
		}
		name := i.Path
		if i.From != "" {
			name = i.From
			known[i.Path] = record{}
		}
		known[name] = record{i.Old, before}
	}
	return known
}
