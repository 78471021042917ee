package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

const (
	vaultFile     = "vault.age"
	keyFile       = "vault.key"
	protectedFile = "vault.key.age"
	// maxVault bounds the vault's file, in bytes.
	maxVault = 16 << 20
)

// openVault returns all values in the vault, of which there are none while there is no file.
func (s *Store) openVault() (map[string]string, error) {
	path := filepath.Join(s.Dir, vaultFile)
	data, err := state.ReadLimited(path, maxVault)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	identity, err := s.identity()
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(bytes.NewReader(data), identity)
	if err == nil {
		data, err = io.ReadAll(plain)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot decrypt %s with its key: %w", path, err)
	}
	values := map[string]string{}
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("%s holds what bailey has not written", path) // the error would quote it
	}
	return values, nil
}

// writeVault replaces the vault. It makes the key first where there is none.
func (s *Store) writeVault(values map[string]string) error {
	identity, err := s.identity()
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Lstat(filepath.Join(s.Dir, vaultFile)); statErr == nil {
			return err // a new key would not open it
		}
		if identity, err = age.GenerateX25519Identity(); err == nil {
			err = state.WriteAtomic(s.Dir, keyFile, []byte(identity.String()+"\n"))
		}
	}
	if err != nil {
		return err
	}
	plain, err := json.Marshal(values)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, identity.Recipient())
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return err
	}
	return state.WriteAtomic(s.Dir, vaultFile, out.Bytes())
}

// identity is the vault's key.
func (s *Store) identity() (*age.X25519Identity, error) {
	if s.Lent.Identity != "" {
		return age.ParseX25519Identity(s.Lent.Identity)
	}
	if _, err := os.Lstat(filepath.Join(s.Dir, protectedFile)); err == nil {
		return nil, fmt.Errorf("the vault has a passphrase: %w", ErrLocked)
	}
	path := filepath.Join(s.Dir, keyFile)
	data, err := state.ReadLimited(path, 4<<10)
	if err != nil {
		return nil, fmt.Errorf("cannot read the vault's key: %w", err)
	}
	identity, err := age.ParseX25519Identity(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("%s is damaged", path)
	}
	return identity, nil
}

// Protected says whether the vault needs a passphrase to be opened, and Unlock has not been called.
func (s *Store) Protected() bool {
	_, err := os.Lstat(filepath.Join(s.Dir, protectedFile))
	return err == nil && s.Lent.Identity == ""
}

// Unlock opens the vault for this Store with its passphrase. The error wraps ErrLocked when it is not the right one.
func (s *Store) Unlock(passphrase string) error {
	data, err := state.ReadLimited(filepath.Join(s.Dir, protectedFile), 64<<10)
	if err != nil {
		return fmt.Errorf("cannot read the vault's key: %w", err)
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return err
	}
	plain, err := age.Decrypt(bytes.NewReader(data), identity)
	if err != nil {
		return fmt.Errorf("this passphrase does not open the vault: %w", ErrLocked)
	}
	key, err := io.ReadAll(plain)
	if err != nil {
		return fmt.Errorf("this passphrase does not open the vault: %w", ErrLocked)
	}
	s.Lent.Identity = strings.TrimSpace(string(key))
	return nil
}

// Protect makes the vault need passphrase from now on, or none when that is "". The vault must be open.
func (s *Store) Protect(passphrase string) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	identity, err := s.identity()
	if errors.Is(err, fs.ErrNotExist) {
		return sandbox.WithHint(errors.New("there is no vault yet"), "bailey secret set --source age NAME")
	}
	if err != nil {
		return err
	}
	key := []byte(identity.String() + "\n")
	write, remove := keyFile, protectedFile
	if passphrase != "" {
		write, remove = protectedFile, keyFile
		if key, err = encryptByPassphrase(key, passphrase); err != nil {
			return err
		}
	}
	if err := state.WriteAtomic(s.Dir, write, key); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.Dir, remove)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.Lent.Identity = identity.String()
	return nil
}

func encryptByPassphrase(key []byte, passphrase string) ([]byte, error) {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipient)
	if err == nil {
		_, err = w.Write(key)
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}
