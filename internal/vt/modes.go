package vt

import (
	"fmt"
	"slices"
	"strings"
)

// modes remembers what passed a filter and would stay when the application is gone. The zero value is a
// terminal as a shell has it.
type modes struct {
	private []string // DECSET modes that are off by default, in the order of setting
	noWrap  bool
	hidden  bool // the cursor
	insert  bool
	keypad  bool
	region  bool    // a scroll region
	style   bool    // the cursor's shape
	keys    bool    // xterm's modified keys
	kitty   [2]int  // kitty's keyboard modes pushed, on the main and the alternate screen
	sgr     bool    // colours and the like of text
	saved   bool    // the same, of the text's state that was saved with the cursor
	shifted bool    // to the second character set
	drawing [4]bool // sets other than ASCII
	link    bool
	titles  int // remembered
	palette bool
	colours [10]bool // of text, background, cursor …, that OSC 10 to 19 set
}

// passes says which modes an application may switch. Not among them: ANSI 2 and 12, which lock the keyboard
// and stop echoing; 2, after which the terminal is a VT52 and reads other sequences; 3, which resizes;
// 1001, in which a terminal waits for answers; saving and restoring of modes, which could not be followed.
func passes(prefix, mode string) bool {
	if prefix == "" {
		return mode == "4"
	}
	return watched(mode) || slices.Contains([]string{"7", "12", "25", "1007", "1048"}, mode)
}

// watched are private modes that are off by default and are reset: keys, video and margins, screens, mouse,
// focus, bracketed paste, synchronised output, graphemes, reports of the colour scheme and the size.
func watched(mode string) bool {
	return slices.Contains([]string{"1", "5", "6", "66", "69", "2004", "2026", "2027"}, mode) || screen(mode) || reporting(mode)
}

func screen(mode string) bool { return slices.Contains([]string{"47", "1047", "1049"}, mode) }

// reporting are modes in which a terminal speaks without being asked.
func reporting(mode string) bool {
	return slices.Contains([]string{"9", "1000", "1002", "1003", "1004", "1005", "1006", "1015", "1016", "2031", "2048"}, mode)
}

func (m *modes) reports() bool {
	return slices.ContainsFunc(m.private, reporting) || m.kitty != [2]int{}
}

// alternate is 1 on the alternate screen.
func (m *modes) alternate() int {
	if slices.ContainsFunc(m.private, screen) {
		return 1
	}
	return 0
}

// shift follows SO and SI.
func (m *modes) shift(c byte) {
	if c == 0x0e || c == 0x0f {
		m.shifted = c == 0x0e
	}
}

func (m *modes) escape(body string) {
	switch body {
	case "c": // everything is reset
		*m = modes{titles: m.titles}
	case "=", ">":
		m.keypad = body == "="
	case "7":
		m.save()
	case "8":
		m.restore()
	default:
		if i := strings.IndexByte("()*+", body[0]); i >= 0 {
			m.drawing[i] = body[1] != 'B'
		}
	}
}

func (m *modes) save()    { m.saved = m.saved || m.sgr }
func (m *modes) restore() { m.sgr = m.sgr || m.saved }

func (m *modes) csi(prefix, params, command string) {
	first, second, more := strings.Cut(params, ";")
	switch prefix + command {
	case "h", "l":
		m.insert = command == "h"
	case "?h", "?l":
		for n := range strings.SplitSeq(params, ";") {
			m.set(n, command == "h")
		}
	case "m":
		m.sgr = more || first != "" && first != "0"
	case "r":
		m.region = more || first != ""
	case "s":
		m.save()
	case "u":
		m.restore()
	case " q":
		m.style = first != "" && first != "0"
	case ">m":
		m.keys = more && second != "0"
	case ">u", "=u": // a mode that is set on the bottom of the stack is popped like one that was pushed
		if n := &m.kitty[m.alternate()]; *n < 64 && (prefix == ">" || *n == 0) {
			*n++
		}
	case "<u":
		n := 1
		_, _ = fmt.Sscan(first, &n)
		m.kitty[m.alternate()] = max(0, m.kitty[m.alternate()]-max(n, 1))
	}
}

func (m *modes) set(n string, on bool) {
	switch {
	case n == "25":
		m.hidden = !on
	case n == "7":
		m.noWrap = !on
	case n == "1048" && on, n == "1049" && on:
		m.save()
	case n == "1048", n == "1049":
		m.restore()
	}
	m.private = slices.DeleteFunc(m.private, func(s string) bool { return s == n })
	if on && watched(n) {
		m.private = append(m.private, n)
	}
}

// keepTitle follows the stack of titles, of which terminals keep ten: it says whether one can be remembered, or
// given back.
func (m *modes) keepTitle(remember bool) bool {
	switch {
	case remember && m.titles < 10:
		m.titles++
		return true
	case !remember && m.titles > 0:
		m.titles--
		return true
	}
	return false
}

func (m *modes) colour(n int, text string) {
	switch {
	case n == 104:
		m.palette = m.palette && text != ""
	case n >= 110:
		m.colours[n-110] = false
	case n == 4:
		m.palette = m.palette || !strings.HasSuffix(text, "?")
	default: // OSC 10 with two colours sets 10 and 11
		for i, c := range strings.Split(text, ";") {
			if k := n - 10 + i; k < len(m.colours) && c != "?" && c != "" {
				m.colours[k] = true
			}
		}
	}
}

// reset undoes what is left, nothing else. The screen comes first, because the rest belongs to both.
func (m *modes) reset() string {
	var b strings.Builder
	add := func(on bool, text string) {
		if on {
			b.WriteString(text)
		}
	}
	pop := func(n int) { add(n > 0, fmt.Sprintf("\x1b[<%du", n)) }
	alternate := m.alternate()
	if alternate == 1 {
		pop(m.kitty[1])
	}
	for _, n := range slices.Backward(m.private) {
		b.WriteString("\x1b[?" + n + "l")
	}
	pop(m.kitty[0])
	add(m.region, "\x1b7\x1b[r\x1b8") // it would move the cursor
	add(m.noWrap, "\x1b[?7h")
	add(m.insert, "\x1b[4l")
	add(m.keypad, "\x1b>")
	add(m.keys, "\x1b[>4m")
	add(m.style, "\x1b[0 q")
	add(m.shifted, "\x0f")
	for i, set := range m.drawing {
		add(set, "\x1b"+"()*+"[i:i+1]+"B")
	}
	add(m.link, "\x1b]8;;\x1b\\")
	add(m.palette, "\x1b]104\x1b\\")
	for i, set := range m.colours {
		add(set, fmt.Sprintf("\x1b]%d\x1b\\", 110+i))
	}
	add(m.titles > 0, strings.Repeat("\x1b[23;0t", m.titles))
	add(m.hidden, "\x1b[?25h")
	add(m.sgr || b.Len() > 0, "\x1b[0m")
	return b.String()
}
