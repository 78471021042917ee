// Package picker is the view in which a human goes through changes and decides which to take: a list of files, and
// the hunks of each. It is a pure model: keys go in, lines come out, and what was decided can be read at any time. It
// reads no terminal and no file; all text that it is given is made safe before it is shown.
package picker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/patch"
)

// Decision is what the user wants of a hunk, or of a file that has none.
type Decision int

// Take and Leave are decisions; Undecided ones are left.
const (
	Undecided Decision = iota
	Take
	Leave
)

// File is one change.
type File struct {
	Title   string   // status and path
	Notes   []string // why to look, and what else is to be said
	Risky   bool     // taken only one by one
	Blocked bool     // cannot be taken
	Hunks   []patch.Hunk
	Add     int
	Del     int

	decisions []Decision // one for each hunk, or one when there are none
}

// Model is the view. Its zero value but for New's is of no use.
type Model struct {
	title string
	files []File
	file  int // that the cursor is on
	hunk  int // of that file
	open  bool
	side  bool // before and after beside each other
	top   int  // first line shown of what scrolls
	rows  int
	cols  int

	ask    string // a question at the bottom, "" for none
	search string
	typing bool // a search is being typed
	help   bool
	say    string // a line at the bottom, until the next key
	past   []moment
	end    Outcome
}

// Outcome is how the view has ended.
type Outcome int

// Open has not ended; Quit decides nothing; Apply wants what was taken.
const (
	Open Outcome = iota
	Quit
	Apply
)

// moment is what undo goes back to.
type moment struct {
	file, hunk int
	open       bool
	hunks      [][]patch.Hunk
	decisions  [][]Decision
}

// New is the view of files in a window of so many rows and columns.
func New(title string, files []File, rows, cols int) *Model {
	m := &Model{title: title, files: files}
	for i := range m.files {
		m.files[i].decisions = make([]Decision, max(1, len(m.files[i].Hunks)))
	}
	m.Resize(rows, cols)
	return m
}

// Resize changes the window.
func (m *Model) Resize(rows, cols int) { m.rows, m.cols = max(rows, 5), max(cols, 20) }

// Outcome says whether the view has ended, and how.
func (m *Model) Outcome() Outcome { return m.end }

// Taken says which hunks of the file with that number are taken: all is set when every one is, or when it has none
// and is taken.
func (m *Model) Taken(file int) (hunks []patch.Hunk, all, some bool) {
	f := m.files[file]
	all = true
	for i, d := range f.decisions {
		if d == Take && i < len(f.Hunks) {
			hunks = append(hunks, f.Hunks[i])
		}
		all, some = all && d == Take, some || d == Take
	}
	return hunks, all, some
}

// Key is one key: a character, or one of the names up, down, left, right, pgup, pgdn, home, end, enter, tab, esc,
// backspace, ctrl-c.
func (m *Model) Key(key string) {
	m.say = ""
	switch {
	case key == "ctrl-c":
		m.end = Quit
	case m.help:
		m.help = false
	case m.ask != "":
		m.answer(key)
	case m.typing:
		m.typeSearch(key)
	default:
		m.command(key)
	}
}

// answer is the key after a question.
func (m *Model) answer(key string) {
	m.ask = ""
	if key == "y" {
		m.end = Apply
	}
}

func (m *Model) command(key string) {
	switch key {
	case "q":
		m.end = Quit
	case "w":
		m.askApply()
	case "?":
		m.help = true
	case "/":
		m.typing, m.search = true, ""
	case "u":
		m.undo()
	case "A":
		m.remember()
		m.takeHarmless()
	case "tab":
		m.side = !m.side
	case "s":
		m.split()
	case "y":
		m.decide(Take, m.hunk, m.hunk+1)
	case "n":
		m.decide(Leave, m.hunk, m.hunk+1)
	case "a":
		m.decide(Take, m.hunk, len(m.current().decisions))
	case "d":
		m.decide(Leave, m.hunk, len(m.current().decisions))
	default:
		m.move(key)
	}
}

func (m *Model) current() *File { return &m.files[m.file] }

// askApply asks before anything is applied.
func (m *Model) askApply() {
	files, hunks := 0, 0
	for i := range m.files {
		taken, _, some := m.Taken(i)
		if some {
			files++
			hunks += max(1, len(taken))
		}
	}
	if files == 0 {
		m.say = "nothing is taken yet: y takes a hunk, A takes all that is harmless"
		return
	}
	m.ask = fmt.Sprintf("apply %d changes in %d files? y applies, any other key goes on", hunks, files)
}

// remember notes how everything is, for undo.
func (m *Model) remember() {
	now := moment{file: m.file, hunk: m.hunk, open: m.open}
	for _, f := range m.files {
		now.hunks = append(now.hunks, f.Hunks)
		now.decisions = append(now.decisions, slices.Clone(f.decisions))
	}
	m.past = append(m.past, now)
}

