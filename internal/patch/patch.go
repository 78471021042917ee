// Package patch says how one text differs from another, as hunks that can be chosen one by one, joins two
// people's edits of the same text, and writes patches as git and patch(1) read them. It is pure: bytes in,
// bytes out. Texts are any bytes; what is shown to people is escaped elsewhere.
package patch

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Context is how many lines around an edit a hunk shows.
const Context = 3

// maxText bounds, in bytes, what is compared line by line. Larger files differ as a whole.
const maxText = 8 << 20

// Hunk is one edit with the lines around it.
type Hunk struct {
	OldStart, OldLines int // from 1; with no lines, the line before
	NewStart, NewLines int
	Lines              []Line
}

// Line is one line of a hunk, with its newline if it has one.
type Line struct {
	Op   byte // ' ', '-' or '+'
	Text string
}

// IsText says whether the content can be compared line by line: as git, it must have no NUL at its start.
func IsText(content []byte) bool {
	return len(content) <= maxText && bytes.IndexByte(content[:min(len(content), 8000)], 0) < 0
}

// Hunks compares two texts.
func Hunks(before, after string) []Hunk {
	if before == after {
		return nil
	}
	u, err := udiff.ToUnifiedDiff("", "", before, udiff.Lines(before, after), Context)
	if err != nil {
		// The library's own edits do not fit its own text: then everything differs.
		u, _ = udiff.ToUnifiedDiff("", "", before, []udiff.Edit{{Start: 0, End: len(before), New: after}}, Context)
	}
	var hunks []Hunk
	for _, h := range u.Hunks {
		hunk := Hunk{OldStart: h.FromLine, NewStart: h.ToLine}
		for _, l := range h.Lines {
			line := Line{Op: ' ', Text: l.Content}
			switch l.Kind {
			case udiff.Delete:
				line.Op = '-'
			case udiff.Insert:
				line.Op = '+'
			}
			if line.Op != '+' {
				hunk.OldLines++
			}
			if line.Op != '-' {
				hunk.NewLines++
			}
			hunk.Lines = append(hunk.Lines, line)
		}
		hunks = append(hunks, hunk)
	}
	return hunks
}

// Pick is before with those of its hunks that keep says.
func Pick(before string, hunks []Hunk, keep func(i int) bool) string {
	lines := splitLines(before)
	var b strings.Builder
	at := 0 // lines of before that are done
	for i, h := range hunks {
		start := h.OldStart - 1
		for _, l := range lines[at:start] {
			b.WriteString(l)
		}
		at = start + h.OldLines
		for _, l := range h.Lines {
			if l.Op == ' ' || (l.Op == '+') == keep(i) {
				b.WriteString(l.Text)
			}
		}
	}
	for _, l := range lines[at:] {
		b.WriteString(l)
	}
	return b.String()
}

// Merge joins two edits of base. It fails where they touch the same lines, or lines beside each other, in
// different ways: what belongs together only a human can say.
func Merge(base, ours, theirs string) (string, bool) {
	x, y := udiff.Lines(base, ours), udiff.Lines(base, theirs)
	var all []udiff.Edit
	for len(x) > 0 && len(y) > 0 {
		switch a, b := x[0], y[0]; {
		case a == b:
			all, x, y = append(all, a), x[1:], y[1:]
		case a.End < b.Start:
			all, x = append(all, a), x[1:]
		case b.End < a.Start:
			all, y = append(all, b), y[1:]
		default:
			return "", false
		}
	}
	merged, err := udiff.Apply(base, append(append(all, x...), y...))
	return merged, err == nil
}

func splitLines(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// Header is the line that begins a hunk.
func (h Hunk) Header() string {
	span := func(start, lines int) string {
		if lines == 1 {
			return fmt.Sprint(start)
		}
		if lines == 0 {
			start--
		}
		return fmt.Sprintf("%d,%d", start, lines)
	}
	return fmt.Sprintf("@@ -%s +%s @@", span(h.OldStart, h.OldLines), span(h.NewStart, h.NewLines))
}

// String is the hunk as it stands in a patch.
func (h Hunk) String() string {
	var b strings.Builder
	b.WriteString(h.Header() + "\n")
	for _, l := range h.Lines {
		b.WriteByte(l.Op)
		b.WriteString(l.Text)
		if !strings.HasSuffix(l.Text, "\n") {
			b.WriteString("\n\\ No newline at end of file\n")
		}
	}
	return b.String()
}
