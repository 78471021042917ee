package cli

import (
	"fmt"
	"io"
	"time"
)

// statusPause is the least time between two drawings of the status line, however much is printed.
const statusPause = 50 * time.Millisecond

// status is a line at the bottom of the user's terminal, drawn over whatever is there. It is a hint: what runs inside
// can paint over it, and paint one like it.
type status struct {
	text  func(width int) string // "" for none
	drawn bool
	last  time.Time
	later *time.Timer // draws what was put off
}

// bottom writes text on the last of rows and leaves everything else of the terminal as it was: the cursor, colours,
// character sets and origin, which a terminal saves together.
func bottom(rows int, text string) string {
	return fmt.Sprintf("\x1b7\x1b[?6l\x1b[%d;1H\x1b(B\x0f\x1b[0m\x1b[2K\x1b[7m%s\x1b[0m\x1b8", rows, text)
}

// Write shows output from inside. What comes after restore is nobody's any more.
func (t *rawTerminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left {
		return len(p), nil
	}
	t.wipe() // or it would scroll away with the rest, and stay
	n, err := t.filter.Write(p)
	t.draw()
	return n, err
}

// label has the terminal's title begin with text.
func (t *rawTerminal) label(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.left {
		_ = t.filter.Label(text)
	}
}

// refresh draws the status line as it is now. It reports whether there was one that is gone.
func (t *rawTerminal) refresh() (gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	had := t.status.drawn
	t.wipe()
	t.status.last = time.Time{}
	t.draw()
	return had && !t.status.drawn
}

// wipe and draw are called with mu held.
func (t *rawTerminal) wipe() {
	if t.status.drawn && !t.left {
		rows, _ := Streams{Out: t.out}.size()
		_, _ = io.WriteString(t.out, bottom(rows, ""))
	}
	t.status.drawn = false
}

func (t *rawTerminal) draw() {
	s := &t.status
	if s.text == nil || s.drawn || t.left {
		return
	}
	rows, cols := Streams{Out: t.out}.size()
	text := s.text(cols - 1)
	if text == "" {
		return
	}
	if wait := statusPause - time.Since(s.last); wait > 0 {
		if s.later == nil {
			s.later = time.AfterFunc(wait, func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				s.later = nil
				t.draw()
			})
		}
		return
	}
	_, _ = io.WriteString(t.out, bottom(rows, text))
	s.drawn, s.last = true, time.Now()
}

// hold keeps output from inside back, which stops the agent like a pipe that is full, until release is called. say
// writes on the last line meanwhile.
func (t *rawTerminal) hold() (say func(text func(width int) string), release func()) {
	t.mu.Lock()
	say = func(text func(width int) string) {
		if !t.left {
			rows, cols := Streams{Out: t.out}.size()
			_, _ = io.WriteString(t.out, bottom(rows, text(cols-1)))
			t.status.drawn = true
		}
	}
	return say, func() {
		t.wipe()
		t.draw()
		t.mu.Unlock()
	}
}
