package vt

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Filter is a writer between an application inside and the user's terminal. What draws passes, and what
// applications need to use a terminal well: modes, colours, titles, links, notifications. What acts on the
// user's machine does not: the clipboard (OSC 52), printing, moving windows, defining keys, reading files
// (kitty's graphics), telling the terminal directories and commands, and every private invention of a
// terminal that is not listed here.
//
// Of what makes a terminal answer, as if it were typed, only questions pass whose answer the asker cannot
// choose (no title, no setting, no screen content), and only when Interactive. Answers may still be on their
// way when the user leaves: Talks says so, and the caller must then read and discard them before a shell could.
// Fence is a question that does not pass, so that its answer can only be the caller's.
//
// Methods must not be called at the same time.
type Filter struct {
	W io.Writer
	// Interactive says that somebody reads the keyboard for the application, raw. Only then may it ask the
	// terminal, or have it report the mouse and the like: otherwise a shell would read that.
	Interactive bool

	parser    parser
	out       []byte
	modes     modes
	asked     bool
	clipboard bool
	label     string // what titles begin with
	title     string // the application's, as it was last set
}

// Fence asks the terminal whether it is well; Fenced is how the answer ends, which is the last of all answers.
const (
	Fence  = "\x1b[5n"
	Fenced = "\x1b[0n"
)

