package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const defaultDetachKeys = "ctrl-p,ctrl-q"

// errDetached is what reading the keyboard ends with when the detach keys were pressed; errAsked when those that open
// the questions were.
var (
	errDetached = errors.New("detached")
	errAsked    = errors.New("asked")
)

// parseDetachKeys reads keys as docker's --detach-keys takes them: single characters or ctrl-X, where X is
// a letter or one of @ [ \ ] ^ _, separated by commas. "" turns detaching off.
func parseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for _, part := range strings.Split(text, ",") {
		name, ctrl := strings.CutPrefix(strings.ToLower(part), "ctrl-")
		switch {
		case ctrl && len(name) == 1 && (name[0] >= '@' && name[0] <= '_' || name[0] >= 'a' && name[0] <= 'z'):
			keys = append(keys, name[0]&0x1f)
		case !ctrl && len(part) == 1 && part[0] >= ' ' && part[0] < 0x7f:
			keys = append(keys, part[0])
		default:
			return nil, sandbox.WithHint(fmt.Errorf("invalid detach key %q", part), "--detach-keys "+defaultDetachKeys)
		}
	}
	return keys, nil
}

// detachReader passes the keyboard on until keys were pressed in a row; then Read returns errDetached. Keys
// that begin the row are held back until it is clear that it is not one. While there are questions, the row with
// questionKey for its last key opens them: then Read returns errAsked, and what was typed behind it is lost.
type detachReader struct {
	r       io.Reader
	keys    []byte
	asks    func() bool // nil for never
	matched int
}

// opens says whether c ends the row that opens the questions.
func (d *detachReader) opens(c byte) bool {
	return c == questionKey && d.matched > 0 && d.matched == len(d.keys)-1 && c != d.keys[d.matched] && d.asks != nil && d.asks()
}

// Read needs room for the keys that were held back.
func (d *detachReader) Read(p []byte) (int, error) {
	if len(d.keys) == 0 {
		return d.r.Read(p)
	}
	if len(p) <= len(d.keys) {
		return 0, io.ErrShortBuffer
	}
	buf := make([]byte, len(p)-len(d.keys))
	n, err := d.r.Read(buf)
	out := p[:0]
	for _, c := range buf[:n] {
		if d.opens(c) {
			d.matched = 0
			return len(out), errAsked
		}
		if c != d.keys[d.matched] && d.matched > 0 {
			out = append(out, d.keys[:d.matched]...)
			d.matched = 0
		}
		if c != d.keys[d.matched] {
			out = append(out, c)
			continue
		}
		if d.matched++; d.matched == len(d.keys) {
			d.matched = 0
			return len(out), errDetached
		}
	}
	return len(out), err
}
