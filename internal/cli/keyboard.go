package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/vt"
)

// answerTime is how long a terminal gets to answer when it is left. Far ones need a round trip; one that
// knows no answer costs this much, once.
const answerTime = time.Second

// keyboard reads a terminal, until it is stopped: a plain read cannot be, and would take the first key that is
// meant for the shell, or the answers that discardAnswers waits for.
type keyboard struct {
	tty         *os.File
	stopped, on *os.File   // a pipe, whose end is the sign
	mu          sync.Mutex // held while the terminal is read
}

func newKeyboard(tty *os.File) (*keyboard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot read the keyboard: %w", err)
	}
	return &keyboard{tty: tty, stopped: r, on: w}, nil
}

// Read returns io.EOF when the keyboard was stopped.
func (k *keyboard) Read(p []byte) (int, error) { return k.readFor(p, -time.Millisecond) }

// readFor is Read for a time, after which it returns nothing; a negative time has no end.
func (k *keyboard) readFor(p []byte, limit time.Duration) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		fds := []unix.PollFd{{Fd: int32(k.stopped.Fd()), Events: unix.POLLIN}, {Fd: int32(k.tty.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(limit.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err == nil && n == 0:
			return 0, nil
		case err != nil:
			return 0, fmt.Errorf("cannot wait for the keyboard: %w", err)
		case fds[0].Revents != 0:
			return 0, io.EOF
		default:
			return k.tty.Read(p)
		}
	}
}

// stop returns when nobody reads any more.
func (k *keyboard) stop() {
	_ = k.on.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
}

// discardAnswers reads what the terminal still has to say, and throws it away. A question of our own, whose
// answer nothing else gives, comes last. The keyboard must have been stopped.
func (k *keyboard) discardAnswers(out io.Writer) {
	if _, err := io.WriteString(out, vt.Fence); err != nil {
		return
	}
	deadline := time.Now().Add(answerTime)
	var tail string
	buf := make([]byte, 1024)
	for {
		fds := []unix.PollFd{{Fd: int32(k.tty.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline)).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n == 0 || err != nil {
			return
		}
		if n, err = k.tty.Read(buf); err != nil {
			return
		}
		tail += string(buf[:n])
		if strings.Contains(tail, vt.Fenced) {
			return
		}
		tail = tail[max(0, len(tail)-len(vt.Fenced)):]
	}
}
