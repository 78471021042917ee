package state

import (
	"fmt"
	"path/filepath"
)

// trust is trusted.json: the projects' own files that the user has accepted, each as it was then.
type trust struct {
	Version  int               `json:"version"`
	Projects map[string]string `json:"projects"` // hash by absolute path
}

// trustVersion grows whenever trust changes; see recordVersion.
const trustVersion = 1

// Trusted says whether the user has accepted the file at path with the contents that hash is of.
func (s *Store) Trusted(path, hash string) (bool, error) {
	t, err := s.readTrust()
	return err == nil && hash != "" && t.Projects[path] == hash, err
}

// Trust accepts the file at path with those contents, and no others any more.
func (s *Store) Trust(path, hash string) error {
	return s.changeTrust(func(t *trust) { t.Projects[path] = hash })
}

// Distrust takes that back, and reports whether there was something to take.
func (s *Store) Distrust(path string) (bool, error) {
	var was bool
	err := s.changeTrust(func(t *trust) {
		_, was = t.Projects[path]
		delete(t.Projects, path)
	})
	return was, err
}

func (s *Store) changeTrust(change func(*trust)) error {
	unlock, err := s.lockStore()
	if err != nil {
		return err
	}
	defer unlock()
	t, err := s.readTrust()
	if err != nil {
		return err
	}
	change(&t)
	return writeJSON(s.dirs.State, TrustFile, t)
}

func (s *Store) readTrust() (trust, error) {
	t := trust{Version: trustVersion}
	err := readJSON(s.dirs.State, TrustFile, &t)
	if err == nil && t.Version != trustVersion {
		err = fmt.Errorf("cannot read %s: it has version %d, this bailey knows version %d", filepath.Join(s.dirs.State, TrustFile), t.Version, trustVersion)
	}
	if t.Projects == nil {
		t.Projects = map[string]string{}
	}
	return t, err
}
