package history

import (
	"strings"
	"testing"
)

const codexLog = `{"timestamp":"2026-05-13T09:00:00.000Z","type":"session_meta","payload":{"id":"0197-a","timestamp":"2026-05-13T09:00:00.000Z","cwd":"/p","cli_version":"0.44.0"}}
{"timestamp":"2026-05-13T09:00:00.000Z","type":"turn_context","payload":{"cwd":"/p","model":"gpt-5.2-codex","effort":"medium"}}
{"timestamp":"2026-05-13T09:00:30.000Z","type":"event_msg","payload":{"type":"token_count","info":null,"rate_limits":{"primary":{"used_percent":1.0}}}}
{"timestamp":"2026-05-13T09:01:00.000Z","type":"event_msg","payload":{"type":"token_count","info":{"total_token_usage":{"input_tokens":1000,"cached_input_tokens":250,"output_tokens":125,"reasoning_output_tokens":75,"total_tokens":1125},"last_token_usage":{"input_tokens":1000,"cached_input_tokens":250,"output_tokens":125,"reasoning_output_tokens":75,"total_tokens":1125},"model_context_window":272000}}}
{"timestamp":"2026-05-13T09:01:05.000Z","type":"event_msg","payload":{"type":"token_count","info":{"total_token_usage":{"input_tokens":1000,"cached_input_tokens":250,"output_tokens":125,"reasoning_output_tokens":75,"total_tokens":1125},"last_token_usage":{"input_tokens":1000,"cached_input_tokens":250,"output_tokens":125,"reasoning_output_tokens":75,"total_tokens":1125}}}}
{"timestamp":"2026-05-13T09:01:10.000Z","type":"response_item","payload":{"type":"message","id":"other","content":[{"text":"\"token_count\""}]}}
{"timestamp":"2026-05-13T09:02:00.000Z","type":"event_msg","payload":{"type":"token_count","info":{"total_token_usage":{"input_tokens":3500,"cached_input_tokens":750,"output_tokens":425,"reasoning_output_tokens":275,"total_tokens":3925}}}}
`

func TestCodex(t *testing.T) {
	// A branch repeats its parent's calls, and goes on.
	branch := strings.ReplaceAll(codexLog, "0197-a", "0197-b") + `{"timestamp":"2026-05-14T10:00:00.000Z","type":"event_msg","payload":{"type":"token_count","info":{"model":"gpt-5.3-codex","last_token_usage":{"input_tokens":10,"cached_input_tokens":20,"output_tokens":1}}}}
{"timestamp":"2026-05-14T10:00:00.000Z","type":"event_msg","payload":{"type":"token_count","info":{"last_token_usage":{"input_tokens":"many"}}}}
`
	// A subagent's log begins with all of the parent's calls, in one second.
	agent := `{"timestamp":"2026-05-15T00:00:00Z","type":"session_meta","payload":{"id":"0197-c","source":{"subagent":{"thread_spawn":{}}}}}
{"timestamp":"2026-05-15T00:00:00Z","type":"turn_context","payload":{"model":"gpt-5.2-codex"}}
{"timestamp":"2026-05-15T00:00:01.100Z","type":"event_msg","payload":{"type":"token_count","info":{"last_token_usage":{"input_tokens":1000,"output_tokens":1}}}}
{"timestamp":"2026-05-15T00:00:01.200Z","type":"event_msg","payload":{"type":"token_count","info":{"last_token_usage":{"input_tokens":2000,"output_tokens":1}}}}
{"timestamp":"2026-05-15T00:00:09Z","type":"event_msg","payload":{"type":"token_count","info":{"last_token_usage":{"input_tokens":3000,"output_tokens":1}}}}
`
	old := `{"timestamp":"2025-09-01T00:00:00Z","type":"event_msg","payload":{"type":"token_count","info":{"last_token_usage":{"input_tokens":1,"output_tokens":1}}}}`
	dir := home(t, map[string]string{".codex/sessions/2026/05/13/rollout-a.jsonl": codexLog, ".codex/sessions/2026/05/14/rollout-b.jsonl": branch,
		".codex/archived_sessions/rollout-c.jsonl": agent, ".codex/sessions/old.jsonl": old})
	got, skipped := read(t, dir)
	compare(t, got, `
05-13T09:01:00 0197-a gpt-5.2-codex  in 750 write 0+0 read 250 out 125 think 75 search 0 $?
05-13T09:02:00 0197-a gpt-5.2-codex  in 2000 write 0+0 read 500 out 300 think 200 search 0 $?
05-14T10:00:00 0197-b gpt-5.3-codex  in 0 write 0+0 read 10 out 1 think 0 search 0 $?
05-15T00:00:09 0197-c gpt-5.2-codex  in 3000 write 0+0 read 0 out 1 think 0 search 0 $?
09-01T00:00:00 old gpt-5  in 1 write 0+0 read 0 out 1 think 0 search 0 $?`)
	if skipped.Duplicates != 2 || skipped.Lines != 1 {
		t.Errorf("%+v", skipped)
	}
}

