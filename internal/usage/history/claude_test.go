package history

import (
	"fmt"
	"strings"
	"testing"
)

// claudeLine is a line of an answer with some text in it.
func claudeLine(message, request string, input int, said string) string {
	return fmt.Sprintf(`{"isSidechain":false,"message":{"content":[{"text":"%s","type":"text"}],"id":%q,"model":"claude-opus-4-8","role":"assistant","usage":{"input_tokens":%d,"output_tokens":1}},"requestId":%q,"timestamp":"2026-11-20T14:46:26.548Z","sessionId":"s","version":"2.1.197"}`+"\n", said, message, input, request)
}

func TestClaude(t *testing.T) {
	dir := home(t, map[string]string{
		// As Claude Code 2.1.197 writes it: one answer in two lines.
		".claude/projects/-home-u/c8a2.jsonl": `{"type":"user","message":{"role":"user","content":"hi"},"timestamp":"2026-11-20T14:46:26.235Z","sessionId":"c8a2","version":"2.1.197"}
{"parentUuid":"c4","isSidechain":false,"message":{"content":[{"text":"I will.","type":"text"}],"id":"msg_2","model":"claude-opus-4-8","role":"assistant","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":21386,"cache_read_input_tokens":0,"output_tokens":25,"server_tool_use":{"web_search_requests":2,"web_fetch_requests":0},"service_tier":"standard","cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":20386},"inference_geo":"","iterations":[],"speed":"standard"},"stop_details":null},"requestId":"req_3","type":"assistant","timestamp":"2026-11-20T14:46:26.548Z","sessionId":"c8a2","version":"2.1.197"}
{"parentUuid":"c5","isSidechain":false,"message":{"content":[{"id":"toolu_1","input":{"id":null,"usage":{"input_tokens":7}},"type":"tool_use"}],"id":"msg_2","model":"claude-opus-4-8","usage":{"input_tokens":12,"cache_creation_input_tokens":21386,"cache_read_input_tokens":0,"output_tokens":25,"cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":20386},"speed":"standard"}},"requestId":"req_3","type":"assistant","timestamp":"2026-11-20T14:46:26.567Z","sessionId":"c8a2","version":"2.1.197"}
{"message":{"content":[],"toolUseResult":{"usage":{"input_tokens":99}}},"toolUseResult":{"usage":{"input_tokens":99,"output_tokens":9}},"type":"user","timestamp":"2026-11-20T14:46:27Z","sessionId":"c8a2"}
`,
		".claude/projects/-home-u/old.jsonl": `{"timestamp":"2025-06-01T10:00:00+02:00","costUSD":0.123456,"requestId":"r1","message":{"id":"m1","model":"claude-sonnet-4-20250514","usage":{"input_tokens":3,"output_tokens":4,"cache_creation_input_tokens":5,"cache_read_input_tokens":6,"output_tokens_details":{"thinking_tokens":2}}}}
{"timestamp":"2026-11-20T00:00:00Z","message":{"id":"m2","model":"claude-opus-4-8","usage":{"input_tokens":1,"output_tokens":1,"speed":"fast"}}}
{"timestamp":"2026-11-20T00:00:00Z","isApiErrorMessage":true,"message":{"id":"m3","model":"<synthetic>","usage":{"input_tokens":0,"output_tokens":0}}}
{"type":"progress","sessionId":"s","data":{"message":{"timestamp":"2026-03-29T07:00:00.000Z","requestId":"rs","isSidechain":true,"message":{"usage":{"input_tokens":7,"output_tokens":10},"model":"claude-haiku-4-5","id":"side"}}}}
{ "timestamp" : "2026-11-20T00:00:00Z" , "requestId":null, "message" : { "id" : "m\u0034" , "model" : "claude-opus-4-8" , "usage" : { "input_tokens" : 1e1 , "output_tokens" : 1 } } }
`,
	})
	got, skipped := read(t, dir)
	compare(t, got, `
03-29T07:00:00 s claude-haiku-4-5 side in 7 write 0+0 read 0 out 10 think 0 search 0 $?
06-01T08:00:00 old claude-sonnet-4-20250514 m1 in 3 write 5+0 read 6 out 4 think 2 search 0 $0.123456
11-20T00:00:00 old claude-opus-4-8 m4 in 10 write 0+0 read 0 out 1 think 0 search 0 $?
11-20T00:00:00 old claude-opus-4-8-fast m2 in 1 write 0+0 read 0 out 1 think 0 search 0 $?
11-20T14:46:26 c8a2 claude-opus-4-8 msg_2 in 12 write 20386+1000 read 0 out 25 think 0 search 2 $?`)
	if skipped.Duplicates != 1 || skipped.Files+skipped.Lines+skipped.Long != 0 {
		t.Errorf("%+v", skipped)
	}
}

