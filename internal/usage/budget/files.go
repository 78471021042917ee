package budget

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

const (
	limitsFile = "budgets.json" // a list of Limit
	holdsFile  = "open.json"    // a list of Hold
	lockFile   = "lock"         // held while either, or the ledger through a book, is read and written
)

// Hold is a call that is under way.
type Hold struct {
	ID      string    `json:"id"`
	Pid     int       `json:"pid"`
	Started string    `json:"started"` // the process, as the kernel counts
	Time    time.Time `json:"time"`
	Sandbox string    `json:"sandbox,omitempty"`
	Purse   string    `json:"purse,omitempty"`
	Agent   string    `json:"agent,omitempty"`
	Session string    `json:"session,omitempty"`
	Model   string    `json:"model,omitempty"`
	Most    Amount    `json:"most"` // of both money and tokens, the most that it can use
}

// begin makes a hold this process's.
func (h *Hold) begin(now time.Time) {
	h.ID, h.Time, h.Pid = rand.Text(), now.UTC(), os.Getpid()
	h.Started = started(h.Pid)
}

// alive says whether the process that holds it is there.
func (h *Hold) alive() bool {
	now := started(h.Pid)
	return now != "" && now == h.Started
}

// started is when a process began, in the kernel's clock ticks (proc(5), stat, field 22), "" for one that is gone.
func started(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the program's name, before, may have anything
	const state, start = 0, 19
	if len(fields) <= start || fields[state] == "Z" || fields[state] == "X" {
		return ""
	}
	return fields[start]
}

// lost is the record of a call whose process was killed: nobody knows what it used, and it may have been all.
func (h *Hold) lost() usage.Call {
	return usage.Call{ID: h.ID, Time: h.Time, Sandbox: h.Sandbox, Purse: h.Purse, Agent: h.Agent, Session: h.Session, Model: h.Model,
		Tokens: usage.Tokens{Input: h.Most.Tokens}, Cost: h.Most.Money, Estimated: true}
}

// files are read and written with the lock held.
type files struct{ dir string }

func (f *files) limits() (all []Limit, err error) { return all, f.readJSON(limitsFile, &all) }
func (f *files) holds() (all []Hold, err error)   { return all, f.readJSON(holdsFile, &all) }

func (f *files) writeLimits(all []Limit) error { return f.writeJSON(limitsFile, all, true) }

// writeHolds does not wait for the disk: what is under way when the power goes is over anyway.
func (f *files) writeHolds(all []Hold) error { return f.writeJSON(holdsFile, all, false) }

func (f *files) drop(id string) error {
	holds, err := f.holds()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(holds, func(h Hold) bool { return h.ID == id })
	if i < 0 {
		return nil // no limit applied when it began
	}
	return f.writeHolds(slices.Delete(holds, i, i+1))
}

func (f *files) readJSON(name string, into any) error {
	data, err := os.ReadFile(filepath.Join(f.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(data) > 0 { // as some file systems leave one behind when the power goes
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", filepath.Join(f.dir, name), err)
	}
	return nil
}

// writeJSON replaces a file, and if sync is set waits for the disk.
func (f *files) writeJSON(name string, from any, sync bool) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	path := filepath.Join(f.dir, name)
	if err := replace(path, append(data, '\n'), sync); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

func replace(path string, data []byte, sync bool) error {
	next, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(data)
	if err == nil && sync {
		err = next.Sync()
	}
	if err = errors.Join(err, next.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