func (m *Model) undo() {
	if len(m.past) == 0 {
		m.say = "nothing to undo"
		return
	}
	was := m.past[len(m.past)-1]
	m.past = m.past[:len(m.past)-1]
	m.file, m.hunk, m.open = was.file, was.hunk, was.open
	for i := range m.files {
		m.files[i].Hunks, m.files[i].decisions = was.hunks[i], was.decisions[i]
	}
	m.follow()
}

// takeHarmless takes every file that has no risk and no decision.
func (m *Model) takeHarmless() {
	n := 0
	for i := range m.files {
		f := &m.files[i]
		if f.Risky || f.Blocked || slices.ContainsFunc(f.decisions, func(d Decision) bool { return d != Undecided }) {
			continue
		}
		n++
		for k := range f.decisions {
			f.decisions[k] = Take
		}
	}
	m.say = fmt.Sprintf("took %d files; risky ones are taken one by one", n)
}

// decide decides hunks of the current file, the whole of it in the list, and goes on to the next.
func (m *Model) decide(d Decision, from, to int) {
	f := m.current()
	if f.Blocked && d == Take {
		m.say = "this cannot be applied"
		return
	}
	m.remember()
	if !m.open {
		from, to = 0, len(f.decisions)
	}
	for i := from; i < to; i++ {
		f.decisions[i] = d
	}
	if m.open && to < len(f.decisions) {
		m.hunk = to
	} else {
		m.step(1)
	}
	m.follow()
}

// split makes the parts of the current hunk hunks of their own.
func (m *Model) split() {
	f := m.current()
	if !m.open || len(f.Hunks) == 0 {
		m.say = "a hunk is split where it is shown: enter looks into a file"
		return
	}
	parts := f.Hunks[m.hunk].Split()
	if len(parts) < 2 {
		m.say = "this hunk has only one part"
		return
	}
	m.remember()
	f.Hunks = slices.Concat(f.Hunks[:m.hunk], parts, f.Hunks[m.hunk+1:])
	f.decisions = slices.Concat(f.decisions[:m.hunk], slices.Repeat([]Decision{f.decisions[m.hunk]}, len(parts)), f.decisions[m.hunk+1:])
	m.follow()
}

// step goes to the file that many further on, if there is one.
func (m *Model) step(by int) {
	to := m.file + by
	if to < 0 || to >= len(m.files) {
		if m.open && by > 0 {
			m.say = "that was the last file: w applies"
		}
		return
	}
	m.file, m.hunk = to, 0
}

func (m *Model) move(key string) {
	page := m.rows - 4
	switch key {
	case "enter", "right", "l":
		m.open = true
	case "esc", "left", "h":
		m.open = false
	case "J", "]":
		m.step(1)
	case "K", "[":
		m.step(-1)
	case "down", "j":
		m.advance(1)
		return
	case "up", "k":
		m.advance(-1)
		return
	case "pgdn", " ":
		m.scroll(page)
		return
	case "pgup":
		m.scroll(-page)
		return
	case "N":
		m.find(1)
		return
	case "home", "g":
		m.file, m.hunk = 0, 0
	case "end", "G":
		m.file, m.hunk = len(m.files)-1, 0
	}
	m.follow()
}

// advance goes to the next hunk, or file in the list.
func (m *Model) advance(by int) {
	if !m.open || len(m.current().Hunks) == 0 {
		m.step(by)
		m.follow()
		return
	}
	switch to := m.hunk + by; {
	case to < 0:
		m.step(-1)
	case to >= len(m.current().decisions):
		m.step(1)
	default:
		m.hunk = to
	}
	m.follow()
}

func (m *Model) scroll(by int) {
	if !m.open {
		m.file = min(max(0, m.file+by), len(m.files)-1)
		m.follow()
		return
	}
	lines, _ := m.fileLines()
	m.top = max(0, min(m.top+by, len(lines)-(m.rows-2)))
}

func (m *Model) typeSearch(key string) {
	switch key {
	case "enter":
		m.typing = false
		m.find(0)
	case "esc":
		m.typing, m.search = false, ""
	case "backspace":
		if r := []rune(m.search); len(r) > 0 {
			m.search = string(r[:len(r)-1])
		}
	default:
		if len([]rune(key)) == 1 {
			m.search += key
		}
	}
}

// find goes to the next file, from the one that many on, whose title or lines have what is searched for.
func (m *Model) find(skip int) {
	if m.search == "" {
		return
	}
	want := strings.ToLower(m.search)
	for n := range m.files {
		i := (m.file + skip + n) % len(m.files)
		if hunk, ok := m.files[i].mentions(want); ok {
			m.file, m.hunk = i, hunk
			m.follow()
			return
		}
	}
	m.say = "not found: " + m.search
}

func (f *File) mentions(want string) (hunk int, ok bool) {
	for i, h := range f.Hunks {
		if slices.ContainsFunc(h.Lines, func(l patch.Line) bool { return strings.Contains(strings.ToLower(l.Text), want) }) {
			return i, true
		}
	}
	return 0, strings.Contains(strings.ToLower(f.Title), want)
}