// Write takes any bytes, cut anywhere. What is no escape sequence is written before it returns.
func (f *Filter) Write(data []byte) (int, error) {
	f.out = f.out[:0]
	f.parser.parse(data, f)
	if len(f.out) > 0 {
		if _, err := f.W.Write(f.out); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

// Label has the terminal's title begin with text, and an end to that with "": the application's own title follows. text is
// the caller's, and has no control characters.
func (f *Filter) Label(text string) error {
	if text == f.label {
		return nil
	}
	f.label, f.out = text, f.out[:0]
	f.rememberTitle()
	f.out = append(f.out, "\x1b]2;"+f.labelled()+"\a"...)
	_, err := f.W.Write(f.out)
	return err
}

func (f *Filter) labelled() string {
	if f.label == "" || f.title == "" {
		return f.label + f.title
	}
	return f.label + " · " + f.title
}

// rememberTitle has the terminal remember what its title was before it is set for the first time.
func (f *Filter) rememberTitle() {
	if f.modes.titles == 0 && f.modes.keepTitle(true) {
		f.out = append(f.out, "\x1b[22;0t"...)
	}
}

// Reset is what turns off what the application has switched on and left on, "" when there is nothing. It
// says what is true of the output until now, and may be asked again.
func (f *Filter) Reset() string { return f.modes.reset() }

// Talks reports whether the terminal may have something to say that it was not typed: answers, or reports of
// the mouse, the focus and the like.
func (f *Filter) Talks() bool { return f.asked || f.modes.reports() }

// Clipboard reports whether the application tried to use the clipboard.
func (f *Filter) Clipboard() bool { return f.clipboard }

func (f *Filter) text(valid []byte) { f.out = append(f.out, valid...) }

// control drops what terminals answer (ENQ), what stops them (XOFF), and what they ignore.
func (f *Filter) control(c byte) {
	switch c {
	case '\a', '\b', '\t', '\n', '\v', '\f', '\r', 0x0e, 0x0f:
		f.out = append(f.out, c)
		f.modes.shift(c)
	}
}

func (f *Filter) sequence(s sequence) {
	switch s.kind {
	case 0:
		f.escape(string(s.body))
	case '[':
		f.csi(s.body)
	case ']':
		f.osc(s)
	}
	// Device control strings program keys, ask for settings and capabilities, or hand over to a program that
	// controls the terminal (tmux -CC); application commands read files (kitty). Nothing needs them to draw.
}

// escape knows sequences without parameters. Not among them: ESC Z, which is answered; ESC % @, after which
// bytes are no longer UTF-8; ESC SP G, which asks for C1 controls.
func (f *Filter) escape(body string) {
	switch {
	case len(body) == 1 && strings.Contains("78=>DEHMc", body),
		len(body) == 2 && strings.Contains("()*+", body[:1]) && strings.Contains("0AB", body[1:]), // character sets
		len(body) == 2 && body[0] == '#' && strings.Contains("34568", body[1:]):                   // large lines
		f.out = append(append(f.out, 0x1b), body...)
		f.modes.escape(body)
	}
}

// csi knows control sequences: a private prefix, parameters, intermediates, a final byte.
func (f *Filter) csi(body []byte) {
	prefix, params, command, ok := cutCSI(body)
	if !ok {
		return
	}
	first, rest, _ := strings.Cut(params, ";")
	switch name := prefix + command; name {
	case "h", "l", "?h", "?l":
		list := slices.DeleteFunc(strings.Split(params, ";"), func(n string) bool { return !passes(prefix, n) || reporting(n) && !f.Interactive })
		if len(list) == 0 {
			return
		}
		params = strings.Join(list, ";")
	case "@", "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "P", "S", "X", "Z", "`", "a", "b", "d",
		"e", "f", "g", "m", "r", "s", "u", "?J", "?K", // drawing
		" q", "!p", "$x", // the cursor's shape, soft reset, filling
		"<u": // kitty's keyboard as it was
	case ">u", "=u": // kitty's keyboard
		if !f.Interactive {
			return
		}
	case "T":
		if rest != "" { // tracks the mouse
			return
		}
	case ">m": // xterm's modified keys
		if first != "4" {
			return
		}
	case "t":
		switch first {
		case "22", "23": // remember the title, and give it back
			if !f.modes.keepTitle(first == "22") {
				return
			}
		case "14", "16", "18": // sizes
			if !f.ask() {
				return
			}
		default: // 20 and 21 have the terminal type its title, which is chosen inside; others move the window
			return
		}
	case "c", ">c", ">q", "n", "?n", "?u", "?m", "$p", "?$p":
		if strings.HasSuffix(name, "n") && !slices.Contains([]string{"6", "?6", "?996"}, prefix+params) || !f.ask() {
			return
		}
	default:
		return
	}
	f.modes.csi(prefix, params, command)
	f.out = append(append(append(append(f.out, "\x1b["...), prefix...), params...), command...)
}

// cutCSI takes a control sequence apart. Numbers that no terminal has a use for are none.
func cutCSI(body []byte) (prefix, params, command string, ok bool) {
	text := string(body)
	if len(text) > 0 && strings.IndexByte("<=>?", text[0]) >= 0 {
		prefix, text = text[:1], text[1:]
	}
	end := 0
	for end < len(text) && text[end] >= '0' && text[end] <= ';' {
		end++
	}
	params, command = text[:end], text[end:]
	digits := 0
	for i := range len(params) {
		if digits++; params[i] > '9' {
			digits = 0
		}
		if digits > 5 {
			return "", "", "", false
		}
	}
	return prefix, params, command, true
}

// ask reports whether a question may pass.
func (f *Filter) ask() bool {
	f.asked = f.asked || f.Interactive
	return f.Interactive
}

// osc knows operating system commands. Not among them: 7, 133, 633 and 1337, which tell the terminal
// directories and commands; 51, by which editors' terminals call functions; 52, the clipboard; 99, which reports.
func (f *Filter) osc(s sequence) {
	if !utf8.Valid(s.body) || bytes.ContainsFunc(s.body, unicode.IsControl) {
		return
	}
	number, text, _ := strings.Cut(string(s.body), ";")
	n, err := strconv.Atoi(number)
	f.clipboard = f.clipboard || err == nil && n == 52
	if err != nil || n < 0 || strconv.Itoa(n) != number {
		return
	}
	body := string(s.body)
	switch {
	case n <= 2: // titles
		f.rememberTitle()
		if n != 1 { // which is the icon's
			f.title = text
			if f.label != "" {
				body = number + ";" + f.labelled()
			}
		}
	case n == 4, n >= 10 && n <= 19, n == 104, n >= 110 && n <= 119: // colours
		if strings.Contains(text, "?") && !f.ask() {
			return
		}
		f.modes.colour(n, text)
	case n == 8: // links
		if !link(text) {
			return
		}
		_, target, _ := strings.Cut(text, ";")
		f.modes.link = target != ""
	case n == 9 && notifies(text), n == 777 && strings.HasPrefix(text, "notify;"):
	default:
		return
	}
	end := "\x1b\\"
	if s.bell {
		end = "\a"
	}
	f.out = append(f.out, "\x1b]"+body+end...)
}

// link lets pass what a browser or a mail program opens. Other schemes start programs with what follows, and
// a file may be a program.
func link(text string) bool {
	_, target, ok := strings.Cut(text, ";")
	scheme, _, _ := strings.Cut(target, ":")
	return ok && slices.Contains([]string{"", "http", "https", "mailto"}, strings.ToLower(scheme))
}

// notifies is true for a message to the user, and for progress (4). ConEmu has other numbers, macros among them.
func notifies(text string) bool {
	return strings.HasPrefix(text, "4;") || text != "" && (text[0] < '0' || text[0] > '9')
}
