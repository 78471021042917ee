package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// recordVersion grows whenever Record changes, so that an older bailey refuses a newer record instead of
// starting a sandbox with a restriction it does not know.
const recordVersion = 5

// maxRecord bounds what is read of a record, in bytes.
const maxRecord = 1 << 20

// Record is sandbox.json: what the user asked for. It decides every later start.
type Record struct {
	Version      int            `json:"version"` // set by Create
	Name         string         `json:"name"`
	Agent        string         `json:"agent,omitempty"`
	AgentVersion string         `json:"agent_version,omitempty"`
	Args         []string       `json:"args,omitempty"` // what the agent gets after its own
	Backend      string         `json:"backend,omitempty"`
	Workspaces   []Workspace    `json:"workspaces,omitempty"` // the first one is the working directory
	Volumes      []Volume       `json:"volumes,omitempty"`
	Env          []string       `json:"env,omitempty"`     // KEY=VALUE
	Network      string         `json:"network,omitempty"` // as --network takes it
	Allow        []string       `json:"allow,omitempty"`   // rules as --allow takes them
	Profiles     []string       `json:"profiles,omitempty"`
	Credentials  string         `json:"credentials,omitempty"` // as --credentials takes it; "" is none, as before version 3
	Lent         []string       `json:"lent,omitempty"`        // variables whose secrets are lent at each start
	ReadOnly     bool           `json:"read_only,omitempty"`
	Limits       sandbox.Limits `json:"limits,omitzero"`
	Temporary    bool           `json:"temporary,omitempty"` // removed when its agent has ended
	Purse        string         `json:"purse,omitempty"`     // what its model calls are counted by, its forks' too; set by Create
	MachineID    string         `json:"machine_id"`          // 32 hexadecimal digits, random; set by Create
	Created      time.Time      `json:"created"`             // set by Create
}

// Workspace is a host directory that appears inside at its own path.
type Workspace struct {
	Path     string `json:"path"`
	ReadOnly bool   `json:"read_only,omitempty"`
	Review   bool   `json:"review,omitempty"` // what is written goes to a layer until it is applied
	Clone    *Clone `json:"clone,omitempty"`  // instead of the directory itself, a clone of it is under review
}

// Clone says of which commit a clone is, and where what is approved of it goes.
type Clone struct {
	Branch  string `json:"branch"`            // in the user's repository
	Base    string `json:"base"`              // the commit
	Objects string `json:"objects,omitempty"` // the host's directory of the objects that the clone lacks
}

// Volume is a host directory that appears inside at another path.
type Volume struct {
	Host     string `json:"host"`
	Guest    string `json:"guest"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Account is what the sandbox's model calls are counted by. Before version 5 no sandbox had forks that counted together.
func (r Record) Account() string {
	if r.Purse == "" && len(r.MachineID) >= 12 {
		return r.MachineID[:12]
	}
	return r.Purse
}

// Lends says whether the sandbox may use any of the user's secrets.
func (r Record) Lends() bool { return r.Credentials != "" && r.Credentials != "none" }

// decodeRecord reads the record of the sandbox called name. It accepts only what encodeRecord writes.
func decodeRecord(data []byte, name string) (Record, error) {
	var version struct{ Version int }
	if err := json.Unmarshal(data, &version); err != nil {
		return Record{}, err
	}
	if version.Version < 1 || version.Version > recordVersion { // an older one only lacks what is new
		return Record{}, fmt.Errorf("it has version %d, this bailey knows versions 1 to %d", version.Version, recordVersion)
	}
	var r Record
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Record{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Record{}, fmt.Errorf("something follows the record")
	}
	if r.Name != name {
		return Record{}, fmt.Errorf("it is the record of %q", r.Name)
	}
	return r, r.check()
}

func encodeRecord(r Record) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("cannot store the sandbox's record: %w", err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot store the sandbox's record: %w", err)
	}
	return append(data, '\n'), nil
}

// check refuses what would be ambiguous in a mount, whoever wrote it.
func (r Record) check() error {
	if err := sandbox.CheckName(r.Name); err != nil {
		return err
	}
	var paths []string
	for _, w := range r.Workspaces {
		paths = append(paths, w.Path)
	}
	for _, v := range r.Volumes {
		paths = append(paths, v.Host, v.Guest)
	}
	for _, p := range paths {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p {
			return fmt.Errorf("%q is not an absolute, clean path", p)
		}
	}
	return nil
}

// WriteAtomic replaces dir/name by data: after a crash at any point the old or the new content is there. The file is
// only the user's to read.
func WriteAtomic(dir, name string, data []byte) error {
	f, err := os.CreateTemp(dir, "."+name+"-*") // 0600
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", filepath.Join(dir, name), errno(err))
	}
	defer os.Remove(f.Name()) // after the rename there is nothing of that name
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", filepath.Join(dir, name), errno(err))
	}
	return nil
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ReadLimited reads a regular file that is no link and no longer than limit, in bytes.
func ReadLimited(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errno(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("not a regular file of at most %d bytes", limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	return data, errno(err)
}
