// Package ledger keeps one record of each call of a model, of every sandbox of a user, for good: what was spent does not
// come back when a sandbox goes. It knows no price and no limit; what it is given it keeps.
package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/flock"
	"github.com/bailey-sandbox/bailey/internal/usage"
)

// maxLine is the longest record that is read, in bytes. Ours are far shorter.
const maxLine = 64 << 10

// A Ledger is a directory with a file for each month, in UTC, of one JSON object a line. Any number of processes append
// at once. A record is there as a whole or not at all, also after kill -9: what a killed one has left half written is no
// record, and the next one begins a line of its own.
type Ledger struct{ dir string }

// Open makes the directory if need be.
func Open(dir string) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep a record of what is used: %w", err)
	}
	return &Ledger{dir}, nil
}

// Append adds a call. When it returns without an error, the record is on the disk.
func (l *Ledger) Append(c usage.Call) (err error) {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("cannot record a call: %w", err)
	}
	if len(data) >= maxLine {
		return fmt.Errorf("cannot record a call: it has %d bytes", len(data))
	}
	f, err := os.OpenFile(l.file(c.Time), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("cannot record a call: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := flock.Lock(f); err != nil { // given back with the file
		return fmt.Errorf("cannot record a call: %w", err)
	}
	ended, err := endsWhole(f)
	if err != nil {
		return fmt.Errorf("cannot record a call: %w", err)
	}
	if !ended {
		data = append([]byte("\n"), data...)
	}
	if _, err := f.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("cannot record a call: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cannot record a call: %w", err)
	}
	return nil
}

// endsWhole says whether the file ends with a whole line, or is empty.
func endsWhole(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return true, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return last[0] == '\n', err
}

func (l *Ledger) file(t time.Time) string {
	return filepath.Join(l.dir, "calls-"+t.UTC().Format("2006-01")+".jsonl")
}

// Calls yields what was recorded of calls from since on and before until, in the order in which they ended; a zero time
// is no bound. Lines that are none are left out, and counted.
func (l *Ledger) Calls(since, until time.Time, yield func(usage.Call) bool) (broken int, err error) {
	files, err := l.files()
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		month, err := time.Parse("2006-01", strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "calls-"), ".jsonl"))
		if err != nil || !since.IsZero() && !month.AddDate(0, 1, 0).After(since) || !until.IsZero() && !month.Before(until) {
			continue
		}
		more := true
		_, n, err := read(name, 0, func(c usage.Call) bool {
			if !since.IsZero() && c.Time.Before(since) || !until.IsZero() && !c.Time.Before(until) {
				return true
			}
			more = yield(c)
			return more
		})
		broken += n
		if err != nil || !more {
			return broken, err
		}
	}
	return broken, nil
}

// Position is how far a ledger has been read. The zero one is its beginning.
type Position struct{ offsets map[string]int64 }

// More yields what was recorded since p, and moves p behind it.
func (l *Ledger) More(p *Position, yield func(usage.Call)) error {
	files, err := l.files()
	if err != nil {
		return err
	}
	if p.offsets == nil {
		p.offsets = map[string]int64{}
	}
	for _, name := range files {
		offset, _, err := read(name, p.offsets[name], func(c usage.Call) bool { yield(c); return true })
		if err != nil {
			return err
		}
		p.offsets[name] = offset
	}
	return nil
}

func (l *Ledger) files() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(l.dir, "calls-*.jsonl"))
	slices.Sort(files)
	return files, err
}

// read yields the records of one file from an offset on, as many as there are when it begins. It returns the offset
// behind the last whole line.
func read(name string, from int64, yield func(usage.Call) bool) (to int64, broken int, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return from, 0, nil
	}
	if err != nil {
		return from, 0, fmt.Errorf("cannot read what was used: %w", err)
	}
	defer f.Close()
	size, err := wholeSize(f)
	if err != nil {
		return from, 0, fmt.Errorf("cannot read what was used: %w", err)
	}
	if size <= from {
		return from, 0, nil
	}
	lines := bufio.NewReaderSize(io.NewSectionReader(f, from, size-from), maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		from += int64(len(line))
		whole := err == nil
		for errors.Is(err, bufio.ErrBufferFull) { // far too long for one of ours
			line, err = lines.ReadSlice('\n')
			from += int64(len(line))
		}
		var c usage.Call
		switch {
		case err == io.EOF && len(line) == 0:
			return from, broken, nil
		case err == io.EOF: // half a line
			return from - int64(len(line)), broken + 1, nil
		case err != nil:
			return from, broken, fmt.Errorf("cannot read what was used: %w", err)
		case !whole, json.Unmarshal(line, &c) != nil && len(bytes.TrimSpace(line)) > 0:
			broken++
		case len(bytes.TrimSpace(line)) > 0 && !yield(c):
			return from, broken, nil
		}
	}
}

// wholeSize is the file's size while nobody writes.
func wholeSize(f *os.File) (int64, error) {
	if err := flock.RLock(f); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), flock.Unlock(f)
}
