package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const credentialsVersion = 1

// StandIns is credentials.json: what stands for secrets in one sandbox, for as long as it exists. None of it is a
// secret.
type StandIns struct {
	Version      int               `json:"version"` // set by SaveStandIns
	Placeholders map[string]string `json:"placeholders,omitempty"`
	Canaries     map[string]string `json:"canaries,omitempty"`
}

// StandIns returns those of this sandbox, of which there are none before its first start.
func (sb *Sandbox) StandIns() (StandIns, error) {
	path := filepath.Join(sb.Dir, CredentialsFile)
	data, err := readLimited(path)
	if errors.Is(err, fs.ErrNotExist) {
		return StandIns{}, nil
	}
	if err != nil {
		return StandIns{}, fmt.Errorf("cannot read %s: %w", path, err)
	}
	var c StandIns
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil || c.Version != credentialsVersion {
		return StandIns{}, fmt.Errorf("cannot use %s, of version %d: %w", path, c.Version, errors.Join(err, ErrCorrupt))
	}
	return c, nil
}

// SaveStandIns replaces them.
func (sb *Sandbox) SaveStandIns(c StandIns) error {
	c.Version = credentialsVersion
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return WriteAtomic(sb.Dir, CredentialsFile, append(data, '\n'))
}

// Frozen returns why a human must look at the sandbox before it goes on, as one line, or "".
func (sb *Sandbox) Frozen() (string, error) {
	data, err := readLimited(filepath.Join(sb.Dir, FrozenFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot tell whether the sandbox %s is frozen: %w", sb.Name, err)
	}
	if reason := strings.TrimSpace(string(data)); reason != "" {
		return reason, nil
	}
	return "somebody has frozen it", nil
}

// Freeze notes why a human must look; with "" one has.
func (sb *Sandbox) Freeze(reason string) error {
	if reason != "" {
		return WriteAtomic(sb.Dir, FrozenFile, []byte(reason+"\n"))
	}
	err := os.Remove(filepath.Join(sb.Dir, FrozenFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
