package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Store is the collection of all sandboxes of one user. Its methods may be called from any goroutine and
// from any number of processes at once.
type Store struct {
	dirs Dirs
	root string             // dirs.State/sandboxes
	step func(string) error // failpoint.Hit, or a test's
}

// Open creates the state and data directories when they are missing, and refuses them when anybody but
// the caller and root could change them. Nothing needs to be closed.
func Open(d Dirs) (*Store, error) {
	root := filepath.Join(d.State, SandboxesDir)
	uid := os.Geteuid()
	if err := makePrivate(root, uid, 2); err != nil {
		return nil, err
	}
	if err := makePrivate(filepath.Join(d.Data, AgentsDir), uid, 2); err != nil {
		return nil, err
	}
	return &Store{dirs: d, root: root, step: failpoint.Hit}, nil
}

// Dirs is what Open was given.
func (s *Store) Dirs() Dirs { return s.dirs }

// Dir is where the sandbox of that name is or would be.
func (s *Store) Dir(name string) string { return filepath.Join(s.root, name) }

// Sandbox is a stored sandbox: what was asked for, and where its files are.
type Sandbox struct {
	Record
	Dir string // absolute

	store *Store
	lock  *Lock // nil unless this value holds it
}

// Create stores a new sandbox; Version, MachineID, Created and, if there is none, Purse are filled in. The error wraps ErrExists
// when the name is taken. The sandbox appears whole or not at all, whatever happens on the way. A temporary
// one is only not made to survive a power cut: nothing waits for the disk then, and what such a cut leaves
// may be corrupt, to be removed.
func (s *Store) Create(r Record) (*Sandbox, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("cannot make a machine id: %w", err)
	}
	r.Version, r.MachineID, r.Created = recordVersion, hex.EncodeToString(id), time.Now().UTC()
	if r.Purse == "" {
		r.Purse = r.MachineID[:12]
	}
	data, err := encodeRecord(r)
	if err != nil {
		return nil, err
	}
	// Without this lock a Sweep at the same time would take our half-made directory for a dead one.
	unlock, err := s.lockStore()
	if err != nil {
		return nil, err
	}
	defer unlock()
	fail := func(err error) (*Sandbox, error) {
		return nil, explain(fmt.Errorf("cannot create the sandbox %s: %w", r.Name, err), s.root)
	}
	temp, err := os.MkdirTemp(s.root, newPrefix)
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(temp)
	if err := s.step("state.made"); err != nil {
		return fail(err)
	}
	if r.Temporary {
		err = os.WriteFile(filepath.Join(temp, RecordFile), data, 0o600)
	} else {
		err = WriteAtomic(temp, RecordFile, data)
	}
	if err != nil {
		return fail(err)
	}
	if err := s.step("state.written"); err != nil {
		return fail(err)
	}
	// The rename of a directory never replaces one that has something in it.
	err = os.Rename(temp, s.Dir(r.Name))
	if errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
		return nil, sandbox.WithHint(fmt.Errorf("cannot create the sandbox %s: %w", r.Name, ErrExists), "bailey rm "+r.Name)
	}
	if err != nil {
		return fail(err)
	}
	err = s.step("state.renamed")
	if err == nil && !r.Temporary {
		err = syncDir(s.root)
	}
	sb := &Sandbox{Record: r, Dir: s.Dir(r.Name), store: s}
	if err != nil {
		return fail(errors.Join(err, sb.Remove()))
	}
	return sb, nil
}

// Load reads one sandbox. The error wraps ErrNotFound or ErrCorrupt; with ErrCorrupt the result still
// has Name and Dir, so that the sandbox can be locked and removed.
func (s *Store) Load(name string) (*Sandbox, error) {
	if err := sandbox.CheckName(name); err != nil {
		return nil, err
	}
	return s.load(name)
}

func (s *Store) load(name string) (*Sandbox, error) {
	sb := &Sandbox{Record: Record{Name: name}, Dir: s.Dir(name), store: s}
	info, err := os.Lstat(sb.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sandbox.WithHint(fmt.Errorf("cannot find the sandbox %s: %w", name, ErrNotFound), "bailey ls -a")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the sandbox %s: %w", name, err)
	}
	corrupt := func(why error) (*Sandbox, error) {
		return sb, sandbox.WithHint(fmt.Errorf("cannot read %s: %w: %w", filepath.Join(sb.Dir, RecordFile), ErrCorrupt, why),
			"bailey rm --force "+name)
	}
	if !info.IsDir() { // nothing that we made, so that nobody but the user can know what it is
		_, err := corrupt(errors.New("its directory is something else"))
		return sb, sandbox.WithHint(err, "rm "+sb.Dir)
	}
	data, err := ReadLimited(filepath.Join(sb.Dir, RecordFile), maxRecord)
	if err != nil {
		return corrupt(err)
	}
	record, err := decodeRecord(data, name)
	if err != nil {
		return corrupt(err)
	}
	sb.Record = record
	return sb, nil
}

// Entry is one line of a listing. Sandbox is never nil; with Err set it has only Name and Dir.
type Entry struct {
	Name    string
	Sandbox *Sandbox
	Err     error
}

// List is every sandbox by name, damaged ones with their error.
func (s *Store) List() ([]Entry, error) {
	found, err := os.ReadDir(s.root)
	if err != nil {
		return nil, fmt.Errorf("cannot list sandboxes: %w", err)
	}
	var entries []Entry
	for _, f := range found {
		if strings.HasPrefix(f.Name(), ".") {
			continue // a Create or Remove under way or dead: not a sandbox
		}
		sb, err := s.load(f.Name())
		if errors.Is(err, ErrNotFound) {
			continue // removed since the directory was read
		}
		if sb == nil {
			sb = &Sandbox{Record: Record{Name: f.Name()}, Dir: s.Dir(f.Name()), store: s}
		}
		entries = append(entries, Entry{Name: f.Name(), Sandbox: sb, Err: err})
	}
	return entries, nil
}

// Save replaces the record; the name cannot change. Readers see the old record or the new one.
func (sb *Sandbox) Save(r Record) error {
	if r.Name != sb.Name {
		return fmt.Errorf("cannot store the record of %s as that of %s", r.Name, sb.Name)
	}
	r.Version = recordVersion
	data, err := encodeRecord(r)
	if err != nil {
		return err
	}
	if err := WriteAtomic(sb.Dir, RecordFile, data); err != nil {
		return explain(err, sb.Dir)
	}
	sb.Record = r
	return nil
}