func TestOpenCode(t *testing.T) {
	const store = ".local/share/opencode/storage/"
	dir := home(t, map[string]string{
		store + "message/ses_1/msg_1.json":  `{"id":"msg_1","sessionID":"ses_1","role":"assistant","time":{"created":1767312000000,"completed":1767312001000},"modelID":"claude-sonnet-4-5","providerID":"anthropic","cost":0.0125,"tokens":{"input":100,"output":10,"reasoning":0,"cache":{"read":50,"write":25}}}`,
		store + "message/ses_1/msg_2.json":  `{"id":"msg_2","sessionID":"ses_1","role":"assistant","time":{"created":1767312000000},"modelID":"gpt-5","providerID":"openai","cost":0,"tokens":{"input":100,"output":10,"reasoning":4,"total":114,"cache":{"read":0,"write":0}}}`,
		store + "message/ses_1/msg_3.json":  `{"id":"msg_3","sessionID":"ses_1","role":"user","time":{"created":1767312000000}}`,
		store + "message/ses_1/msg_4.json":  `{"id":"msg_4",`,
		store + "message/ses_2/msg_1.json":  `{"id":"msg_1","sessionID":"ses_2","modelID":"claude-sonnet-4-5","tokens":{"input":1,"output":1}}`,
		store + "message/ses_2/msg_5.json":  `{"id":"msg_5","sessionID":"ses_2","modelID":"gpt-5","tokens":{"total":123}}`,
		store + "part/x.json":               `{"id":"msg_9","modelID":"gpt-5","tokens":{"input":1}}`,
		".local/share/opencode/opencode.db": "SQLite",
	})
	got, skipped := read(t, dir)
	compare(t, got, `
01-01T00:00:00 ses_2 gpt-5 msg_5 in 0 write 0+0 read 0 out 123 think 0 search 0 $?
01-02T00:00:00 ses_1 claude-sonnet-4-5 msg_1 in 100 write 25+0 read 50 out 10 think 0 search 0 $0.0125
01-02T00:00:00 ses_1 gpt-5 msg_2 in 100 write 0+0 read 0 out 14 think 4 search 0 $?`)
	if skipped.Duplicates != 1 || skipped.Lines != 1 || len(skipped.Notes) != 1 || !strings.Contains(skipped.Notes[0], "opencode.db is a database") {
		t.Errorf("%+v", skipped)
	}
}

func TestGemini(t *testing.T) {
	dir := home(t, map[string]string{
		".gemini/tmp/0a/chats/session-1.json": `{"sessionId":"g1","projectHash":"0a","startTime":"2025-10-18T14:57:28.974Z","lastUpdated":"2025-10-18T14:58:07.161Z","messages":[
 {"id":"1","timestamp":"2025-10-18T14:57:28.974Z","type":"user","content":"List \"tokens\""},
 {"id":"2","timestamp":"2025-10-18T14:57:32.000Z","type":"gemini","content":"","thoughts":[{"subject":"x"}],"toolCalls":[],"tokens":{"input":8256,"output":25,"cached":8000,"thoughts":178,"tool":5,"total":8464},"model":"gemini-2.5-pro"},
 {"id":"3","type":"gemini","tokens":{"input":10,"output":1,"cached":4,"thoughts":0,"tool":0,"total":15},"model":"gemini-2.5-flash"},
 {"id":"4","type":"gemini","tokens":null,"model":"gemini-2.5-flash"},
 {"id":"5","type":"info","content":"x"}]}`,
		".gemini/tmp/0b/chats/session-2.jsonl": `{"sessionId":"g2","projectHash":"0b","startTime":"2026-05-17T11:07:00.000Z"}
{"id":"a","timestamp":"2026-05-17T11:07:32.000Z","type":"gemini","model":"gemini-3-flash-preview","tokens":{"input":1,"output":2,"total":3}}
{"id":"a","timestamp":"2026-05-17T11:07:33.000Z","type":"gemini","model":"gemini-3-flash-preview","tokens":{"input":15327,"output":23,"cached":11526,"thoughts":919,"tool":7,"total":16276}}
{"type":"gemini","tokens":{"input":true}}
`,
		".gemini/tmp/0b/logs.json": `{"type":"gemini","model":"x","tokens":{"input":1}}`,
	})
	got, skipped := read(t, dir)
	compare(t, got, `
05-17T11:07:33 g2 gemini-3-flash-preview a in 3808 write 0+0 read 11526 out 942 think 919 search 0 $?
10-18T14:57:28 g1 gemini-2.5-flash 3 in 10 write 0+0 read 4 out 1 think 0 search 0 $?
10-18T14:57:32 g1 gemini-2.5-pro 2 in 261 write 0+0 read 8000 out 203 think 178 search 0 $?`)
	if skipped.Duplicates != 1 || skipped.Lines != 1 {
		t.Errorf("%+v", skipped)
	}
}
