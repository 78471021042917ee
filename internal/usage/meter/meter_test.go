package meter

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// sse makes a stream of events, with their names where they have a type as Anthropic's and OpenAI's do.
func sse(docs ...string) string {
	var b strings.Builder
	for _, d := range docs {
		fmt.Fprintf(&b, "data: %s\n\n", d)
	}
	return b.String()
}

// frame is one of Amazon's.
func frame(payload string) string {
	headers := "\x0b:event-type\x07\x00\x05chunk"
	var b bytes.Buffer
	_ = binary.Write(&b, binary.BigEndian, uint32(16+len(headers)+len(payload)))
	_ = binary.Write(&b, binary.BigEndian, uint32(len(headers)))
	b.WriteString("CRC1" + headers + payload + "CRC2")
	return b.String()
}

func amazon(docs ...string) (all string) {
	for _, d := range docs {
		all += frame(`{"bytes":"` + base64.StdEncoding.EncodeToString([]byte(d)) + `","p":"abc"}`)
	}
	return all
}

const (
	begin = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-4-8","content":[],"stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":300,"cache_read_input_tokens":4000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":1,"service_tier":"standard"}}}`
	ping  = `{"type": "ping"}`
	hello = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello, \"usage\": {\"input_tokens\": 999}"}}`
	delta = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":57}}`
	stop  = `{"type":"message_stop"}`

	events1 = "text/event-stream; charset=utf-8"
	plain   = "application/json"
	eventsA = "application/vnd.amazon.eventstream"
)

type answerCase struct {
	name   string
	api    API
	status int
	media  string
	body   string
	want   string // tokens as in/write/write1h/read/out(thinking)searches, then what else is said
}

