package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

func decodeCommand(extra []byte) (guestproto.Command, error) {
	var cmd guestproto.Command
	if err := decodeStrict(extra, &cmd); err != nil {
		return cmd, err
	}
	if len(cmd.Argv) == 0 || cmd.Argv[0] == "" {
		return cmd, errors.New("no command is given")
	}
	for _, entry := range cmd.Env {
		if strings.Index(entry, "=") < 1 {
			return cmd, fmt.Errorf("the environment entry %q is not KEY=VALUE", entry)
		}
	}
	for _, s := range append(append([]string{cmd.Dir, cmd.Term}, cmd.Argv...), cmd.Env...) {
		if strings.ContainsRune(s, 0) {
			return cmd, errors.New("the command contains a NUL byte")
		}
	}
	if cmd.Session != "" {
		if err := checkSession(cmd.Session); err != nil {
			return cmd, err
		}
	} else if cmd.Detach {
		return cmd, errors.New("only a session can be detached from")
	}
	cmd.Rows, cmd.Cols = clamp(cmd.Rows), clamp(cmd.Cols)
	return cmd, nil
}

func decodeAttach(extra []byte) (guestproto.Attach, error) {
	var a guestproto.Attach
	if err := decodeStrict(extra, &a); err != nil {
		return a, err
	}
	a.Rows, a.Cols = clamp(a.Rows), clamp(a.Cols)
	return a, checkSession(a.Session)
}

func decodeKill(payload []byte) (guestproto.Kill, error) {
	var k guestproto.Kill
	if err := decodeStrict(payload, &k); err != nil {
		return k, err
	}
	return k, checkSession(k.Session)
}

func decodePause(payload []byte) (guestproto.Pause, error) {
	var p guestproto.Pause
	err := decodeStrict(payload, &p)
	return p, err
}

// decodeStrict refuses fields it does not know: they would be promises that nobody keeps.
func decodeStrict(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return errors.New("cannot understand the request: " + err.Error())
	}
	return nil
}

// checkSession keeps names to what can be shown, typed and told apart.
func checkSession(name string) error {
	if name == "" || len(name) > 64 {
		return errors.New("a session's name has 1 to 64 bytes")
	}
	for i, c := range []byte(name) {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !word && (i == 0 || c != '-' && c != '_' && c != '.') {
			return fmt.Errorf("invalid session name %q: only letters, digits and inner -_. are allowed", name)
		}
	}
	return nil
}

type window struct{ rows, cols int }

// decodeWindow reads "window-change" (RFC 4254, section 6.7).
func decodeWindow(payload []byte) (window, error) {
	var m struct{ Cols, Rows, Width, Height uint32 }
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return window{}, err
	}
	return window{clamp(int(m.Rows)), clamp(int(m.Cols))}, nil
}

// decodePty reads "pty-req" (RFC 4254, section 6.2). The encoded modes are not applied: the client's
// terminal is raw and its settings say nothing about ours.
func decodePty(payload []byte) (term string, size window, err error) {
	var m struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return "", window{}, err
	}
	if strings.ContainsRune(m.Term, 0) {
		return "", window{}, errors.New("the terminal's name contains a NUL byte")
	}
	return m.Term, window{clamp(int(m.Rows)), clamp(int(m.Cols))}, nil
}

// decodeEnv reads "env" (RFC 4254, section 6.4) as KEY=VALUE.
func decodeEnv(payload []byte) (string, error) {
	var m struct{ Name, Value string }
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return "", err
	}
	if m.Name == "" || strings.ContainsAny(m.Name, "=\x00") || strings.ContainsRune(m.Value, 0) {
		return "", errors.New("not an environment variable")
	}
	return m.Name + "=" + m.Value, nil
}

// decodeExec reads "exec" (RFC 4254, section 6.5).
func decodeExec(payload []byte) (string, error) {
	var m struct{ Command string }
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return "", err
	}
	if strings.ContainsRune(m.Command, 0) {
		return "", errors.New("the command contains a NUL byte")
	}
	return m.Command, nil
}

// decodeSignal reads "signal" (RFC 4254, section 6.9).
func decodeSignal(payload []byte) (syscall.Signal, error) {
	var m struct{ Name string }
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return 0, err
	}
	return signalNumber(m.Name)
}

func clamp(n int) int { return min(max(n, 0), math.MaxUint16) }
