package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/patch"
	"github.com/bailey-sandbox/bailey/internal/picker"
	"github.com/bailey-sandbox/bailey/internal/review"
)

// pick has the user choose on the terminal. No choices and no error is a user who has left.
func (a *app) pick(ctx context.Context, r reviewed) ([]review.Choice, error) {
	in, okIn := terminal(a.In)
	out, okOut := terminal(a.Out)
	if !okIn || !okOut {
		return nil, errors.New("choosing needs a terminal: name PATHs instead, or use --patch")
	}
	if len(r.chosen) == 0 {
		return nil, nil
	}
	rows, cols := a.size()
	model := picker.New("review of "+r.Path, pickerFiles(r), rows, cols)
	if err := a.runPicker(ctx, model, in, out); err != nil {
		return nil, err
	}
	if model.Outcome() != picker.Apply {
		return nil, nil
	}
	var choices []review.Choice
	for n, i := range r.chosen {
		hunks, all, some := model.Taken(n)
		switch {
		case all:
			choices = append(choices, review.Choice{Item: i})
		case some:
			choices = append(choices, review.Choice{Item: i, Hunks: hunks})
		}
	}
	return choices, nil
}

// pickerFiles are the items as the view has them.
func pickerFiles(r reviewed) (files []picker.File) {
	for _, i := range r.chosen {
		f := picker.File{Title: letter(i) + " " + shownPath(i), Risky: len(i.Risks) > 0 || i.Conflict != "", Blocked: !may(i, true, &applyOptions{theirs: true})}
		if i.Conflict != "" {
			f.Notes = append(f.Notes, "conflict: it "+i.Conflict+"; taking it takes the agent's")
		}
		for _, k := range i.Risks {
			f.Notes = append(f.Notes, string(k.Kind)+": "+k.Why)
		}
		if i.Joined {
			f.Notes = append(f.Notes, "joined with your own edits")
		}
		if i.Old.Mode != i.New.Mode && i.Old.Kind == changes.File && i.New.Kind == changes.File {
			f.Notes = append(f.Notes, fmt.Sprintf("mode %04o becomes %04o, if the whole is taken", i.Old.Mode, i.New.Mode))
		}
		before, after := r.Contents(i)
		switch text := patch.IsText(before) && patch.IsText(after); {
		case i.Old.Kind == changes.Link || i.New.Kind == changes.Link:
			f.Notes = append(f.Notes, fmt.Sprintf("link: %q becomes %q", i.Old.Target, i.New.Target))
		case i.New.Kind == changes.File && (i.Old.Kind == changes.File || !i.Old.Is()), i.Old.Kind == changes.File && !i.New.Is():
			if !text || i.Old.Size > 0 && before == nil || i.New.Size > 0 && after == nil {
				f.Notes = append(f.Notes, fmt.Sprintf("binary or large: %d bytes before, %d after", i.Old.Size, i.New.Size))
				break
			}
			f.Hunks = patch.Hunks(string(before), string(after))
			f.Add, f.Del = sum(f.Hunks)
		}
		files = append(files, f)
	}
	return files
}

// runPicker shows the view until it has ended.
func (a *app) runPicker(ctx context.Context, model *picker.Model, in, out *os.File) error {
	keys, err := newKeyboard(in)
	if err != nil {
		return err
	}
	saved, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		keys.stop()
		return fmt.Errorf("cannot take over the terminal: %w", err)
	}
	_, _ = io.WriteString(out, "\x1b[?1049h\x1b[?25l")
	defer func() {
		keys.stop()
		_, _ = io.WriteString(out, "\x1b[?25h\x1b[?1049l")
		_ = term.Restore(int(in.Fd()), saved)
	}()
	chunks := make(chan []byte)
	go func() {
		defer close(chunks)
		buf := make([]byte, 256)
		for {
			n, err := keys.Read(buf)
			if err != nil || n == 0 {
				return
			}
			chunks <- append([]byte(nil), buf[:n]...)
		}
	}()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	defer func() { // the reader may be about to hand a chunk over
		go func() {
			for range chunks {
			}
		}()
	}()
	for model.Outcome() == picker.Open {
		if _, err := io.WriteString(out, a.screen(model.View())); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-resized:
			model.Resize(a.size())
		case chunk, ok := <-chunks:
			if !ok {
				return errors.New("the terminal is gone")
			}
			for _, key := range picker.Parse(chunk) {
				if model.Outcome() == picker.Open {
					model.Key(key)
				}
			}
		}
	}
	return nil
}

// screen is a window's lines as a terminal takes them.
func (a *app) screen(lines []picker.Line) string {
	codes := map[picker.Style]string{picker.Title: "1", picker.Cursor: "7", picker.Warn: "33", picker.Added: "32", picker.Removed: "31", picker.Header: "36", picker.Keys: "2"}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for n, l := range lines {
		if n > 0 {
			b.WriteString("\r\n")
		}
		code := codes[l.Style]
		if code == "" || !a.colours() {
			b.WriteString(l.Text)
		} else {
			b.WriteString("\x1b[" + code + "m" + l.Text + "\x1b[0m")
		}
		b.WriteString("\x1b[K")
	}
	return b.String() + "\x1b[J"
}
