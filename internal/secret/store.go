package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

const (
	indexFile    = "index.json"
	lockFile     = "lock"
	indexVersion = 1
)

// Loan is what the command line hands to a supervisor, through a pipe, and what is written nowhere: variables that
// hold secrets, and the key of a vault that has a passphrase.
type Loan struct {
	Env      map[string]string `json:"env,omitempty"`
	Identity string            `json:"identity,omitempty"`
}

// Store is the user's secrets. It may be used from any goroutine, and by several processes.
type Store struct {
	Dir    string // made when it is needed
	Getenv func(string) string
	Lent   Loan

	mu     sync.Mutex
	listed []Entry // as the index was when it had this stamp
	stamp  string
	cache  map[string]cached
	used   map[string]time.Time // when Touch has last noted a use
}

// cached is a value, and what it was true for.
type cached struct {
	value  string
	source string
	stamp  string
	until  time.Time // zero: as long as the stamp is right
}

// index is index.json.
type index struct {
	Version int     `json:"version"`
	Secrets []Entry `json:"secrets"`
}

// List returns every secret, by name. The index is read again when it has changed: every request with a secret asks.
func (s *Store) List() ([]Entry, error) {
	path := filepath.Join(s.Dir, indexFile)
	stamp := fileStamp(path)
	s.mu.Lock()
	listed, known := s.listed, s.stamp == stamp
	s.mu.Unlock()
	if known {
		return slices.Clone(listed), nil
	}
	listed, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed, s.stamp = listed, stamp
	return slices.Clone(listed), nil
}

func readIndex(path string) ([]Entry, error) {
	data, err := state.ReadLimited(path, maxVault)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the list of secrets: %w", err)
	}
	var i index
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&i); err != nil || i.Version != indexVersion {
		return nil, sandbox.WithHint(errors.Join(fmt.Errorf("cannot use the list of secrets %s, whose version is %d", path, i.Version), err), "mend the file, or move it aside")
	}
	return i.Secrets, nil
}

// Get returns one. The error wraps ErrNotFound when there is none of that name.
func (s *Store) Get(name string) (Entry, error) {
	all, err := s.List()
	if err != nil {
		return Entry{}, err
	}
	if i := find(all, name); i >= 0 {
		return all[i], nil
	}
	return Entry{}, sandbox.WithHint(fmt.Errorf("%s: %w", name, ErrNotFound), "bailey secret ls")
}

// ForService returns the secret that has a service's name, or the entry that Set would make it with.
func (s *Store) ForService(ctx context.Context, service string) (Entry, error) {
	e, err := s.Get(service)
	if errors.Is(err, ErrNotFound) {
		return Entry{Name: service, Service: service, Source: DefaultSource(ctx)}, nil
	}
	return e, err
}

// Set keeps a secret, in the place of one of the same name. Its value is for the keyring and the vault; a reference has
// none. What was kept before is forgotten when the new is safe.
func (s *Store) Set(ctx context.Context, e Entry, value string) error {
	if err := e.check(); err != nil {
		return err
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	all, err := s.List()
	if err != nil {
		return err
	}
	before := ""
	if i := find(all, e.Name); i >= 0 {
		before = all[i].Source
		e.Used = all[i].Used
	}
	if err := s.put(ctx, e, value); err != nil {
		return err
	}
	e.Changed = time.Now().UTC()
	if err := s.writeIndex(append(without(all, e.Name), e)); err != nil {
		return err
	}
	if before != "" && before != e.Source {
		return s.forget(ctx, e.Name, before)
	}
	return nil
}

func (s *Store) put(ctx context.Context, e Entry, value string) error {
	if e.Source != Keyring && e.Source != Vault {
		return nil
	}
	value, err := checkValue(value)
	if err != nil {
		return err
	}
	if e.Source == Keyring {
		return writeKeyring(ctx, e.Name, value)
	}
	values, err := s.openVault()
	if err != nil {
		return err
	}
	values[e.Name] = value
	return s.writeVault(values)
}

// Remove forgets a secret.
func (s *Store) Remove(ctx context.Context, name string) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	e, err := s.Get(name)
	if err != nil {
		return err
	}
	if err := s.forget(ctx, name, e.Source); err != nil {
		return err
	}
	all, err := s.List()
	if err != nil {
		return err
	}
	return s.writeIndex(without(all, name))
}

// forget removes a value that we keep.
func (s *Store) forget(ctx context.Context, name, source string) error {
	switch source {
	case Keyring:
		return removeKeyring(ctx, name)
	case Vault:
		values, err := s.openVault()
		if err != nil {
			return err
		}
		delete(values, name)
		return s.writeVault(values)
	}
	return nil
}