func answers() []answerCase {
	anthropicUsage := `"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":40}`
	whole := `{"id":"msg_2","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn",` + anthropicUsage + `}`
	responses := `{"id":"resp_1","object":"response","status":"completed","model":"gpt-5-codex","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":60},"output_tokens":50,"output_tokens_details":{"reasoning_tokens":20},"total_tokens":150}}`
	search := `{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"weather"}}`
	chat := `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4.1-2025-04-14","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":64,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":10}}}`
	chunk := func(rest string) string {
		return `{"id":"chatcmpl-2","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"hi"}}]` + rest + `}`
	}
	gemini := `{"candidates":[{"content":{"parts":[{"text":"hi"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":20,"totalTokenCount":150,"cachedContentTokenCount":60,"thoughtsTokenCount":30,"promptTokensDetails":[{"modality":"TEXT","tokenCount":100}]},"modelVersion":"gemini-2.5-pro","responseId":"r1"}`
	part := `{"candidates":[{"content":{"parts":[{"text":"h"}]}}],"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":1},"modelVersion":"gemini-2.5-pro"}`
	failed := func(kind string) string {
		return `{"type":"error","error":{"type":"` + kind + `","message":"no"},"request_id":"req_1"}`
	}
	return []answerCase{
		{"a message", Anthropic, 200, plain, whole, "10/20/0/30/40(0)0 claude-haiku-4-5 msg_2 complete"},
		{"a message with much space", Anthropic, 200, plain, strings.ReplaceAll(whole, ":", " : \n\t"), "10/20/0/30/40(0)0 claude-haiku-4-5 msg_2 complete"},
		{"a message of no tokens", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":0,"output_tokens":0}}`, "0/0/0/0/0(0)0 m complete"},
		{"its keys in another order", Anthropic, 200, plain, `{` + anthropicUsage + `,"model":"m","id":"x"}`, "10/20/0/30/40(0)0 m x complete"},
		{"with searches", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":1,"output_tokens":2,"server_tool_use":{"web_search_requests":3,"web_fetch_requests":1}}}`, "1/0/0/0/2(0)3 m complete"},
		{"with thinking", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":1,"output_tokens":20,"output_tokens_details":{"thinking_tokens":15}}}`, "1/0/0/0/20(15)0 m complete"},
		{"null counts", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":null,"cache_read_input_tokens":null}}`, "1/0/0/0/2(0)0 m complete"},
		{"a tool's input that looks like usage", Anthropic, 200, plain, `{"model":"m","content":[{"type":"tool_use","input":{"usage":{"input_tokens":99}}}],"usage":{"input_tokens":1,"output_tokens":2}}`, "1/0/0/0/2(0)0 m complete"},
		{"a stream", Anthropic, 200, events1, sse(begin, ping, hello, delta, stop), "12/100/200/4000/57(0)0 claude-opus-4-8 msg_1 complete"},
		{"a stream with named events", Anthropic, 200, events1, "event: message_start\ndata: " + begin + "\n\nevent: message_delta\ndata:" + delta + "\n\nevent: message_stop\ndata: " + stop + "\n\n", "12/100/200/4000/57(0)0 claude-opus-4-8 msg_1 complete"},
		{"with carriage returns", Anthropic, 200, events1, strings.ReplaceAll(sse(begin, hello, delta, stop), "\n", "\r\n"), "12/100/200/4000/57(0)0 claude-opus-4-8 msg_1 complete"},
		{"with carriage returns alone", Anthropic, 200, events1, strings.ReplaceAll(sse(begin, hello, delta, stop), "\n", "\r"), "12/100/200/4000/57(0)0 claude-opus-4-8 msg_1 complete"},
		{"with a byte order mark, comments and ids", Anthropic, 200, events1, "\xef\xbb\xbfdata: " + begin + "\n\n: keep\n\nid: 5\nretry: 10\n\n" + sse(delta, stop), "12/100/200/4000/57(0)0 claude-opus-4-8 msg_1 complete"},
		{"data in several lines", Anthropic, 200, events1, sse(begin) + "data: {\"type\":\ndata: \"message_delta\",\ndata: \"usage\":{\"output_tokens\":57\ndata: }}\n\n" + sse(stop), "12/100/200/4000/57(0)0 claude-opus-4-8 msg_1 complete"},
		{"the last counts win", Anthropic, 200, events1, sse(begin, `{"type":"message_delta","usage":{"input_tokens":15,"cache_read_input_tokens":5000,"output_tokens":30}}`, `{"type":"message_delta","usage":{"output_tokens":60}}`, stop), "15/100/200/5000/60(0)0 claude-opus-4-8 msg_1 complete"},
		{"a zero at the end", Anthropic, 200, events1, sse(begin, `{"type":"message_delta","usage":{"cache_read_input_tokens":0,"output_tokens":60}}`, stop), "12/100/200/0/60(0)0 claude-opus-4-8 msg_1 complete"},
		{"searches in a stream", Anthropic, 200, events1, sse(begin, `{"type":"message_delta","usage":{"output_tokens":60,"server_tool_use":{"web_search_requests":2}}}`, stop), "12/100/200/4000/60(0)2 claude-opus-4-8 msg_1 complete"},
		{"broken off after its start", Anthropic, 200, events1, sse(begin, hello), "12/100/200/4000/1(0)0 claude-opus-4-8 msg_1"},
		{"broken off within an event", Anthropic, 200, events1, sse(begin, hello) + "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":5", "12/100/200/4000/1(0)0 claude-opus-4-8 msg_1"},
		{"broken off before anything", Anthropic, 200, events1, "", "0/0/0/0/0(0)0 unpriced: the answer does not tell what was used"},
		{"overloaded in the middle", Anthropic, 200, events1, sse(begin, hello, failed("overloaded_error")), "12/100/200/4000/1(0)0 claude-opus-4-8 msg_1 error: overloaded_error"},
		{"overloaded at once", Anthropic, 200, events1, sse(failed("overloaded_error")), "0/0/0/0/0(0)0 complete? error: overloaded_error"},
		{"refused: too many", Anthropic, 429, plain, failed("rate_limit_error"), "0/0/0/0/0(0)0 complete error: rate_limit_error"},
		{"refused: overloaded", Anthropic, 529, plain, failed("overloaded_error"), "0/0/0/0/0(0)0 complete error: overloaded_error"},
		{"refused: the request", Anthropic, 400, plain, failed("invalid_request_error"), "0/0/0/0/0(0)0 complete error: invalid_request_error"},
		{"refused by a page", Anthropic, 502, "text/html", "<html>Bad gateway</html>", "0/0/0/0/0(0)0 complete"},
		{"a page instead of an answer", Anthropic, 200, "text/html", "<html>Log in</html>", "0/0/0/0/0(0)0 unpriced: the answer is no whole JSON"},
		{"nothing instead of an answer", Anthropic, 200, plain, "", "0/0/0/0/0(0)0 unpriced: the answer is no whole JSON"},
		{"half an answer", Anthropic, 200, plain, `{"model":"m","content":[`, "0/0/0/0/0(0)0 m unpriced: the answer is no whole JSON"},
		{"half an answer, with usage", Anthropic, 200, plain, `{"model":"m",` + anthropicUsage + `,"content":[`, "10/20/0/30/40(0)0 m"},
		{"an answer of another shape", Anthropic, 200, plain, `{"result":"fine"}`, "0/0/0/0/0(0)0 unpriced: the answer does not tell what was used"},
		{"a negative count", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":-5,"output_tokens":2}}`, "0/0/0/0/2(0)0 m complete unpriced: its input_tokens is no count"},
		{"half a token", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":1.5,"output_tokens":2}}`, "0/0/0/0/2(0)0 m complete unpriced: its input_tokens is no count"},
		{"more than there can be", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":9999999999999999999999,"output_tokens":2}}`, "0/0/0/0/2(0)0 m complete unpriced: its input_tokens is no count"},
		{"a count as text", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":"7","output_tokens":2}}`, "0/0/0/0/2(0)0 m complete unpriced: its input_tokens is no count"},
		{"speech", Other, 200, "audio/mpeg", "ID3...", "0/0/0/0/0(0)0 unpriced: what it costs is not told in tokens"},
		{"embeddings", Other, 200, plain, `{"model":"e","usage":{"prompt_tokens":5}}`, "0/0/0/0/0(0)0 e unpriced: what it costs is not told in tokens"},
		{"with what was summed up on the way", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":10,"output_tokens":5,"iterations":[{"type":"compaction","input_tokens":1000,"output_tokens":100},{"type":"message","input_tokens":10,"output_tokens":5}]}}`, "1010/0/0/0/105(0)0 m complete"},
		{"the same in a stream", Anthropic, 200, events1, sse(begin, `{"type":"message_delta","usage":{"output_tokens":5,"iterations":[{"type":"compaction","input_tokens":900,"output_tokens":90}]}}`, `{"type":"message_delta","usage":{"output_tokens":7,"iterations":[{"type":"compaction","input_tokens":1000,"output_tokens":100},{"type":"message","input_tokens":12,"output_tokens":7}]}}`, stop), "1012/100/200/4000/107(0)0 claude-opus-4-8 msg_1 complete"},
		{"in a hurry", Anthropic, 200, plain, `{"model":"claude-opus-4-8","usage":{"input_tokens":1,"output_tokens":2,"speed":"fast"}}`, "1/0/0/0/2(0)0 claude-opus-4-8-fast complete"},
		{"at the usual speed", Anthropic, 200, plain, `{"model":"claude-opus-4-8","usage":{"input_tokens":1,"output_tokens":2,"speed":"standard"}}`, "1/0/0/0/2(0)0 claude-opus-4-8 complete"},
		{"cache writes told by their time only", Anthropic, 200, plain, `{"model":"m","usage":{"input_tokens":1,"output_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":30,"ephemeral_1h_input_tokens":40}}}`, "1/30/40/0/2(0)0 m complete"},
		{"Groq's stream", Chat, 200, events1, sse(chunk(""), `{"id":"chatcmpl-2","model":"gpt-4o","choices":[],"x_groq":{"usage":{"prompt_tokens":9,"completion_tokens":3}}}`, "[DONE]"), "9/0/0/0/3(0)0 gpt-4o chatcmpl-2 complete"},
		{"DeepSeek's cache", Chat, 200, plain, `{"model":"deepseek-chat","usage":{"prompt_tokens":100,"completion_tokens":5,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}}`, "36/0/0/64/5(0)0 deepseek-chat complete"},
		{"a batch", Batch, 200, plain, `{"id":"b1","processing_status":"in_progress"}`, "0/0/0/0/0(0)0 b1 unpriced: it is a batch, which is answered and paid for later"},

		{"a response", Responses, 200, plain, responses, "40/0/0/60/50(20)0 gpt-5-codex resp_1 complete"},
		{"a response as a stream", Responses, 200, events1, sse(`{"type":"response.created","response":{"id":"resp_1","model":"gpt-5","status":"in_progress","usage":null}}`, `{"type":"response.output_text.delta","delta":"hi"}`, `{"type":"response.completed","response":`+responses+`}`), "40/0/0/60/50(20)0 gpt-5-codex resp_1 complete"},
		{"an incomplete response", Responses, 200, events1, sse(`{"type":"response.incomplete","response":` + responses + `}`), "40/0/0/60/50(20)0 gpt-5-codex resp_1 complete"},
		{"a failed response", Responses, 200, events1, sse(`{"type":"response.failed","response":{"id":"resp_3","model":"gpt-5","status":"failed","error":{"code":"server_error","message":"no"},"usage":null}}`), "0/0/0/0/0(0)0 gpt-5 resp_3 error: server_error"},
		{"a response that is broken off", Responses, 200, events1, sse(`{"type":"response.created","response":{"id":"resp_1","model":"gpt-5"}}`, `{"type":"response.output_text.delta","delta":"hi"}`), "0/0/0/0/0(0)0 gpt-5 resp_1 unpriced: the answer does not tell what was used"},
		{"a response to too many", Responses, 429, plain, `{"error":{"message":"no","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, "0/0/0/0/0(0)0 complete error: insufficient_quota"},
		{"a response that has written to a cache", Responses, 200, plain, strings.Replace(responses, `"cached_tokens":60`, `"cached_tokens":60,"cache_write_tokens":30`, 1), "10/30/0/60/50(20)0 gpt-5-codex resp_1 complete"},
		{"a response with searches", Responses, 200, plain, strings.Replace(responses, `"output":[`, `"output":[`+search+`,`+strings.Replace(search, `"search"`, `"open_page"`, 1)+`,`+search+`,`, 1), "40/0/0/60/50(20)2 gpt-5-codex resp_1 complete"},
		{"searches in a stream of events", Responses, 200, events1, sse(`{"type":"response.output_item.added","output_index":0,"item":`+search+`}`, `{"type":"response.output_item.done","output_index":0,"item":`+search+`}`,
			`{"type":"response.completed","response":`+strings.Replace(responses, `"output":[`, `"output":[`+search+`,`, 1)+`}`), "40/0/0/60/50(20)1 gpt-5-codex resp_1 complete"},
		{"searches whose list is empty", Responses, 200, events1, sse(`{"type":"response.output_item.done","output_index":0,"item":`+search+`}`, `{"type":"response.completed","response":{"model":"gpt-5","output":[],"usage":{"input_tokens":1,"output_tokens":2}}}`), "1/0/0/0/2(0)1 gpt-5 complete"},
		{"OpenRouter with one's own key", Chat, 200, plain, `{"model":"m","usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.001,"is_byok":true,"cost_details":{"upstream_inference_cost":0.02}}}`, "1/0/0/0/1(0)0 m complete cost 0.021"},
		{"OpenRouter without", Chat, 200, plain, `{"model":"m","usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.02,"is_byok":false,"cost_details":{"upstream_inference_cost":0.02}}}`, "1/0/0/0/1(0)0 m complete cost 0.02"},
		{"a completion", Chat, 200, plain, chat, "36/0/0/64/50(10)0 gpt-4.1-2025-04-14 chatcmpl-1 complete"},
		{"a completion as a stream", Chat, 200, events1, sse(chunk(`,"usage":null`), chunk(""), `{"id":"chatcmpl-2","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`, "[DONE]"), "10/0/0/0/5(0)0 gpt-4o chatcmpl-2 complete"},
		{"a stream that tells no usage", Chat, 200, events1, sse(chunk(""), "[DONE]"), "0/0/0/0/0(0)0 gpt-4o chatcmpl-2 unpriced: the answer does not tell what was used"},
		{"OpenRouter's cost", Chat, 200, plain, `{"id":"gen-1","model":"anthropic/claude-sonnet-4.5","usage":{"prompt_tokens":100,"completion_tokens":50,"cost":0.00123,"cost_details":{"upstream_inference_cost":null},"prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":10}}}`, "50/10/0/40/50(0)0 anthropic/claude-sonnet-4.5 gen-1 complete cost 0.00123"},
		{"OpenRouter's cost with an exponent", Chat, 200, plain, `{"model":"m","usage":{"prompt_tokens":1,"completion_tokens":1,"cost":4.2e-5}}`, "1/0/0/0/1(0)0 m complete cost 0.000042"},
		{"OpenRouter's comments", Chat, 200, events1, ": OPENROUTER PROCESSING\n\n" + sse(chunk(`,"usage":{"prompt_tokens":10,"completion_tokens":5}`), "[DONE]"), "10/0/0/0/5(0)0 gpt-4o chatcmpl-2 complete"},
		{"an error in the middle of a stream", Chat, 200, events1, sse(chunk(""), `{"error":{"code":"rate_limit","message":"no"},"id":"x"}`), "0/0/0/0/0(0)0 gpt-4o chatcmpl-2 error: rate_limit"},

		{"Gemini", Gemini, 200, plain, gemini, "40/0/0/60/50(30)0 gemini-2.5-pro r1 complete"},
		{"Gemini as events", Gemini, 200, events1, sse(part, gemini), "40/0/0/60/50(30)0 gemini-2.5-pro r1 complete"},
		{"Gemini as a list", Gemini, 200, plain, "[" + part + ",\n" + gemini + "]", "40/0/0/60/50(30)0 gemini-2.5-pro r1 complete"},
		{"Gemini through Code Assist", Gemini, 200, events1, sse(`{"response":`+part+`}`, `{"response":`+gemini+`,"traceId":"t"}`), "40/0/0/60/50(30)0 gemini-2.5-pro r1 complete"},
		{"Gemini with a tool's prompt", Gemini, 200, plain, `{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"toolUsePromptTokenCount":7,"candidatesTokenCount":5},"modelVersion":"g"}`, "17/0/0/0/5(0)0 g complete"},
		{"Gemini broken off", Gemini, 200, events1, sse(part), "100/0/0/0/1(0)0 gemini-2.5-pro"},
		{"Gemini whose prompt was blocked", Gemini, 200, plain, `{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":10,"totalTokenCount":10},"modelVersion":"g"}`, "10/0/0/0/0(0)0 g complete"},
		{"Gemini refuses", Gemini, 429, plain, `{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}`, "0/0/0/0/0(0)0 complete error: RESOURCE_EXHAUSTED"},
		{"Gemini refuses in a list", Gemini, 400, plain, `[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]`, "0/0/0/0/0(0)0 complete error: INVALID_ARGUMENT"},

		{"Bedrock", BedrockInvoke, 200, plain, whole, "10/20/0/30/40(0)0 claude-haiku-4-5 msg_2 complete"},
		{"Bedrock's frames", BedrockInvoke, 200, eventsA, amazon(begin, ping, hello, delta, `{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1,"outputTokenCount":2}}`), "12/100/200/4000/57(0)0 claude-opus-4-8 msg_1 complete"},
		{"Bedrock's frames, broken off", BedrockInvoke, 200, eventsA, amazon(begin, hello)[:len(amazon(begin, hello))-20], "12/100/200/4000/1(0)0 claude-opus-4-8 msg_1"},
		{"no frames", BedrockInvoke, 200, eventsA, "this is no event stream at all", "0/0/0/0/0(0)0 unpriced: the answer is not in Amazon's form"},
		{"a frame that is too long", BedrockInvoke, 200, eventsA, "\xff\xff\xff\xff\x00\x00\x00\x00CRC1" + strings.Repeat("x", 100), "0/0/0/0/0(0)0 unpriced: the answer is not in Amazon's form"},
		{"Bedrock refuses", BedrockInvoke, 400, plain, `{"__type":"ValidationException","message":"no"}`, "0/0/0/0/0(0)0 complete error: ValidationException"},
		{"Converse", BedrockConverse, 200, plain, `{"output":{"message":{}},"stopReason":"end_turn","usage":{"inputTokens":10,"outputTokens":20,"totalTokens":30,"cacheReadInputTokens":5,"cacheWriteInputTokens":6},"metrics":{"latencyMs":1}}`, "10/6/0/5/20(0)0 complete"},
		{"Converse's frames", BedrockConverse, 200, eventsA, frame(`{"role":"assistant"}`) + frame(`{"contentBlockIndex":0,"delta":{"text":"hi"}}`) + frame(`{"stopReason":"end_turn"}`) + frame(`{"metrics":{"latencyMs":1},"usage":{"inputTokens":10,"outputTokens":20}}`), "10/0/0/0/20(0)0 complete"},
		{"Vertex", Anthropic, 200, events1, sse(begin, delta, stop), "12/100/200/4000/57(0)0 claude-opus-4-8 msg_1 complete"},
	}
}

func describe(r Result) string {
	text := fmt.Sprintf("%d/%d/%d/%d/%d(%d)%d", r.Input, r.CacheWrite, r.CacheWrite1h, r.CacheRead, r.Output, r.Thinking, r.Searches)
	for _, word := range []string{r.Model, r.Request} {
		if word != "" {
			text += " " + word
		}
	}
	if r.Complete {
		text += " complete"
	}
	if r.Unpriced != "" {
		text += " unpriced: " + r.Unpriced
	}
	if r.Cost != nil {
		text += " cost " + r.Cost.Decimal()
	}
	if r.Error != "" {
		text += " error: " + r.Error
	}
	return text
}

// read has an answer read in pieces whose lengths next says.
func read(c answerCase, encoding string, body []byte, next func(left int) int) string {
	a := NewAnswer(Target{API: c.api}, c.status, http.Header{"Content-Type": {c.media}, "Content-Encoding": {encoding}})
	for len(body) > 0 {
		n := min(len(body), max(1, next(len(body))))
		piece := bytes.Clone(body[:n]) // nothing may be kept of it
		_, _ = a.Write(piece)
		clear(piece)
		body = body[n:]
	}
	return describe(a.Close())
}

func whole(left int) int { return left }

func TestAnswers(t *testing.T) {
	if n := len(answers()); n < 60 {
		t.Errorf("there are only %d cases", n)
	}
	for _, c := range answers() {
		want := strings.ReplaceAll(c.want, " complete?", "")
		if got := read(c, "", []byte(c.body), whole); got != want {
			t.Errorf("%s: %s\n%*s%s is what it says", c.name, got, len(c.name)+2, "", want)
		}
	}
}

// However an answer is cut in pieces, it says the same.
func TestPiecesDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, c := range answers() {
		want := read(c, "", []byte(c.body), whole)
		if got := read(c, "", []byte(c.body), func(int) int { return 1 }); got != want {
			t.Errorf("%s, byte by byte: %s", c.name, got)
		}
		for range 20 {
			if got := read(c, "", []byte(c.body), func(int) int { return 1 + r.IntN(1+r.IntN(200)) }); got != want {
				t.Fatalf("%s, in pieces: %s", c.name, got)
			}
		}
	}
}

func compressedAs(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "deflate, raw":
		w, err = flate.NewWriter(&b, 6)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	}
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodings(t *testing.T) {
	for _, encoding := range []string{"gzip", "deflate", "deflate, raw", "br", "zstd"} {
		name, _, _ := strings.Cut(encoding, ",")
		for _, c := range answers() {
			body := compressedAs(t, encoding, []byte(c.body))
			want := read(c, "", []byte(c.body), whole)
			if got := read(c, name, body, whole); got != want {
				t.Errorf("%s in %s: %s, not %s", c.name, encoding, got, want)
			}
			if got := read(c, name, body, func(int) int { return 3 }); got != want {
				t.Errorf("%s in %s, in pieces: %s, not %s", c.name, encoding, got, want)
			}
		}
		// Damaged, or broken off.
		c := answers()[0]
		body := compressedAs(t, encoding, []byte(c.body))
		for _, wrong := range [][]byte{body[:len(body)/2], append([]byte{1, 2, 3}, body...), nil} {
			if got := read(c, name, wrong, whole); !strings.Contains(got, "unpriced: ") {
				t.Errorf("damaged %s: %s", encoding, got)
			}
		}
	}
	if got := read(answers()[0], "exi", []byte("x"), whole); !strings.Contains(got, "unpriced: its encoding is not known") {
		t.Error(got)
	}
}

func TestABombCostsNoMemory(t *testing.T) {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, 9)
	for range (maxDecoded >> 20) + 10 {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	_ = w.Close()
	if got := read(answers()[0], "gzip", b.Bytes(), func(int) int { return 4096 }); !strings.Contains(got, "unpriced: ") {
		t.Error(got)
	}
}

func TestDetect(t *testing.T) {
	for request, want := range map[string]Target{
		"POST api.anthropic.com /v1/messages":                                             {Anthropic, ""},
		"POST gateway.test /anthropic/v1/messages":                                        {Anthropic, ""},
		"POST api.anthropic.com /v1/messages/count_tokens":                                {},
		"POST api.anthropic.com /v1/messages/batches":                                     {Batch, ""},
		"GET api.anthropic.com /v1/models":                                                {},
		"GET api.anthropic.com /v1/messages":                                              {},
		"POST api.openai.com /v1/responses":                                               {Responses, ""},
		"POST api.openai.com /v1/responses/input_tokens":                                  {},
		"POST chatgpt.com /backend-api/codex/responses":                                   {Responses, ""},
		"POST api.openai.com /v1/chat/completions":                                        {Chat, ""},
		"POST openrouter.ai /api/v1/chat/completions":                                     {Chat, ""},
		"POST x.openai.azure.com /openai/deployments/gpt-4o/chat/completions":             {Chat, "gpt-4o"},
		"POST generativelanguage.googleapis.com /v1beta/models/g-2:generateContent":       {Gemini, "g-2"},
		"POST generativelanguage.googleapis.com /v1beta/models/g-2:streamGenerateContent": {Gemini, "g-2"},
		"POST generativelanguage.googleapis.com /v1beta/models/g-2:countTokens":           {},
		"POST cloudcode-pa.googleapis.com /v1internal:streamGenerateContent":              {Gemini, ""},
		"POST us-east5-aiplatform.googleapis.com /v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4-8@20260101:streamRawPredict": {Anthropic, "claude-opus-4-8@20260101"},
		"POST bedrock-runtime.us-east-1.amazonaws.com /model/us.anthropic.claude-opus-4-8-v1%3A0/invoke-with-response-stream":                      {BedrockInvoke, "us.anthropic.claude-opus-4-8-v1:0"},
		"POST bedrock-runtime.us-east-1.amazonaws.com /model/amazon.nova-pro-v1:0/converse-stream":                                                 {BedrockConverse, "amazon.nova-pro-v1:0"},
		"POST example.com /upload":                 {},
		"POST api.anthropic.com //v1//messages/":   {Anthropic, ""},
		"POST api.anthropic.com /x/../v1/messages": {Anthropic, ""},
		"POST api.anthropic.com /V1/Messages":      {Anthropic, ""},
		"POST api.anthropic.com /v1/%6dessages":    {Anthropic, ""},
		"POST x.googleapis.com /v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict":      {},
		"POST bedrock-runtime.x.amazonaws.com /model/arn%3Aaws%3Abedrock%3A1%3Ainference-profile%2Fclaude-x/invoke": {BedrockInvoke, "arn:aws:bedrock:1:inference-profile/claude-x"},
		"POST api.openai.com /v1/embeddings":     {Other, ""},
		"POST api.openai.com /v1/threads/t/runs": {Other, ""},
	} {
		f := strings.Fields(request)
		got, ok := Detect(f[0], f[1], f[2])
		if got != want || ok != (want.API != None) {
			t.Errorf("%s is %+v, %v", request, got, ok)
		}
	}
}

func TestRequests(t *testing.T) {
	for body, want := range map[string]string{
		`{"model":"claude-opus-4-8","max_tokens":32000,"stream":true,"messages":[{"role":"user","content":"model"}]}`: "claude-opus-4-8 32000 true",
		`{"messages":[{"content":"x","model":"y","max_tokens":1}],"max_tokens":5,"model":"m"}`:                        "m 5 false",
		`{"model":"gpt","max_completion_tokens":7,"stream":false}`:                                                    "gpt 7 false",
		`{"model":"gpt","max_output_tokens":8,"input":"\"max_output_tokens\":99"}`:                                    "gpt 8 false",
		`{"contents":[],"generationConfig":{"maxOutputTokens":9}}`:                                                    " 9 false",
		`{"model":"models/g","request":{"generationConfig":{"maxOutputTokens":10}}}`:                                  "g 10 false",
		`{"inferenceConfig":{"maxTokens":11}}`:                                                                        " 11 false",
		`{"max_tokens":-1,"model":5}`:                                                                                 " 0 false",
		`{"max_tokens":1e3}`:                                                                                          " 0 false",
		`not json`:                                                                                                    " 0 false",
	} {
		r := NewRequest(Target{}, "")
		for _, c := range []byte(body) {
			_, _ = r.Write([]byte{c})
		}
		r.Close()
		packed := NewRequest(Target{}, "zstd") // as Codex sends it
		_, _ = packed.Write(compressedAs(t, "zstd", []byte(body)))
		packed.Close()
		if packed.Model() != r.Model() || packed.MaxOutput() != r.MaxOutput() || packed.Bytes() != r.Bytes() {
			t.Errorf("compressed, %s is %s %d", body, packed.Model(), packed.MaxOutput())
		}
		if got := fmt.Sprintf("%s %d %v", r.Model(), r.MaxOutput(), r.Stream()); got != want || r.Bytes() != int64(len(body)) {
			t.Errorf("%s is %s of %d bytes", body, got, r.Bytes())
		}
	}
}
