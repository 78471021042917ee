package cli

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/bailey-sandbox/bailey/internal/vt"
)

// rawTerminal is the user's terminal while something inside a sandbox has it.
type rawTerminal struct {
	in    *os.File
	out   *os.File
	saved *term.State
	keys  *keyboard
	once  sync.Once

	mu     sync.Mutex // held while something is written
	filter vt.Filter
	status status
	left   bool
}

// makeRaw hands the terminal over: every key goes to the sandbox, Ctrl-C too. reads says whether somebody
// inside reads the keys. The caller calls restore.
func makeRaw(in, out *os.File, reads bool) (*rawTerminal, error) {
	keys, err := newKeyboard(in)
	if err != nil {
		return nil, err
	}
	saved, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		keys.stop()
		return nil, fmt.Errorf("cannot take over the terminal: %w", err)
	}
	return &rawTerminal{in: in, out: out, saved: saved, keys: keys, filter: vt.Filter{W: out, Interactive: reads}}, nil
}

// restore gives the terminal back as it was: the modes that a full-screen program has set and not reset,
// because it runs on elsewhere or was killed; what the terminal still has to say to that program, which a
// shell would take for commands; and the line discipline. Calls after the first do nothing.
func (t *rawTerminal) restore() {
	t.once.Do(func() {
		// Who started us may have been killed, and its shell have taken the terminal: that stops nobody here.
		signal.Ignore(syscall.SIGTTOU, syscall.SIGTTIN)
		t.keys.stop()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.wipe()
		t.left = true
		_, _ = io.WriteString(t.out, t.filter.Reset())
		if t.filter.Talks() {
			t.keys.discardAnswers(t.out)
		}
		_ = term.Restore(int(t.in.Fd()), t.saved)
	})
}

// restoreOnPanic is deferred in goroutines of their own, whose panics would pass by everybody's deferred
// restore and leave a terminal in which nothing can be typed.
func (t *rawTerminal) restoreOnPanic() {
	if p := recover(); p != nil {
		t.restore()
		panic(p)
	}
}

// shown is a stream for output from inside. Where it is a terminal, nobody inside has that terminal: what
// draws passes, and done undoes what is left of it. Everything else gets the bytes as they are.
func shown(stream io.Writer) (w io.Writer, done func() (clipboard bool)) {
	if _, tty := terminal(stream); !tty {
		return stream, func() bool { return false }
	}
	f := &vt.Filter{W: stream}
	return f, func() bool {
		_, _ = io.WriteString(stream, f.Reset())
		return f.Clipboard()
	}
}
