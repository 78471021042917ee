package api

import (
	"errors"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Error is an error that crossed a process boundary: the message, the hint, and the sentinel that the
// receiver may test with errors.Is.
type Error struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Kind    string `json:"kind,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the sentinel that Kind names, or nil.
func (e *Error) Unwrap() error { return kinds()[e.Kind] }

// Err returns e with its hint attached.
func (e *Error) Err() error { return sandbox.WithHint(e, e.Hint) }

// NewError makes err ready to cross.
func NewError(err error) *Error {
	e := &Error{Message: err.Error(), Hint: sandbox.Hint(err)}
	for kind, sentinel := range kinds() {
		if errors.Is(err, sentinel) {
			e.Kind = kind
		}
	}
	return e
}

func kinds() map[string]error {
	return map[string]error{
		"containment": sandbox.ErrContainment,
		"policy":      sandbox.ErrPolicy,
		"unsupported": sandbox.ErrUnsupported,
		"running":     ErrRunning,
		"not-running": ErrNotRunning,
		"no-question": ErrNoQuestion,
	}
}
