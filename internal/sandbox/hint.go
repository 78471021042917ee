package sandbox

import "errors"

// hinted is an error with the advice that goes on the line below it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// WithHint attaches to err the exact command or change that helps. The hint is printed on its own line
// and is no part of the message.
func WithHint(err error, hint string) error {
	if err == nil || hint == "" {
		return err
	}
	return hinted{err, hint}
}

// Hint returns the outermost hint in err's tree, or "".
func Hint(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}
