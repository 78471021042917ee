package history

import (
	"path"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// Claude reads the projects of Claude Code: **/*.jsonl, in which each line with a usage is a call, or one that was logged
// before. What counts as the same call, and which of several entries does, is what ccusage does (github.com/ryoppippi/ccusage,
// version 20.0.24): see merger.
func Claude(dirs []string, yield func(usage.Call) bool) (Skipped, error) {
	roots, files, skipped, err := list(dirs, func(p string) bool { return path.Ext(p) == ".jsonl" })
	defer closeAll(roots)
	if err != nil {
		return skipped, err
	}
	var pieces []part
	for _, f := range files {
		pieces = append(pieces, f.parts()...)
	}
	type outcome struct {
		entries []claudeEntry
		skipped Skipped
	}
	m := newMerger()
	inOrder(pieces, func(p part, buf *[]byte) (o outcome) {
		o.entries, o.skipped = readClaude(p, buf)
		return o
	}, func(o outcome) bool {
		skipped.add(o.skipped)
		for _, e := range o.entries {
			if !m.push(e) {
				skipped.Duplicates++
			}
		}
		return true
	})
	for _, e := range m.entries {
		// What came to nothing was no call: Claude Code logs its own error messages as if the model had said them.
		if e.tokens.Total() == 0 && e.tokens.Searches == 0 && e.cost == 0 {
			continue
		}
		if !yield(e.call()) {
			break
		}
	}
	return skipped, nil
}

func readClaude(p part, buf *[]byte) (entries []claudeEntry, skipped Skipped) {
	opened, err := p.open()
	if err != nil {
		return nil, onlyFirst(p, Skipped{Files: 1})
	}
	defer opened.Close()
	text, kept, long, err := p.read(opened, *buf)
	*buf = kept
	if err != nil {
		return nil, onlyFirst(p, Skipped{Files: 1})
	}
	skipped.Long = long
	session := claudeSession(p.file)
	same := map[string]string{} // models and sessions are always the same few
	lines(text, func(line []byte) {
		e, is, ok := parseClaude(line)
		switch {
		case !ok:
			skipped.Lines++
		case is:
			if e.session == "" {
				e.session = session
			}
			e.session, e.model = once(same, e.session), once(same, e.model)
			entries = append(entries, e)
		}
	}, `"usage"`)
	return entries, skipped
}

// claudeSession is the session whose log a file is, where its lines do not tell: PROJECT/SESSION.jsonl,
// PROJECT/SESSION/subagents/NAME.jsonl, and PROJECT/SESSION/NAME.jsonl.
func claudeSession(f file) string {
	dirs := strings.Split(f.path, "/")
	switch n := len(dirs); {
	case n <= 2:
		return f.base()
	case n >= 4 && dirs[n-2] == "subagents":
		return named(dirs[n-3])
	default:
		return named(dirs[n-2])
	}
}

// onlyFirst counts a file once, however many parts it has.
func onlyFirst(p part, s Skipped) Skipped {
	if p.from > 0 {
		return Skipped{}
	}
	return s
}

func once(all map[string]string, s string) string {
	if first, ok := all[s]; ok {
		return first
	}
	all[s] = s
	return s
}

// claudeEntry is one line that speaks of a call.
type claudeEntry struct {
	time                        int64 // milliseconds since 1970
	message, request            string
	session, model              string
	tokens                      usage.Tokens
	cost                        usage.Money
	requested, priced           bool // whether request and cost were told
	sidechain, hasSpeed, atOnce bool // atOnce is Anthropic's fast mode
}

func (e claudeEntry) call() usage.Call {
	c := usage.Call{Time: time.UnixMilli(e.time).UTC(), Session: e.session, Agent: "claude", Model: e.model, Request: e.message, Tokens: e.tokens, Cost: e.cost}
	if c.Request == "" {
		c.Request = e.request
	}
	if e.atOnce {
		c.Model += "-fast" // as it is listed among the prices
	}
	if !e.priced {
		c.Unpriced = Unpriced
	}
	return c
}

// parseClaude reads one line. Most that have a usage are an answer's; that of a subagent's progress has the answer one
// level below, and others, such as what a tool says of itself, are no call.
func parseClaude(line []byte) (e claudeEntry, isCall, ok bool) {
	c := &cursor{text: line}
	var below claudeEntry
	var timed, deep bool
	used, usedBelow := false, false
	valid := true
	c.object(func(key []byte) {
		switch string(key) {
		case "data":
			if c.next() != '{' {
				return
			}
			c.object(func(key []byte) {
				if string(key) == "message" && c.next() == '{' {
					c.object(func(key []byte) { below.field(c, key, &deep, &usedBelow, &valid) })
				}
			})
		case "sessionId":
			session, told := c.name()
			e.session, valid = session, valid && (session != "" || !told)
		case "version":
			version, told := c.name()
			valid = valid && (isVersion(version) || !told)
		default:
			e.field(c, key, &timed, &used, &valid)
		}
	})
	if !c.end() {
		return e, false, false
	}
	if !used {
		below.session = e.session
		e, timed, used = below, deep, usedBelow
	}
	if !used {
		return e, false, true
	}
	return e, timed && valid, timed && valid
}

// field reads what an answer's line has on its outer level.
func (e *claudeEntry) field(c *cursor, key []byte, timed, used, valid *bool) {
	switch string(key) {
	case "timestamp":
		t := c.time()
		e.time, *timed = t.UnixMilli(), !c.bad
	case "requestId":
		e.request, e.requested = c.name()
		*valid = *valid && (e.request != "" || !e.requested)
	case "isSidechain":
		e.sidechain = c.yes()
	case "costUSD":
		e.cost, e.priced = c.money()
		if !e.priced {
			e.cost = 0
		}
	case "message":
		if c.next() != '{' {
			return
		}
		c.object(func(key []byte) {
			switch string(key) {
			case "id":
				id, told := c.name()
				e.message, *valid = id, *valid && (id != "" || !told)
			case "model":
				model, told := c.name()
				e.model, *valid = model, *valid && (model != "" || !told)
			case "usage":
				*used = c.next() == '{'
				e.usage(c)
			}
		})
	}
}

// usage reads an answer's usage, as Anthropic's API has it.
func (e *claudeEntry) usage(c *cursor) {
	t, written := &e.tokens, int64(0)
	c.object(func(key []byte) {
		switch string(key) {
		case "input_tokens":
			t.Input = c.count()
		case "output_tokens":
			t.Output = c.count()
		case "cache_read_input_tokens":
			t.CacheRead = c.count()
		case "cache_creation_input_tokens":
			written = c.count()
		case "cache_creation":
			c.object(func(key []byte) {
				switch string(key) {
				case "ephemeral_5m_input_tokens":
					t.CacheWrite = c.count()
				case "ephemeral_1h_input_tokens":
					t.CacheWrite1h = c.count()
				}
			})
		case "output_tokens_details":
			c.object(func(key []byte) {
				if string(key) == "thinking_tokens" {
					t.Thinking = c.count()
				}
			})
		case "server_tool_use":
			c.object(func(key []byte) {
				if string(key) == "web_search_requests" {
					t.Searches = c.count()
				}
			})
		case "speed":
			speed, told := c.name()
			e.hasSpeed, e.atOnce = told, speed == "fast"
		}
	})
	// What was written for a time that is not told.
	t.CacheWrite = max(t.CacheWrite, written-t.CacheWrite1h)
	t.Thinking = min(t.Thinking, t.Output)
}

// isVersion says whether text begins with three numbers with dots between them.
func isVersion(text string) bool {
	numbers := strings.SplitN(text, ".", 3)
	for i, n := range numbers {
		digits := len(n) - len(strings.TrimLeft(n, "0123456789"))
		if digits == 0 || i < 2 && digits < len(n) {
			return false
		}
	}
	return len(numbers) == 3
}
