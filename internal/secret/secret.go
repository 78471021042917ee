// Package secret keeps the user's secrets on the host, or knows where they are kept: in the desktop's keyring, in a
// file encrypted by age, in 1Password, a variable, a file, or what a command prints. It gives each a name, says which
// requests may carry it (as package credential has it), and returns its value when such a request is made. It knows
// nothing of sandboxes but their names, and none of its files may be visible in one.
//
// The files, below $XDG_DATA_HOME/bailey/secrets, each 0600 in a directory of 0700:
//
//	index.json   Entry by Entry: what is known of each secret without its value
//	vault.age    values, encrypted to vault.key
//	vault.key    the key, as age-keygen writes it; or vault.key.age, the same encrypted by a passphrase
//	projections.json   which files of variables sandboxes see, with what stands for the values
//	lock         held while one of them changes
//	NAME.lock    held while a secret is renewed
package secret

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/credential"
)

// Sentinels that a caller branches on.
var (
	// ErrNotFound: there is no secret of that name.
	ErrNotFound = errors.New("no such secret")
	// ErrLocked: the secret is kept where a human must open it first.
	ErrLocked = errors.New("it is locked")
)

// Where values are kept by us. Any other source is a reference: "op://VAULT/ITEM/FIELD", "env:NAME", "file:PATH",
// "dotenv:PATH#VARIABLE" or "command:SHELL COMMAND".
const (
	Keyring = "keyring"
	Vault   = "age"
)

// Entry is what is known of a secret without its value.
type Entry struct {
	Name    string `json:"name"`
	Service string `json:"service,omitempty"` // of credential.Services, or ""
	Source  string `json:"source"`
	// Bindings are where it may go. None means where the service's go.
	Bindings []Binding `json:"bindings,omitempty"`
	// Env is the variables that hold its placeholder inside. None means the service's.
	Env []string `json:"env,omitempty"`
	// Prefix is how the value begins, where that says what it is; what stands for it begins so too.
	Prefix string `json:"prefix,omitempty"`
	// Sandboxes are those that may use it; none means every one.
	Sandboxes []string  `json:"sandboxes,omitempty"`
	Changed   time.Time `json:"changed"`
	Used      time.Time `json:"used,omitzero"` // to the minute
}

// Binding is a credential.Binding as people write it.
type Binding struct {
	Host    string   `json:"host"` // HOST, HOST:PORT or *.DOMAIN
	As      []string `json:"as"`   // as credential.ParsePlace reads them
	Foreign bool     `json:"foreign,omitempty"`
}

// For says whether the sandbox called name may use the secret.
func (e Entry) For(name string) bool {
	return len(e.Sandboxes) == 0 || slices.Contains(e.Sandboxes, name)
}

// Resolved is an Entry with what it takes from its service.
type Resolved struct {
	Bindings []credential.Binding
	Env      []string
	Shape    credential.Shape
}

// Resolve reads e. Its error says what in it cannot be used.
func (e Entry) Resolve() (Resolved, error) {
	var r Resolved
	service, known := credential.FindService(e.Service)
	if e.Service != "" && !known {
		return Resolved{}, fmt.Errorf("the service %q is not known; known are %s", e.Service, strings.Join(credential.ServiceNames(), ", "))
	}
	r.Bindings, r.Env, r.Shape = service.Bindings, service.Env, service.Shape
	if len(e.Env) > 0 {
		r.Env = e.Env
	}
	if e.Prefix != "" {
		r.Shape = credential.Shape{Prefix: e.Prefix, Length: 40}
	}
	if len(e.Bindings) > 0 {
		r.Bindings = nil
	}
	for _, b := range e.Bindings {
		resolved, err := b.resolve()
		if err != nil {
			return Resolved{}, err
		}
		r.Bindings = append(r.Bindings, resolved)
	}
	return r, nil
}

func (b Binding) resolve() (credential.Binding, error) {
	pattern, port, err := credential.ParseHost(b.Host)
	if err != nil {
		return credential.Binding{}, err
	}
	resolved := credential.Binding{Host: pattern, Port: port, Foreign: b.Foreign}
	if len(b.As) == 0 {
		return credential.Binding{}, fmt.Errorf("for %s it is not said how the secret stands in a request", b.Host)
	}
	for _, text := range b.As {
		place, err := credential.ParsePlace(text)
		if err != nil {
			return credential.Binding{}, err
		}
		resolved.As = append(resolved.As, place)
	}
	return resolved, nil
}

// check refuses an entry that could not be used.
func (e Entry) check() error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	r, err := e.Resolve()
	if err != nil {
		return err
	}
	if len(r.Bindings) == 0 {
		return errors.New("it is not said where the secret may go")
	}
	if e.Source != Keyring && e.Source != Vault {
		if _, err := parseReference(e.Source); err != nil {
			return err
		}
	}
	return nil
}

// CheckName refuses a name that is no file's and no word of a command line: lower-case letters, digits, dots, hyphens
// and underscores, at most 64.
func CheckName(name string) error {
	odd := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
	if name == "" || len(name) > 64 || odd || strings.ContainsAny(name[:1], ".-_") {
		return fmt.Errorf("%q is no name for a secret: write lower-case letters, digits, dots, hyphens and underscores", name)
	}
	return nil
}
