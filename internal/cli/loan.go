package cli

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// secrets is the user's store of them.
func (a *app) secrets(store *state.Store) *secret.Store {
	return &secret.Store{Dir: filepath.Join(store.Dirs().Data, state.SecretsDir), Getenv: a.getenv}
}

// keepOut takes the variables that hold secrets of known services out of env, which is what the user wants inside: a
// placeholder will stand there. Where a service's programs are pointed at a server without TLS nothing can be put into
// their requests, so the secret enters, and that is told.
func (a *app) keepOut(env []string) (inside, lent []string) {
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		service, known := credential.ServiceOf(key)
		switch base := valueOf(env, service.BaseURL); {
		case !known || value == "":
			inside = append(inside, kv)
		case strings.HasPrefix(base, "http://"):
			a.note("%s enters the sandbox, because %s has no TLS: %s", key, service.BaseURL, base)
			inside = append(inside, kv)
		default:
			if a.lent == nil {
				a.lent = map[string]string{}
			}
			a.lent[key] = value
			lent = append(lent, key)
		}
	}
	slices.Sort(lent)
	return inside, slices.Compact(lent)
}

// valueOf is the last value of a variable.
func valueOf(env []string, key string) string {
	value := ""
	for _, kv := range env {
		if k, v, _ := strings.Cut(kv, "="); key != "" && k == key {
			value = v
		}
	}
	return value
}

// loan is what sb's supervisor may have of this environment: the variables that the agent takes its keys from, those
// that the user has named, and those that secrets refer to.
func (a *app) loan(store *state.Store, sb *state.Sandbox) (secret.Loan, error) {
	if !sb.Lends() {
		return secret.Loan{}, nil
	}
	ag, err := a.findAgent(sb.Agent)
	if err != nil {
		return secret.Loan{}, err
	}
	secrets := a.secrets(store)
	kept, err := secrets.List()
	if err != nil {
		return secret.Loan{}, err
	}
	names := append(slices.Clone(sb.Lent), ag.Keys...)
	onePassword, vault := false, false
	for _, e := range kept {
		if name, ok := strings.CutPrefix(e.Source, "env:"); ok && e.For(sb.Name) {
			names = append(names, name)
		}
		onePassword = onePassword || strings.HasPrefix(e.Source, "op:") && e.For(sb.Name)
		vault = vault || e.Source == secret.Vault && e.For(sb.Name)
	}
	loan := secret.Loan{Env: map[string]string{}}
	for _, kv := range a.cfg.Environ {
		key, value, _ := strings.Cut(kv, "=")
		if value != "" && (slices.Contains(names, strings.TrimSuffix(key, "_FILE")) || onePassword && strings.HasPrefix(key, "OP_")) {
			loan.Env[key] = value
		}
	}
	for key, value := range a.lent {
		loan.Env[key] = value
	}
	if vault {
		if err := a.unlock(secrets); err != nil {
			return secret.Loan{}, err
		}
		loan.Identity = secrets.Lent.Identity
	}
	return loan, nil
}

// unlock asks for the vault's passphrase, where it has one.
func (a *app) unlock(secrets *secret.Store) error {
	if !secrets.Protected() {
		return nil
	}
	passphrase, err := a.askSecret("passphrase of the vault")
	if err != nil {
		return sandbox.WithHint(err, "start it from a terminal, or take the passphrase off: bailey secret passphrase --remove")
	}
	return secrets.Unlock(passphrase)
}
