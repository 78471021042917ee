package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/vt"
)

// passKeys sends the keyboard to the process, but for the keys that are ours. It reports whether they leave.
func (x *interaction) passKeys(raw *rawTerminal) (detached bool) {
	in := &detachReader{r: raw.keys, keys: x.detach, asks: func() bool { return len(x.questions.open()) > 0 }}
	for {
		_, err := io.Copy(x.process.Stdin, in)
		if !errors.Is(err, errAsked) {
			return errors.Is(err, errDetached)
		}
		say, release := raw.hold()
		x.questions.put(raw.keys, say)
		release()
		x.redraw()
	}
}

// showQuestions has a line on the user's terminal say that there are questions, until it is told to end.
func (x *interaction) showQuestions(raw *rawTerminal) (end func()) {
	if x.questions.client == nil {
		return func() {}
	}
	keys := "bailey approvals"
	if n := len(x.detach); n > 1 && x.detach[n-1] != questionKey {
		keys = spelled(x.detach[:n-1]) + " " + string(questionKey)
	}
	raw.mu.Lock()
	raw.status.text = func(width int) string {
		v := x.questions.now()
		if len(v.Questions) > 0 {
			return hintLine(v.Questions, keys, width)
		}
		if v.Alert != "" {
			return ending(" bailey: "+vt.OneLine(v.Alert)+" ", width)
		}
		return ""
	}
	raw.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer raw.restoreOnPanic()
		x.questions.follow(ctx, func() {
			go func() { // while a question is on the screen, this waits for its answer
				defer raw.restoreOnPanic()
				raw.label(vt.OneLine(x.questions.now().Spent))
				if raw.refresh() {
					x.redraw()
				}
			}()
		})
	}()
	return cancel
}

// redraw has a full-screen program paint anew what a line of ours has covered: it sees its window change, and change
// back. Some look at the width only.
func (x *interaction) redraw() {
	rows, cols := x.size()
	_ = x.process.Resize(max(rows-1, 1), max(cols-1, 1))
	time.AfterFunc(glancing, func() { _ = x.process.Resize(x.size()) })
}

// spelled is keys as parseDetachKeys reads them, with spaces between them.
func spelled(keys []byte) string {
	var names []string
	for _, c := range keys {
		name := string(rune(c))
		if c < ' ' {
			name = "ctrl-" + strings.ToLower(string(rune(c|0x40)))
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}
