package history

import (
	"path"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// Gemini reads the chats of Gemini CLI: */chats/**/*.json, each a document, and *.jsonl, which newer versions write.
// A message that is there twice was completed later; the last one counts.
func Gemini(dirs []string, yield func(usage.Call) bool) (Skipped, error) {
	roots, files, skipped, err := list(dirs, func(p string) bool {
		return strings.Contains("/"+p, "/chats/") && (path.Ext(p) == ".json" || path.Ext(p) == ".jsonl")
	})
	defer closeAll(roots)
	if err != nil {
		return skipped, err
	}
	type outcome struct {
		calls   []usage.Call
		skipped Skipped
	}
	type key struct{ session, message string }
	var calls []usage.Call
	known := map[key]int{}
	inOrder(files, func(f file, buf *[]byte) (o outcome) {
		o.calls, o.skipped = readGemini(f, buf)
		return o
	}, func(o outcome) bool {
		skipped.add(o.skipped)
		for _, c := range o.calls {
			k := key{c.Session, c.Request}
			at, again := known[k]
			if again = again && c.Request != ""; again {
				skipped.Duplicates++
				calls[at] = c
				continue
			}
			known[k] = len(calls)
			calls = append(calls, c)
		}
		return true
	})
	for _, c := range calls {
		if !yield(c) {
			break
		}
	}
	return skipped, nil
}

func readGemini(f file, buf *[]byte) (calls []usage.Call, skipped Skipped) {
	chat := geminiChat{session: f.base()}
	if path.Ext(f.path) == ".json" {
		text, err := f.document(maxDocument)
		if err != nil {
			return nil, Skipped{Files: 1}
		}
		calls, ok := chat.parse(text)
		if !ok {
			skipped.Lines++
		}
		return calls, skipped
	}
	opened, err := f.open()
	if err != nil {
		return nil, Skipped{Files: 1}
	}
	defer opened.Close()
	for _, p := range f.parts() {
		text, kept, long, err := p.read(opened, *buf)
		*buf = kept
		if err != nil {
			skipped.Files++
			break
		}
		skipped.Long += long
		lines(text, func(line []byte) {
			more, ok := chat.parse(line)
			if !ok {
				skipped.Lines++
			}
			calls = append(calls, more...)
		}, `"tokens"`, `"sessionId"`)
	}
	return calls, skipped
}

// geminiChat is what a message means depends on.
type geminiChat struct {
	session string
	begin   time.Time // of a message that tells no time
}

// parse reads a whole chat, or one line of it: a message, or the head that all following ones have.
func (g *geminiChat) parse(text []byte) (calls []usage.Call, ok bool) {
	c := &cursor{text: text}
	var own geminiMessage
	var messages []geminiMessage
	c.object(func(key []byte) {
		switch string(key) {
		case "sessionId":
			if id := plain(c); id != "" {
				g.session = id
			}
		case "startTime":
			g.begin = c.time()
		case "messages":
			c.array(func() {
				var m geminiMessage
				if c.next() == '{' {
					c.object(func(key []byte) { m.field(c, key) })
					messages = append(messages, m)
				}
			})
		default:
			own.field(c, key)
		}
	})
	if !c.end() {
		return nil, false
	}
	for _, m := range append(messages, own) {
		if call, is := m.call(*g); is {
			calls = append(calls, call)
		}
	}
	return calls, true
}

type geminiMessage struct {
	id, kind, model                                string
	at                                             time.Time
	input, output, cached, thoughts, tool, inTotal int64
}

func (m *geminiMessage) field(c *cursor, key []byte) {
	switch string(key) {
	case "id":
		m.id = plain(c)
	case "type":
		m.kind = plain(c)
	case "model":
		m.model = plain(c)
	case "timestamp":
		m.at = c.time()
	case "tokens":
		c.object(func(key []byte) {
			switch string(key) {
			case "input":
				m.input = c.count()
			case "output":
				m.output = c.count()
			case "cached":
				m.cached = c.count()
			case "thoughts":
				m.thoughts = c.count()
			case "tool":
				m.tool = c.count()
			case "total":
				m.inTotal = c.count()
			}
		})
	}
}

// call makes a call of a message of the model. What came from a cache is counted in the input too; only if the sum says
// that it is not, it is apart. Thoughts are written and paid for like the rest of the output.
func (m geminiMessage) call(g geminiChat) (usage.Call, bool) {
	input := m.input
	if apart := m.input + m.output + m.thoughts + m.tool + m.cached; m.inTotal != apart {
		input = max(m.input-m.cached, 0)
	}
	at := m.at
	if at.IsZero() {
		at = g.begin
	}
	tokens := usage.Tokens{Input: input + m.tool, CacheRead: m.cached, Output: m.output + m.thoughts, Thinking: m.thoughts}
	call := usage.Call{Time: at, Session: g.session, Agent: "gemini", Model: m.model, Request: m.id, Tokens: tokens, Unpriced: Unpriced}
	return call, m.kind == "gemini" && m.model != "" && tokens.Total() > 0
}
