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

// Pick is before with hunks of it, in their order. It fails where they are those of another text. What is common to two
// of them, as to parts of one, may stand in both.
func Pick(before string, hunks []Hunk) (string, bool) {
	lines := splitLines(before)
	var b strings.Builder
	at := 0 // lines of before that are done
	for _, h := range hunks {
		old := h.OldStart - 1
		for ; at < min(old, len(lines)); at++ {
			b.WriteString(lines[at])
		}
		for _, l := range h.Lines {
			if l.Op == '+' {
				b.WriteString(l.Text)
				continue
			}
			if old < 0 || old >= len(lines) || lines[old] != l.Text || old < at && l.Op == '-' {
				return "", false
			}
			if old == at {
				at++
				if l.Op == ' ' {
					b.WriteString(l.Text)
				}
			}
			old++
		}
	}
	for _, l := range lines[at:] {
		b.WriteString(l)
	}
	return b.String(), true
}

// Split is the hunk in its smallest parts, each with what is around it.
func (h Hunk) Split() []Hunk {
	var parts []Hunk
	old, now := h.OldStart, h.NewStart // of the line that is looked at
	start := 0                         // the first line that no edit has passed
	for i := 0; i < len(h.Lines); {
		if h.Lines[i].Op == ' ' {
			i, old, now = i+1, old+1, now+1
			continue
		}
		lead := max(start, i-Context)
		part := Hunk{OldStart: old - (i - lead), NewStart: now - (i - lead)}
		for ; i < len(h.Lines) && h.Lines[i].Op != ' '; i++ {
			if h.Lines[i].Op == '-' {
				old++
			} else {
				now++
			}
		}
		start = i
		trail := i
		for trail < len(h.Lines) && h.Lines[trail].Op == ' ' && trail-i < Context {
			trail++
		}
		part.Lines = h.Lines[lead:trail]
		for _, l := range part.Lines {
			if l.Op != '+' {
				part.OldLines++
			}
			if l.Op != '-' {
				part.NewLines++
			}
		}
		parts = append(parts, part)
	}
	return parts
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
