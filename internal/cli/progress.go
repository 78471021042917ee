package cli

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/bailey-sandbox/bailey/internal/vt"
)

// note tells the user something that is neither result nor error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.Err, "note: %s\n", vt.OneLine(a.spell(fmt.Sprintf(format, args...))))
}

// log is where libraries that run in this process write: their warnings are the user's to see.
func (a *app) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelError}))
}

// progress shows a download: one line that is written over on a terminal, one line at the start elsewhere.
type progress struct {
	app   *app
	what  string
	live  bool
	begun bool
	shown time.Time
}

func (a *app) newProgress(what string) *progress {
	return &progress{app: a, what: what, live: a.redraws() && !a.quiet, begun: a.quiet}
}

func (p *progress) update(done, total int64) {
	now := time.Now()
	if p.begun && (!p.live || now.Sub(p.shown) < 100*time.Millisecond) {
		return
	}
	p.begun, p.shown = true, now
	size := fmt.Sprintf("%d MB", done>>20)
	if total > 0 {
		size = fmt.Sprintf("%d%% of %d MB", done*100/total, total>>20)
	}
	switch {
	case p.live:
		fmt.Fprintf(p.app.Err, "\r\x1b[K%s: %s", p.what, size)
	case total > 0:
		fmt.Fprintf(p.app.Err, "%s (%d MB)\n", p.what, total>>20)
	default:
		fmt.Fprintf(p.app.Err, "%s\n", p.what)
	}
}

// done removes the line.
func (p *progress) done() {
	if p.begun && p.live {
		fmt.Fprint(p.app.Err, "\r\x1b[K")
	}
}
