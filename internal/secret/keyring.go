package secret

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// keyringService is what our items in the keyring are under.
const keyringService = "bailey"

// keyringTime is how long the keyring may take: it asks its user for a password where it is locked.
const keyringTime = 2 * time.Minute

// inKeyring does something with the keyring, whose library knows no context.
func inKeyring[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, keyringTime)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, explainKeyring(r.err)
	case <-ctx.Done():
		var none T
		return none, sandbox.WithHint(fmt.Errorf("the keyring does not answer, perhaps it waits for its password: %w", ErrLocked), "unlock it on your desktop")
	}
}

func explainKeyring(err error) error {
	switch {
	case err == nil, errors.Is(err, keyring.ErrNotFound):
		return err
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return sandbox.WithHint(errors.New("this system has no keyring"), "bailey secret set --source age NAME")
	}
	return sandbox.WithHint(fmt.Errorf("the keyring cannot be used: %w", err), "start and unlock it (a Secret Service on the session bus), or: bailey secret set --source age NAME")
}

func readKeyring(ctx context.Context, name string) (string, error) {
	value, err := inKeyring(ctx, func() (string, error) { return keyring.Get(keyringService, name) })
	if errors.Is(err, keyring.ErrNotFound) {
		return "", fmt.Errorf("the keyring has it no more: %w", ErrNotFound)
	}
	return value, err
}

func writeKeyring(ctx context.Context, name, value string) error {
	_, err := inKeyring(ctx, func() (struct{}, error) { return struct{}{}, keyring.Set(keyringService, name, value) })
	return err
}

func removeKeyring(ctx context.Context, name string) error {
	_, err := inKeyring(ctx, func() (struct{}, error) { return struct{}{}, keyring.Delete(keyringService, name) })
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return err
}

// DefaultSource is where a value is kept when nobody says where: the keyring, where one is open and answers at once
// what it knows of an item that nobody has made, and else the vault.
func DefaultSource(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := inKeyring(ctx, func() (string, error) { return keyring.Get(keyringService, "is-it-there") }); errors.Is(err, keyring.ErrNotFound) {
		return Keyring
	}
	return Vault
}
