package cli

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

// typedAhead is how long a question has to be on the screen before a key can be meant for it: people need longer to
// read it, and what they were typing at something else is over by then.
const typedAhead = 700 * time.Millisecond

// prompt is a question that is on a terminal, and the keys that answer it. What asks the terminal nothing inside can
// reach: it is drawn by us, and while it is there nothing else is.
type prompt struct {
	shown time.Time
	keys  vt.Keys
}

// interrupt is ctrl-c, which is a key on a raw terminal.
const interrupt = 0x03

// reply is what a key has said.
type reply struct {
	answer api.Answer // the zero one when there is none
	later  bool       // the question stays open
	quit   bool       // so do all
}

// key takes what one read of the keyboard has brought.
func (p *prompt) key(chunk []byte, now time.Time) reply {
	if bytes.IndexByte(chunk, interrupt) >= 0 {
		return reply{later: true, quit: true}
	}
	key := p.keys.Key(chunk)
	if now.Sub(p.shown) < typedAhead {
		return reply{}
	}
	switch key {
	case 'y':
		return reply{answer: api.Answer{Verdict: "allow", Scope: api.Once}}
	case 's':
		return reply{answer: api.Answer{Verdict: "allow", Scope: api.Session}}
	case 'a':
		return reply{answer: api.Answer{Verdict: "allow", Scope: api.Always}}
	case 'n':
		return reply{answer: api.Answer{Verdict: "deny", Scope: api.Once}}
	case vt.Escape:
		return reply{later: true}
	}
	return reply{}
}

// place is what a question is about, for people.
func place(q api.Question) string {
	return vt.OneLine(net.JoinHostPort(q.Host, fmt.Sprint(q.Port)))
}

// wish is what the sandbox wants to say there, in its own words, as many as fit a line.
func wish(q api.Question) string {
	const most = 60
	if q.Protocol != "http" {
		return "any protocol"
	}
	if q.Method == "" {
		return "several requests"
	}
	text := []rune(vt.OneLine(strings.TrimSpace(q.Method + " " + q.Path)))
	if len(text) > most {
		return string(text[:most-1]) + "…"
	}
	return string(text)
}

// promptLine asks about q in at most width characters. Of the sandbox's words only the host and port are in it.
func promptLine(name string, q api.Question, width int) string {
	head, tail := " bailey: may "+name+" reach ", "?  y once · s session · a always · n no · esc later "
	what := ""
	if q.Protocol != "http" {
		what = " (any protocol)"
	}
	short := what + "? y/s/a/n/esc "
	for _, form := range [][2]string{{head, what + tail}, {" bailey: ", what + tail}, {" bailey: ", short}} {
		if room := width - length(form[0]) - length(form[1]); room >= min(length(place(q)), 30) {
			return form[0] + ending(place(q), room) + form[1]
		}
	}
	return ending(" "+place(q)+short, width)
}

// hintLine says in at most width characters that there are questions, and how they are answered.
func hintLine(list []api.Question, keys string, width int) string {
	count, about := "1 question", place(list[0])
	if len(list) > 1 {
		count = fmt.Sprintf("%d questions", len(list))
		about += ", …"
	}
	head, tail := " bailey: "+count+" about the network", " · "+keys+" "
	if room := width - length(head) - length(tail) - len(" ()"); room >= length(about) {
		return head + " (" + about + ")" + tail
	}
	return ending(head+tail, width)
}

// ending is the end of text in at most width characters: of a host, what says whose it is.
func ending(text string, width int) string {
	if length(text) <= width {
		return text
	}
	runes := []rune(text)
	return "…" + string(runes[len(runes)-max(0, width-1):])
}

// length is the number of columns: no character that we print has another width than one.
func length(text string) int { return utf8.RuneCountInString(text) }
