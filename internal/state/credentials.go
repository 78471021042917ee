package state

import (
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
	c := StandIns{Version: credentialsVersion}
	err := readJSON(sb.Dir, CredentialsFile, &c)
	if err == nil && c.Version != credentialsVersion {
		err = fmt.Errorf("cannot read %s: it has version %d, this bailey knows version %d", filepath.Join(sb.Dir, CredentialsFile), c.Version, credentialsVersion)
	}
	if err != nil {
		return StandIns{}, err
	}
	return c, nil
}

// SaveStandIns replaces them.
func (sb *Sandbox) SaveStandIns(c StandIns) error {
	c.Version = credentialsVersion
	return writeJSON(sb.Dir, CredentialsFile, c)
}

// Frozen returns why a human must look at the sandbox before it goes on, as one line, or "".
func (sb *Sandbox) Frozen() (string, error) {
	data, err := ReadLimited(filepath.Join(sb.Dir, FrozenFile), maxRecord)
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
