package picker

import (
	"fmt"
	"strings"

	"golang.org/x/text/width"

	"github.com/bailey-sandbox/bailey/internal/patch"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

// Style is how a line looks: a paint gives it colours, or not.
type Style int

// The styles of lines.
const (
	Plain Style = iota
	Title
	Cursor
	Warn
	Added
	Removed
	Header
	Keys
)

// Line is one line of the window, no wider than it.
type Line struct {
	Style Style
	Text  string
}

const (
	listKeys = "j/k move  enter open  y/n file  A harmless  u undo  / search  w apply  q quit  ? help"
	fileKeys = "y/n hunk  a/d rest of file  j/k hunk  J/K file  s split  u undo  w apply  esc list  ?"
)

// View is the window: as many lines as it has rows.
func (m *Model) View() []Line {
	var body []Line
	switch {
	case m.help:
		body = helpLines()
	case m.open:
		body, _ = m.fileLines()
	default:
		body = m.listLines()
	}
	room := m.rows - 2
	top := min(m.top, max(0, len(body)-room))
	if m.help {
		top = 0
	}
	lines := []Line{{Title, m.head()}}
	lines = append(lines, body[top:min(len(body), top+room)]...)
	for len(lines) < m.rows-1 {
		lines = append(lines, Line{})
	}
	lines = append(lines, Line{Keys, m.foot()})
	for i := range lines {
		lines[i].Text = fit(lines[i].Text, m.cols)
	}
	return lines
}

func (m *Model) head() string {
	taken, left := 0, 0
	for i := range m.files {
		_, all, some := m.Taken(i)
		switch {
		case all || some:
			taken++
		case m.files[i].decided():
			left++
		}
	}
	return fmt.Sprintf("%d of %d files taken, %d left out: %s", taken, len(m.files), left, m.title)
}

func (f *File) decided() bool {
	for _, d := range f.decisions {
		if d == Undecided {
			return false
		}
	}
	return true
}

func (m *Model) foot() string {
	switch {
	case m.ask != "":
		return m.ask
	case m.typing:
		return "/" + m.search + "_"
	case m.say != "":
		return m.say
	case m.open:
		return fileKeys
	default:
		return listKeys
	}
}

// mark is a file's decision in the list, or a hunk's.
func (f *File) mark() string {
	take, leave := 0, 0
	for _, d := range f.decisions {
		switch d {
		case Take:
			take++
		case Leave:
			leave++
		}
	}
	switch n := len(f.decisions); {
	case take == n:
		return "[x]"
	case take > 0:
		return "[/]"
	case leave == n:
		return "[-]"
	case f.Blocked:
		return "[!]"
	default:
		return "[ ]"
	}
}

func (m *Model) listLines() []Line {
	var lines []Line
	for i, f := range m.files {
		text := fmt.Sprintf(" %s %s  +%d -%d", f.mark(), f.Title, f.Add, f.Del)
		if len(f.Notes) > 0 {
			text += "  ! " + strings.Join(f.Notes, "; ")
		}
		style := Plain
		if f.Risky || f.Blocked {
			style = Warn
		}
		if i == m.file {
			style, text = Cursor, ">"+text[1:]
		}
		lines = append(lines, Line{style, text})
	}
	return lines
}

// fileLines is the open file, and where its current hunk begins.
func (m *Model) fileLines() (lines []Line, at int) {
	f := m.current()
	lines = append(lines, Line{Cursor, f.mark() + " " + f.Title})
	for _, n := range f.Notes {
		for _, part := range wrap("! "+n, m.cols) {
			lines = append(lines, Line{Warn, part})
		}
	}
	if len(f.Hunks) == 0 {
		return append(lines, Line{Plain, "  y takes this change, n leaves it out"}), 0
	}
	for i, h := range f.Hunks {
		style, mark := Header, " "
		if i == m.hunk {
			at, style, mark = len(lines), Cursor, ">"
		}
		state := map[Decision]string{Undecided: "", Take: "  [taken]", Leave: "  [left out]"}[f.decisions[i]]
		lines = append(lines, Line{style, fmt.Sprintf("%s%s  %d of %d%s", mark, h.Header(), i+1, len(f.Hunks), state)})
		if m.side {
			lines = append(lines, sideBySide(h, m.cols)...)
		} else {
			lines = append(lines, unified(h)...)
		}
	}
	return lines, at
}

func unified(h patch.Hunk) (lines []Line) {
	for _, l := range h.Lines {
		lines = append(lines, Line{styleOf(l.Op), string(l.Op) + content(l)})
	}
	return lines
}

// content is a line without its newline; where it has none, that is said.
func content(l patch.Line) string {
	text, ended := strings.CutSuffix(l.Text, "\n")
	if !ended {
		text += " (no newline at the end)"
	}
	return text
}

func styleOf(op byte) Style {
	switch op {
	case '+':
		return Added
	case '-':
		return Removed
	}
	return Plain
}

// sideBySide puts what is removed beside what is added.
func sideBySide(h patch.Hunk, cols int) (lines []Line) {
	half := (cols - 3) / 2
	row := func(style Style, left, right string) {
		lines = append(lines, Line{style, pad(left, half) + " | " + right})
	}
	var removed, added []string
	flush := func() {
		for i := range max(len(removed), len(added)) {
			left, right, style := "", "", Header
			if i < len(removed) {
				left, style = removed[i], Removed
			}
			if i < len(added) {
				right = added[i]
				if left == "" {
					style = Added
				} else {
					style = Header
				}
			}
			row(style, left, right)
		}
		removed, added = nil, nil
	}
	for _, l := range h.Lines {
		switch l.Op {
		case '-':
			removed = append(removed, "-"+content(l))
		case '+':
			added = append(added, "+"+content(l))
		default:
			flush()
			row(Plain, " "+content(l), " "+content(l))
		}
	}
	flush()
	return lines
}

// follow scrolls so that the cursor is in the window.
func (m *Model) follow() {
	at, length := m.file, len(m.files)
	if m.open {
		var lines []Line
		lines, at = m.fileLines()
		length = len(lines)
	}
	room := m.rows - 2
	if m.open {
		m.top = at // a hunk from its first line on
		if m.hunk == 0 {
			m.top = 0 // with what is said of the file
		}
	} else if at < m.top || at >= m.top+room {
		m.top = at - room/2
	}
	m.top = max(0, min(m.top, length-room))
}

func helpLines() (lines []Line) {
	for _, text := range []string{
		"", "  in the list", "", "  j k up down      the next file, the one before", "  enter            look into it",
		"  y n              take the file, leave it out", "  A                take every file that has no risk and no decision yet",
		"", "  in a file", "", "  y n              take this hunk, leave it out", "  a d              take, or leave out, this hunk and all behind it",
		"  j k J K          the next hunk or file, the one before", "  space pgup       scroll", "  s                split this hunk into its parts", "  tab              before and after beside each other", "  esc              back to the list",
		"", "  u undo   / search   N next   w apply what is taken   q quit, and decide nothing",
	} {
		lines = append(lines, Line{Plain, text})
	}
	return lines
}

// fit makes text safe to show and no wider than cols.
func fit(text string, cols int) string {
	var b strings.Builder
	used := 0
	for _, r := range vt.OneLine(strings.ReplaceAll(text, "\t", "    ")) {
		w := runeWidth(r)
		if used+w > cols {
			break
		}
		b.WriteRune(r)
		used += w
	}
	return b.String()
}

// pad is fit, with spaces up to cols.
func pad(text string, cols int) string {
	text = fit(text, cols)
	used := 0
	for _, r := range text {
		used += runeWidth(r)
	}
	return text + strings.Repeat(" ", max(0, cols-used))
}

func runeWidth(r rune) int {
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// wrap breaks text into lines at spaces.
func wrap(text string, cols int) (lines []string) {
	for _, word := range strings.Fields(text) {
		if n := len(lines); n > 0 && len(lines[n-1])+1+len(word) <= cols {
			lines[n-1] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}