func TestClaudeLinesThatAreWrong(t *testing.T) {
	good := strings.TrimSuffix(claudeLine("m", "r", 5, ""), "\n")
	for _, change := range [][2]string{
		{`"version":"2.1.197"`, `"version":"next"`}, {`"sessionId":"s"`, `"sessionId":""`}, {`"requestId":"r"`, `"requestId":""`}, {`"id":"m"`, `"id":""`},
		{`"model":"claude-opus-4-8"`, `"model":""`}, {`"model":"claude-opus-4-8"`, `"model":"\u001b[31m"`}, {`"input_tokens":5`, `"input_tokens":-5`},
		{`"input_tokens":5`, `"input_tokens":1.5`}, {`"input_tokens":5`, `"input_tokens":9e99`}, {`"input_tokens":5`, `"input_tokens":"5"`}, {`"input_tokens":5`, `"input_tokens":2000000000000`},
		{`2026-11-20T14:46:26.548Z`, `yesterday`}, {`"timestamp":"2026-11-20T14:46:26.548Z",`, ``}, {`}},`, `}`}, {`"id":"m"`, `"id":"` + strings.Repeat("m", 600) + `"`},
		{`"isSidechain":false`, `"isSidechain":1`},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if _, is, ok := parseClaude([]byte(text)); text == good || is || ok {
			t.Errorf("%v: %v, %v", change, is, ok)
		}
	}
	if _, is, ok := parseClaude([]byte(good)); !is || !ok {
		t.Error("the line itself is wrong")
	}
	if _, is, ok := parseClaude([]byte(strings.Repeat("[", 1<<20) + `"usage"`)); is || ok {
		t.Error("what has no end was read")
	}
}

// TestWhichEntryOfACallCounts has what ccusage 20.0.24 says of the same lines.
func TestWhichEntryOfACallCounts(t *testing.T) {
	line := func(message, request string, input int, more string) string {
		text := fmt.Sprintf(`{"timestamp":"2026-11-01T00:00:00Z",%s"message":{"model":"m","usage":{"input_tokens":%d,"output_tokens":0}}}`, more, input)
		if message != "" {
			text = strings.Replace(text, `"model"`, fmt.Sprintf(`"id":%q,"model"`, message), 1)
		}
		if request != "" {
			text = strings.Replace(text, `"message"`, fmt.Sprintf(`"requestId":%q,"message"`, request), 1)
		}
		return text + "\n"
	}
	const side, session = `"isSidechain":true,`, `"sessionId":"t",`
	for name, test := range map[string]struct {
		text  string
		input int
	}{
		"the larger, later":               {line("m", "r", 1, "") + line("m", "r", 5, ""), 5},
		"the larger, before":              {line("m", "r", 5, "") + line("m", "r", 1, ""), 5},
		"other requests are other calls":  {line("m", "r", 5, "") + line("m", "q", 5, ""), 10},
		"no message":                      {line("", "r", 7, "") + line("", "r", 7, ""), 14},
		"no request":                      {line("m", "", 7, "") + line("m", "", 7, ""), 7},
		"no request is a request":         {line("m", "", 7, "") + line("m", "r", 7, ""), 14},
		"the parent wins, before":         {line("m", "r", 5, "") + line("m", "s", 90, side), 5},
		"the parent wins, later":          {line("m", "s", 90, side) + line("m", "r", 5, ""), 5},
		"the parent is known afterwards":  {line("m", "s", 90, side) + line("m", "r", 5, "") + line("m", "r", 5, ""), 5},
		"and so is the side conversation": {line("m", "s", 90, side) + line("m", "r", 5, "") + line("m", "s", 90, side) + line("m", "q", 1, ""), 6},
		"two side conversations":          {line("m", "s", 3, side) + line("m", "t", 4, side), 4},
		"no request at another time":      {line("m", "", 7, "") + strings.Replace(line("m", "", 7, ""), "00Z", "01Z", 1), 14},
		"no request in another session":   {line("m", "", 7, "") + line("m", "", 7, session), 14},
		"a session that was resumed":      {line("m", "r", 7, "") + line("m", "r", 7, session), 7},
		"the parent is of its session":    {line("m", "r", 5, session) + line("m", "s", 90, side), 95},
		"a parent that was resumed":       {line("m", "r", 5, "") + line("m", "r", 4, session) + line("m", "s", 90, session+side), 5},
		"a side conversation of its own":  {line("m", "r", 5, "") + line("n", "s", 3, side), 8},
	} {
		m, sum := newMerger(), 0
		for l := range strings.Lines(test.text) {
			e, is, ok := parseClaude([]byte(l))
			if !is || !ok {
				t.Fatalf("%s: %s", name, l)
			}
			m.push(e)
		}
		for _, e := range m.entries {
			sum += int(e.tokens.Input)
		}
		if sum != test.input {
			t.Errorf("%s: %d, not %d", name, sum, test.input)
		}
	}
}
