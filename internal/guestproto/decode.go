package guestproto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Bounds on what the guest may make the host hold or show.
const (
	maxMessage  = 512 // bytes of an error text, escaped
	maxSessions = 64
)

// StartError says why the guest did not start a command, or did not let a client attach.
type StartError struct {
	// Code is what a shell would exit with: 127 for a command that is not there, 126 for one that cannot
	// be executed. It is 0 for every other reason.
	Code int
	// Message is the guest's own text, escaped and bounded.
	Message string
}

func (e *StartError) Error() string { return "cannot start the command: " + e.Message }

// startError makes the answer to a channel opening safe to show.
func startError(err error) error {
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return fmt.Errorf("cannot start the command: %w", safe(err))
	}
	e := &StartError{Message: printable(refused.Message, maxMessage)}
	if code := int64(refused.Reason) - RejectStart; code == 126 || code == 127 {
		e.Code = int(code)
	}
	return e
}

// safe keeps the errors that a caller may test for and escapes the text of all others, because SSH's own
// errors quote the other side.
func safe(err error) error {
	for _, plain := range []error{context.Canceled, context.DeadlineExceeded, io.EOF} {
		if errors.Is(err, plain) {
			return plain
		}
	}
	if err == nil {
		return nil
	}
	return errors.New(printable(err.Error(), maxMessage))
}

// printable escapes everything in s that could act on a terminal or forge a line, and cuts it to limit
// bytes.
func printable(s string, limit int) string {
	const cut = "..."
	if len(s) > limit {
		s = s[:limit]
	}
	q := strconv.QuoteToGraphic(s)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if len(q) > limit {
		q = strings.ToValidUTF8(q[:limit-len(cut)], "") + cut
	}
	return q
}

func decodeSessions(payload []byte) ([]Session, error) {
	var list []Session
	if err := json.Unmarshal(payload, &list); err != nil {
		return nil, errors.New("cannot list sessions: the guest's answer is not a list of sessions")
	}
	if len(list) > maxSessions {
		return nil, fmt.Errorf("cannot list sessions: the guest tells %d of them, at most %d are accepted", len(list), maxSessions)
	}
	return list, nil
}

func decodeExitStatus(payload []byte) (code int, ok bool) {
	var m struct{ Code uint32 }
	if ssh.Unmarshal(payload, &m) != nil || m.Code > 255 {
		return 0, false
	}
	return int(m.Code), true
}

// decodeExitSignal returns the signal's name, or "" when it does not look like one.
func decodeExitSignal(payload []byte) string {
	var m struct {
		Name       string
		Core       bool
		Text, Lang string
	}
	if ssh.Unmarshal(payload, &m) != nil || len(m.Name) > 16 {
		return ""
	}
	for _, c := range []byte(m.Name) {
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return ""
		}
	}
	return m.Name
}
