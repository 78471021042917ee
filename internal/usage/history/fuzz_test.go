package history

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// sane says whether a call is one that the rest of the program may see.
func sane(t *testing.T, c usage.Call) {
	t.Helper()
	for _, n := range []int64{c.Input, c.CacheWrite, c.CacheWrite1h, c.CacheRead, c.Output, c.Thinking, c.Searches} {
		if n < 0 || n > 4*maxTokens {
			t.Errorf("%+v", c)
		}
	}
	if c.Thinking > c.Output || c.Cost < 0 || c.Cost > 0 && c.Unpriced != "" {
		t.Errorf("%+v", c)
	}
	for _, name := range []string{c.Session, c.Model, c.Request} {
		if len(name) > 3*maxName || strings.ContainsAny(name, "\x1b\n\x00\u009b") {
			t.Errorf("%q", name)
		}
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
}

func FuzzClaude(f *testing.F) {
	f.Add(claudeLine("m", "r", 5, "said"))
	f.Add(`{"data":{"message":{"timestamp":"2026-03-29T07:00:00.000Z","message":{"usage":{"input_tokens":7,"output_tokens":10},"id":"side"}}}}`)
	f.Add(`{"timestamp":"2025-06-01T10:00:00+02:00","costUSD":0.1,"message":{"usage":{"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":9},"speed":"fast"}}}`)
	f.Add(`{"a":[{},[],"\\\"",1e5,null,true]}`)
	f.Fuzz(func(t *testing.T, text string) {
		e, is, ok := parseClaude([]byte(text))
		if is && !ok {
			t.Error("a call in a wrong line")
		}
		if is {
			sane(t, e.call())
		}
		if is && json.Valid([]byte(text)) {
			agrees(t, text, e)
		}
	})
}

// agrees compares what the cursor has read with what encoding/json reads.
func agrees(t *testing.T, text string, e claudeEntry) {
	t.Helper()
	member := func(raw json.RawMessage, keys ...string) json.RawMessage {
		for _, key := range keys {
			var m map[string]json.RawMessage
			if json.Unmarshal(raw, &m) != nil {
				return nil
			}
			raw = m[key]
		}
		return raw
	}
	outer := json.RawMessage(text)
	if u := member(outer, "message", "usage"); len(u) == 0 || u[0] != '{' {
		outer = member(outer, "data", "message")
	}
	// Of a key that is there twice, the cursor may take parts of both.
	if strings.Count(text, `"`) != strings.Count(string(rewritten(text)), `"`) {
		return
	}
	number := func(raw json.RawMessage) int64 {
		var f float64
		_ = json.Unmarshal(raw, &f)
		return int64(f)
	}
	word := func(raw json.RawMessage) (s string) { _ = json.Unmarshal(raw, &s); return s }
	for key, got := range map[string]string{"id": e.message, "model": e.model} {
		if w := word(member(outer, "message", key)); w != got {
			t.Errorf("%s is %q, not %q, in %s", key, got, w, text)
		}
	}
	for key, got := range map[string]int64{"input_tokens": e.tokens.Input, "output_tokens": e.tokens.Output, "cache_read_input_tokens": e.tokens.CacheRead} {
		if w := number(member(outer, "message", "usage", key)); w != got {
			t.Errorf("%s is %d, not %d, in %s", key, got, w, text)
		}
	}
}

// rewritten is the text with each key once.
func rewritten(text string) []byte {
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	_ = d.Decode(&v)
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return out.Bytes()
}

func FuzzCodex(f *testing.F) {
	f.Add(codexLog)
	f.Add(`{"type":"event_msg","timestamp":"2026-05-13T09:01:00Z","payload":{"type":"token_count","info":{"total_token_usage":{"input_tokens":1}}}}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := codexSession{id: "s", branched: len(text)%2 == 0}
		var calls []usage.Call
		for line := range strings.Lines(text) {
			if c, is, ok := s.line([]byte(line)); is && ok {
				sane(t, c)
				calls = append(calls, c)
			}
		}
		s.own(calls)
	})
}

func FuzzOpenCode(f *testing.F) {
	f.Add(`{"id":"msg_1","sessionID":"s","time":{"created":1767312000000},"modelID":"m","cost":0.0125,"tokens":{"input":100,"output":10,"reasoning":3,"total":5,"cache":{"read":50,"write":25}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if c, is, ok := parseOpenCode([]byte(text)); is && ok {
			sane(t, c)
		}
	})
}

func FuzzGemini(f *testing.F) {
	f.Add(`{"sessionId":"g1","startTime":"2025-10-18T14:57:28.974Z","messages":[{"id":"2","type":"gemini","tokens":{"input":8256,"output":25,"cached":8000,"thoughts":178,"tool":5,"total":8464},"model":"m"}]}`)
	f.Add(`{"id":"a","timestamp":"2026-05-17T11:07:32.000Z","type":"gemini","model":"m","tokens":{"input":1,"output":2,"total":3}}`)
	f.Fuzz(func(t *testing.T, text string) {
		chat := geminiChat{session: "s"}
		calls, ok := chat.parse([]byte(text))
		if !ok && len(calls) > 0 {
			t.Error("calls in a wrong chat")
		}
		for _, c := range calls {
			sane(t, c)
		}
	})
}

// FuzzLines compares with looking at every line.
func FuzzLines(f *testing.F) {
	f.Add("a\nxx1\n\nxx", "xx")
	f.Add("yy\nxx\n", "xx")
	f.Fuzz(func(t *testing.T, text, marker string) {
		if marker == "" || strings.Contains(marker, "\n") {
			return
		}
		var want, got []string
		for line := range strings.Lines(text) {
			if strings.Contains(line, marker) {
				want = append(want, line)
			}
		}
		lines([]byte(text), func(line []byte) { got = append(got, string(line)) }, marker)
		if !slices.Equal(got, want) {
			t.Errorf("%q instead of %q", got, want)
		}
	})
}