// Value returns a secret as it is now. What we keep is read again when one of our files has changed, a file when it
// has; what others keep is used for a minute.
func (s *Store) Value(ctx context.Context, name string) (string, error) {
	e, err := s.Get(name)
	if err != nil {
		return "", err
	}
	stamp, whole := s.sourceStamp(e.Source)
	s.mu.Lock()
	c, ok := s.cache[name]
	s.mu.Unlock()
	if ok && c.source == e.Source && c.stamp == stamp && (c.until.IsZero() || time.Now().Before(c.until)) {
		return c.value, nil
	}
	value, err := s.Read(ctx, e)
	if err != nil {
		return "", err
	}
	c = cached{value: value, source: e.Source, stamp: stamp}
	if !whole {
		c.until = time.Now().Add(remembered)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cache == nil {
		s.cache = map[string]cached{}
	}
	s.cache[name] = c
	return value, nil
}

// Read returns the value of an entry, which need not be in the list, from its source.
func (s *Store) Read(ctx context.Context, e Entry) (string, error) {
	value, err := s.read(ctx, e)
	if err != nil {
		return "", fmt.Errorf("cannot read the secret %s: %w", e.Name, err)
	}
	return value, nil
}

func (s *Store) read(ctx context.Context, e Entry) (string, error) {
	switch e.Source {
	case Keyring:
		return readKeyring(ctx, e.Name)
	case Vault:
		values, err := s.openVault()
		if err != nil {
			return "", err
		}
		value, ok := values[e.Name]
		if !ok {
			return "", fmt.Errorf("the vault has it no more: %w", ErrNotFound)
		}
		return value, nil
	}
	r, err := parseReference(e.Source)
	if err != nil {
		return "", err
	}
	return r.read(ctx, s)
}

// Update replaces a kept value by what change makes of it, which may take its time: nobody else renews the same secret
// meanwhile, in this process or another, and it is read anew for each.
func (s *Store) Update(ctx context.Context, name string, change func(old string) (string, error)) error {
	if err := CheckName(name); err != nil {
		return err
	}
	unlock, err := state.WaitForLock(filepath.Join(s.Dir, name+".lock"))
	if err != nil {
		return fmt.Errorf("cannot lock the secret %s: %w", name, err)
	}
	defer unlock()
	e, err := s.Get(name)
	if err != nil {
		return err
	}
	old, err := s.Read(ctx, e)
	if err != nil {
		return err
	}
	value, err := change(old)
	if err != nil || value == old {
		return err
	}
	return s.Set(ctx, e, value)
}

// Touch notes that a secret has been used. It is for people to see, so its failure is none.
func (s *Store) Touch(name string) {
	const often = time.Minute
	s.mu.Lock()
	noted := time.Since(s.used[name]) < often
	if !noted {
		if s.used == nil {
			s.used = map[string]time.Time{}
		}
		s.used[name] = time.Now()
	}
	s.mu.Unlock()
	if noted {
		return
	}
	unlock, err := s.lock()
	if err != nil {
		return
	}
	defer unlock()
	all, err := s.List()
	if i := find(all, name); err == nil && i >= 0 && time.Since(all[i].Used) >= often {
		all[i].Used = time.Now().UTC().Truncate(often)
		_ = s.writeIndex(all)
	}
}

func find(all []Entry, name string) int {
	return slices.IndexFunc(all, func(e Entry) bool { return e.Name == name })
}

func without(all []Entry, name string) []Entry {
	return slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return e.Name == name })
}

func (s *Store) writeIndex(all []Entry) error {
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(index{Version: indexVersion, Secrets: all}, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteAtomic(s.Dir, indexFile, append(data, '\n'))
}

// lock makes the directory and holds it.
func (s *Store) lock() (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep secrets: %w", err)
	}
	unlock, err = state.WaitForLock(filepath.Join(s.Dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("cannot lock the secrets: %w", err)
	}
	return unlock, nil
}

// sourceStamp is another one when what a source has may be another value. Where it is not whole, others may change the
// value without a trace; the keyring's changes are seen as far as bailey itself makes them.
func (s *Store) sourceStamp(source string) (stamp string, whole bool) {
	kind, rest, _ := strings.Cut(source, ":")
	switch kind {
	case "file":
		return fileStamp(rest), true
	case dotenv:
		path, _, _ := dotenvParts(rest)
		return fileStamp(path), true
	case Vault:
		return fileStamp(filepath.Join(s.Dir, vaultFile)), true
	}
	return fileStamp(filepath.Join(s.Dir, indexFile)), false
}

func fileStamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	inode := uint64(0)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), inode)
}
