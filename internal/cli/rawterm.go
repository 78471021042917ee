package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"
)

// rawTerminal is the user's terminal while something inside a sandbox has it.
type rawTerminal struct {
	in    *os.File
	out   *os.File
	saved *term.State
	modes modes
	once  sync.Once
}

// makeRaw hands the terminal over: every key goes to the sandbox, Ctrl-C too. The caller calls restore.
func makeRaw(in, out *os.File) (*rawTerminal, error) {
	saved, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("cannot take over the terminal: %w", err)
	}
	return &rawTerminal{in: in, out: out, saved: saved}, nil
}

// Write shows output from inside. It comes from one goroutine.
func (t *rawTerminal) Write(p []byte) (int, error) {
	t.modes.watch(p)
	return t.out.Write(p)
}

// restore gives the terminal back as it was: its line discipline, and the modes that a full-screen program
// has set and not reset, because it runs on elsewhere or was killed. Calls after the first do nothing.
func (t *rawTerminal) restore() {
	t.once.Do(func() {
		_, _ = io.WriteString(t.out, t.modes.reset())
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

// modes remembers the private modes (DECSET, CSI ? n h) that passed by and were not reset (CSI ? n l).
type modes struct {
	set    []string // in order of setting
	hidden bool     // the cursor, which is on by default
	seq    []byte   // the sequence under way, empty outside of one
}

// maxSequence bounds a sequence under way. Private mode sequences are short; a longer one is something else.
const maxSequence = 64

// watched are the modes that are worth resetting: alternative screens, mouse, focus, bracketed paste,
// application cursor keys, synchronised output.
func watched(mode string) bool {
	return slices.Contains([]string{"1", "47", "1047", "1049", "1000", "1002", "1003", "1004", "1005", "1006", "1015", "2004", "2026"}, mode)
}

func (m *modes) watch(data []byte) {
	for _, c := range data {
		switch {
		case c == 0x1b:
			m.seq = append(m.seq[:0], c)
		case len(m.seq) == 0:
		case len(m.seq) == 1 && c != '[', len(m.seq) == 2 && c != '?', len(m.seq) >= maxSequence:
			m.seq = m.seq[:0]
		case len(m.seq) < 3, c == ';', c >= '0' && c <= '9':
			m.seq = append(m.seq, c)
		default: // a final byte
			if c == 'h' || c == 'l' {
				m.apply(strings.Split(string(m.seq[3:]), ";"), c == 'h')
			}
			m.seq = m.seq[:0]
		}
	}
}

func (m *modes) apply(numbers []string, on bool) {
	for _, n := range numbers {
		if n == "25" {
			m.hidden = !on
			continue
		}
		m.set = slices.DeleteFunc(m.set, func(s string) bool { return s == n })
		if on && watched(n) {
			m.set = append(m.set, n)
		}
	}
}

// reset is what turns off what is still on, in the reverse order.
func (m *modes) reset() string {
	var b strings.Builder
	for _, n := range slices.Backward(m.set) {
		b.WriteString("\x1b[?" + n + "l")
	}
	if m.hidden {
		b.WriteString("\x1b[?25h")
	}
	if b.Len() > 0 {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}
