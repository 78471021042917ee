// Package gitpush reads what git sends to push over HTTP (gitprotocol-pack and gitformat-pack of git's manual): which
// refs are to change, whether one would lose commits, and whether what the forge itself runs would change. It is pure
// but for the reader that it is given, and judges nothing: egress asks policy. What it cannot tell it says so.
package gitpush

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxCommands is how many refs one push may change.
	maxCommands = 1000
	// maxLine is git's own limit for a line, in bytes, with its length.
	maxLine = 65520
)

// Command is the change of one ref. An id is hexadecimal; of zeros only, it is that of nothing.
type Command struct {
	Old, New, Ref string
}

// Creates says whether the ref is to be new.
func (c Command) Creates() bool { return zero(c.Old) }

// Deletes says whether the ref is to go.
func (c Command) Deletes() bool { return zero(c.New) }

func zero(id string) bool { return strings.Trim(id, "0") == "" }

// Push is one push as far as it has been read.
type Push struct {
	Commands []Command
	caps     []string
	idSize   int // in bytes
	pack     *pack
}

// ReadCommands reads the part of a push before its pack. A client that only tries the way sends a push of no commands.
// Errors are about what the client sent, and can be shown; those of r are returned as they are.
func ReadCommands(r *bufio.Reader) (*Push, error) {
	p := &Push{idSize: 20}
	for {
		line, flush, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if flush {
			break
		}
		if strings.HasPrefix(line, "shallow ") {
			continue // only says where the client's own history ends
		}
		if len(p.Commands) == 0 {
			var caps string
			line, caps, _ = strings.Cut(line, "\x00")
			p.caps = strings.Fields(caps)
			if p.has("object-format=sha256") {
				p.idSize = 32
			}
		}
		c, err := parseCommand(line, 2*p.idSize)
		if err != nil {
			return nil, err
		}
		if p.Commands = append(p.Commands, c); len(p.Commands) > maxCommands {
			return nil, fmt.Errorf("the push changes more than %d refs", maxCommands)
		}
	}
	if p.has("push-options") {
		// They can make the forge merge, or skip its checks.
		return nil, errors.New("the push has options (git push -o), which are not passed on")
	}
	return p, nil
}

func (p *Push) has(capability string) bool { return slices.Contains(p.caps, capability) }

// readLine reads one line of the protocol, without its newline. Lines of a signed push are none that are known.
func readLine(r *bufio.Reader) (line string, flush bool, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", false, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	switch {
	case err == nil && n == 0:
		return "", true, nil
	case err != nil || n < 4 || n > maxLine:
		return "", false, errors.New("the push is not in git's form")
	}
	text := make([]byte, n-4)
	if _, err := io.ReadFull(r, text); err != nil {
		return "", false, err
	}
	return strings.TrimSuffix(string(text), "\n"), false, nil
}

func parseCommand(line string, digits int) (Command, error) {
	c := Command{}
	var ok bool
	c.Old, line, ok = strings.Cut(line, " ")
	if ok {
		c.New, c.Ref, ok = strings.Cut(line, " ")
	}
	switch {
	case !ok || !isID(c.Old, digits) || !isID(c.New, digits):
		return Command{}, errors.New("the push has a line that is no change of a ref")
	case !isRef(c.Ref):
		return Command{}, errors.New("the push names a ref that git would not take")
	case zero(c.Old) && zero(c.New):
		return Command{}, errors.New("the push would make a ref of nothing")
	}
	return c, nil
}

func isID(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}

// isRef is what git-check-ref-format takes, and a little less.
func isRef(ref string) bool {
	if !strings.HasPrefix(ref, "refs/") || len(ref) > 1000 || strings.Contains(ref, "..") || strings.Contains(ref, "@{") {
		return false
	}
	for segment := range strings.SplitSeq(ref, "/") {
		if segment == "" || segment[0] == '.' || strings.HasSuffix(segment, ".") || strings.HasSuffix(segment, ".lock") {
			return false
		}
	}
	return !strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' || strings.ContainsRune(`~^:?*[\`, r) })
}
