package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

// grantsVersion grows whenever Grants changes; see recordVersion.
const grantsVersion = 3

// Grants is rules.json: rules that were given and taken away after a sandbox was made, to one sandbox or to all.
// They are apart from the record, which is the supervisor's while it lives, and from config.yaml, whose comments
// are the user's.
type Grants struct {
	Version int            `json:"version"` // set by ChangeGrants
	Allow   []policy.Entry `json:"allow,omitempty"`
	Deny    []policy.Entry `json:"deny,omitempty"`
}

// list is the one of those rules with that verdict.
func (g *Grants) list(v policy.Verdict) *[]policy.Entry {
	if v == policy.Allow {
		return &g.Allow
	}
	return &g.Deny
}

// Add gives e. The last word on the very same rule counts: its opposite is taken away, and what it is for is what
// was said last.
func (g *Grants) Add(v policy.Verdict, e policy.Entry) {
	opposite := policy.Allow
	if v == policy.Allow {
		opposite = policy.Deny
	}
	g.Remove(opposite, e)
	list := g.list(v)
	switch i := slices.IndexFunc(*list, same(e)); {
	case i < 0:
		*list = append(*list, e)
	case e.Why != "":
		(*list)[i].Why = e.Why
	}
}

// Remove takes e away, and reports whether it was there.
func (g *Grants) Remove(v policy.Verdict, e policy.Entry) bool {
	list := g.list(v)
	before := len(*list)
	*list = slices.DeleteFunc(*list, same(e))
	return len(*list) < before
}

// same compares what rules do, not what they are for.
func same(e policy.Entry) func(policy.Entry) bool {
	return func(other policy.Entry) bool {
		other.Why = e.Why
		return reflect.DeepEqual(e, other)
	}
}

// Grants are those of every sandbox.
func (s *Store) Grants() (Grants, error) { return readGrants(s.dirs.Config) }

// ChangeGrants replaces those of every sandbox by what change makes of them; when it fails they stay.
func (s *Store) ChangeGrants(change func(*Grants) error) error {
	if err := makePrivate(s.dirs.Config, os.Geteuid(), 1); err != nil {
		return err
	}
	return s.changeGrants(s.dirs.Config, change)
}

// Grants are those of this sandbox.
func (sb *Sandbox) Grants() (Grants, error) { return readGrants(sb.Dir) }

// ChangeGrants is the same for those of this sandbox. It needs no lock of it.
func (sb *Sandbox) ChangeGrants(change func(*Grants) error) error {
	return sb.store.changeGrants(sb.Dir, change)
}

func (s *Store) changeGrants(dir string, change func(*Grants) error) error {
	unlock, err := s.lockStore()
	if err != nil {
		return err
	}
	defer unlock()
	g, err := readGrants(dir)
	if err != nil {
		return err
	}
	if err := change(&g); err != nil {
		return err
	}
	g.Version = grantsVersion
	return writeJSON(dir, GrantsFile, g)
}

func readGrants(dir string) (Grants, error) {
	g := Grants{Version: grantsVersion}
	err := readJSON(dir, GrantsFile, &g)
	if err == nil && (g.Version < 1 || g.Version > grantsVersion) {
		err = fmt.Errorf("cannot read %s: it has version %d, this bailey knows versions up to %d", filepath.Join(dir, GrantsFile), g.Version, grantsVersion)
	}
	if err != nil {
		return Grants{}, err
	}
	return g, nil
}

// readJSON reads what writeJSON has written into v, which stays as it is when there is no such file.
func readJSON(dir, name string, v any) error {
	path := filepath.Join(dir, name)
	data, err := ReadLimited(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err = d.Decode(v); err == nil {
			if _, end := d.Token(); end != io.EOF {
				err = errors.New("something follows the end")
			}
		}
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}

func writeJSON(dir, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", filepath.Join(dir, name), err)
	}
	if err := WriteAtomic(dir, name, append(data, '\n')); err != nil {
		return explain(err, dir)
	}
	return nil
}
