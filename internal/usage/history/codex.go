package history

import (
	"bytes"
	"path"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// Codex reads the sessions of Codex: **/*.jsonl, in which an event token_count tells the sum of the session so far and what
// the last call used. The model is in the turn's context before it. A session that was continued or branched repeats what
// was before, with the same times, and is not counted again.
func Codex(dirs []string, yield func(usage.Call) bool) (Skipped, error) {
	roots, files, skipped, err := list(dirs, func(p string) bool { return path.Ext(p) == ".jsonl" })
	defer closeAll(roots)
	if err != nil {
		return skipped, err
	}
	type outcome struct {
		calls   []usage.Call
		skipped Skipped
	}
	type key struct {
		at    time.Time
		model string
		usage.Tokens
	}
	seen := map[key]bool{}
	inOrder(files, func(f file, buf *[]byte) (o outcome) {
		o.calls, o.skipped = readCodex(f, buf)
		return o
	}, func(o outcome) bool {
		skipped.add(o.skipped)
		for _, c := range o.calls {
			k := key{c.Time, c.Model, c.Tokens}
			if seen[k] {
				skipped.Duplicates++
				continue
			}
			seen[k] = true
			if !yield(c) {
				return false
			}
		}
		return true
	})
	return skipped, nil
}

func readCodex(f file, buf *[]byte) (calls []usage.Call, skipped Skipped) {
	opened, err := f.open()
	if err != nil {
		return nil, Skipped{Files: 1}
	}
	defer opened.Close()
	s := codexSession{id: f.base()}
	for _, p := range f.parts() {
		text, kept, long, err := p.read(opened, *buf)
		*buf = kept
		if err != nil {
			skipped.Files++
			break
		}
		if p.from == 0 {
			s.branched = bytes.Contains(text[:min(len(text), 16<<10)], []byte("thread_spawn"))
		}
		skipped.Long += long
		lines(text, func(line []byte) {
			call, is, ok := s.line(line)
			switch {
			case !ok:
				skipped.Lines++
			case is:
				calls = append(calls, call)
			}
		}, `"token_count"`, `"turn_context"`, `"session_meta"`)
	}
	return s.own(calls), skipped
}

// codexSession is what a line means depends on.
type codexSession struct {
	id, model string
	branched  bool       // a subagent's
	total     codexUsage // of all calls so far
}

type codexUsage struct {
	input, cached, output, reasoning int64
	told                             bool
}

// line reads one line of a session, which may be a call.
func (s *codexSession) line(line []byte) (call usage.Call, isCall, ok bool) {
	c := &cursor{text: line}
	var kind, event, model, id string
	var at time.Time
	var total, last codexUsage
	c.object(func(key []byte) {
		switch string(key) {
		case "type":
			kind, _ = c.name()
		case "timestamp":
			at = c.time()
		case "payload":
			if c.next() != '{' {
				return
			}
			c.object(func(key []byte) {
				switch string(key) {
				case "type":
					event, _ = c.name()
				case "id":
					id = plain(c)
				case "model":
					model = plain(c)
				case "info":
					c.object(func(key []byte) {
						switch string(key) {
						case "total_token_usage":
							total.read(c)
						case "last_token_usage":
							last.read(c)
						case "model":
							model = plain(c)
						}
					})
				}
			})
		}
	})
	if !c.end() {
		return call, false, false
	}
	switch {
	case kind == "session_meta" && id != "":
		s.id = id
	case kind == "turn_context" && model != "":
		s.model = model
	case kind == "event_msg" && event == "token_count":
		if at.IsZero() {
			return call, false, false
		}
		if model != "" {
			s.model = model
		}
		call, isCall = s.count(at, total, last)
	}
	return call, isCall, true
}

// plain is a name if there is one; other things of the same key are no mistake.
func plain(c *cursor) string {
	if c.next() != '"' {
		return ""
	}
	name, _ := c.name()
	return name
}

func (u *codexUsage) read(c *cursor) {
	u.told = c.next() == '{'
	c.object(func(key []byte) {
		switch string(key) {
		case "input_tokens":
			u.input = c.count()
		case "cached_input_tokens":
			u.cached = c.count()
		case "output_tokens":
			u.output = c.count()
		case "reasoning_output_tokens":
			u.reasoning = c.count()
		}
	})
}

// count makes a call of an event. One whose sum has not grown tells something else anew, such as what is left of a limit.
func (s *codexSession) count(at time.Time, total, last codexUsage) (usage.Call, bool) {
	if total.told {
		before := s.total
		s.total = total
		if before == total {
			return usage.Call{}, false
		}
		if !last.told {
			last = total.since(before)
		}
	}
	last.cached = min(last.cached, last.input)
	tokens := usage.Tokens{Input: last.input - last.cached, CacheRead: last.cached, Output: last.output, Thinking: min(last.reasoning, last.output)}
	call := usage.Call{Time: at, Session: s.id, Agent: "codex", Model: s.model, Tokens: tokens, Unpriced: Unpriced}
	if call.Model == "" {
		// The first versions did not log it, and there was one model.
		call.Model, call.Estimated = "gpt-5", true
	}
	return call, tokens.Total() > 0
}

func (u codexUsage) since(before codexUsage) codexUsage {
	return codexUsage{max(u.input-before.input, 0), max(u.cached-before.cached, 0), max(u.output-before.output, 0), max(u.reasoning-before.reasoning, 0), true}
}

// own leaves out what a subagent's log begins with: all of its parent's calls, written within a second.
func (s *codexSession) own(calls []usage.Call) []usage.Call {
	second := func(i int) int64 { return calls[i].Time.Unix() }
	if !s.branched || len(calls) < 2 || second(0) != second(1) {
		return calls
	}
	n := 2
	for n < len(calls) && second(n) == second(0) {
		n++
	}
	return calls[n:]
}
