package meter

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// maxTokens is the largest count that is believed.
const maxTokens = 1e12

// Result is what an answer has said.
type Result struct {
	usage.Tokens
	Model    string
	Request  string       // the provider's identifier
	Cost     *usage.Money // what the provider itself says that it cost
	Complete bool         // the provider's last word on what was used has come
	Unpriced string       // why nobody can tell what was used, "" when it is told
	Error    string       // the provider's type of error, also of one in the middle of an answer
}

// Answer reads an answer. It is not safe for use by several goroutines.
type Answer struct {
	target Target
	status int
	Result

	body    decoder // what takes the body as it came
	scan    scanner
	counts  map[string]int64
	last    bool             // the provider has said that this was all
	extra   map[string]int64 // counts of iterations, in the document of that number
	listed  int
	step    string
	event   string // the type of an event of OpenAI's
	items   int64  // searches that its events have told of, and that are in an answer's list
	list    int64
	byok    bool         // OpenRouter has used the user's own key, and charged for its own part only
	paid    *usage.Money // to the provider behind it
	strange string       // why a count is not believed
	fast    bool         // the model was asked to hurry, which has a price of its own
	size    int64        // of what was written, in bytes of text
}

// NewAnswer reads the answer to a request to t, whose head is given.
func NewAnswer(t Target, status int, header http.Header) *Answer {
	a := &Answer{target: t, status: status, counts: map[string]int64{}, extra: map[string]int64{}, listed: -1}
	a.Model = t.Model
	for _, name := range []string{"Request-Id", "X-Request-Id", "X-Amzn-Requestid"} {
		if id := header.Get(name); id != "" && len(id) <= maxScalar {
			a.Request = id
			break
		}
	}
	a.scan.emit = a.value
	var in decoder = &document{a}
	switch media, _, _ := strings.Cut(header.Get("Content-Type"), ";"); strings.TrimSpace(strings.ToLower(media)) {
	case "text/event-stream":
		in = &events{to: a}
	case "application/vnd.amazon.eventstream":
		in = &frames{to: a}
	}
	a.body = decoded(header.Get("Content-Encoding"), in)
	switch t.API {
	case Batch:
		a.Unpriced = "it is a batch, which is answered and paid for later"
	case Other:
		a.Unpriced = "what it costs is not told in tokens"
	}
	return a
}

// Write takes a part of the body as it came. It never fails.
func (a *Answer) Write(p []byte) (int, error) {
	a.body.write(p)
	return len(p), nil
}

// Close says what was used, after the last byte, or when no more comes.
func (a *Answer) Close() Result {
	if why := a.body.end(); why != "" && a.Unpriced == "" {
		a.Unpriced = why
	}
	a.Tokens = a.tokens(a.counts)
	if len(a.extra) > 0 {
		a.Tokens = a.Plus(a.tokens(a.extra))
	}
	a.Searches += max(a.items, a.list)
	if a.byok && a.Cost != nil && a.paid != nil {
		if sum := *a.Cost + *a.paid; sum >= 0 { // or it cannot be counted
			a.Cost = &sum
		}
	}
	if a.fast && a.Model != "" {
		a.Model += "-fast"
	}
	told := len(a.counts) > 0
	a.Complete = told && a.last
	switch {
	case a.target.API == Batch || a.target.API == Other && a.status < 400:
	case a.status >= 400:
		a.Unpriced = "" // nobody pays for an error
		a.Complete = true
	case a.strange != "":
		a.Unpriced = a.strange
	case told:
		a.Unpriced = ""
	case a.Unpriced == "" && a.Error == "":
		a.Unpriced = "the answer does not tell what was used"
	}
	return a.Result
}

// Written is about how many tokens the model had written when an answer broke off, by the size of its text.
func (a *Answer) Written() int64 { return (a.size + 2) / 3 }

// document is a body that is one JSON document.
type document struct{ a *Answer }

func (d *document) write(p []byte) { d.a.scan.write(p) }

func (d *document) end() string {
	if !d.a.scan.end() {
		return "the answer is no whole JSON"
	}
	d.a.last = true
	return ""
}

// value takes one scalar of a document or an event.
func (a *Answer) value(path []byte, s scalar) {
	name := string(path)
	// Gemini sends a list where it is not asked for events, and Code Assist and OpenAI's events wrap an answer once more.
	name = strings.TrimPrefix(name, "[].")
	switch a.target.API {
	case Gemini, Responses:
		name = strings.TrimPrefix(name, "response.")
	case Anthropic, BedrockInvoke:
		name = strings.TrimPrefix(name, "message.")
	}
	if part, ok := strings.CutPrefix(name, "usage.iterations.[]."); ok {
		a.iteration(part, s)
		return
	}
	for _, prefix := range []string{"usage.", "usageMetadata.", "x_groq.usage.", "choices.[].usage."} {
		if count, ok := strings.CutPrefix(name, prefix); ok && s.kind != 'n' && count != "speed" {
			a.count(count, s)
			return
		}
	}
	if s.kind == '"' {
		a.word(name, s)
	}
}

// iteration takes a part of what Anthropic lists of one answer: what was summed up on the way, or another model has
// advised, is paid for, and is not in the other counts. Each event lists everything again.
func (a *Answer) iteration(name string, s scalar) {
	if a.listed != a.scan.docs {
		a.listed, a.extra = a.scan.docs, map[string]int64{}
	}
	switch {
	case name == "type":
		a.step = string(s.text)
	case a.step != "message" && s.kind == '0' && slices.Contains(Anthropic.names(), name):
		if n, err := strconv.ParseInt(string(s.text), 10, 64); err == nil && n >= 0 && n <= maxTokens {
			a.extra[name] += n
		} else {
			a.strange = fmt.Sprintf("its %s is no count", name)
		}
	}
}

// word takes a string.
func (a *Answer) word(name string, s scalar) {
	text := string(s.text)
	switch name {
	case "model", "modelVersion":
		if !s.cut && text != "" {
			a.Model = text
		}
	case "usage.speed":
		a.fast = text == "fast"
	case "id", "responseId":
		if !s.cut && a.Request == "" {
			a.Request = text
		}
	case "error.type", "error.code", "error.status", "error.__type", "__type":
		if a.Error == "" {
			a.Error = text
		}
	case "output.[].action.type":
		if text == "search" { // the one action of a search of the web that is paid for
			a.list++
		}
	case "item.action.type":
		if text == "search" && a.event == "response.output_item.done" {
			a.items++
		}
	case "type":
		a.event = text
		switch text {
		case "message_stop", "completed", "response.completed", "response.incomplete", "response.failed":
			a.last = true
		}
	case "candidates.[].finishReason":
		a.last = true
	case "delta.text", "delta.partial_json", "delta.thinking", "delta", "choices.[].delta.content", "candidates.[].content.parts.[].text":
		a.size += int64(len(s.text))
	}
}

// count takes a number of tokens, or what OpenRouter says of the cost.
func (a *Answer) count(name string, s scalar) {
	switch {
	case name == "cost" && s.kind == '0':
		a.Cost = money(s, a.Cost)
		return
	case name == "cost_details.upstream_inference_cost" && s.kind == '0':
		a.paid = money(s, a.paid)
		return
	case name == "is_byok":
		a.byok = s.kind == 't'
		return
	}
	if !slices.Contains(a.target.API.names(), name) {
		return
	}
	n, err := strconv.ParseInt(string(s.text), 10, 64)
	if err != nil || n < 0 || n > maxTokens || s.kind != '0' {
		a.strange = fmt.Sprintf("its %s is no count", name)
		return
	}
	a.counts[name] = n
}

// money is the amount in s, or else what was known before.
func money(s scalar, before *usage.Money) *usage.Money {
	var m usage.Money
	if m.UnmarshalJSON(s.text) != nil || m < 0 {
		return before
	}
	return &m
}

// names are the counts of an API that are added up below. Others' do not count: an answer that has only those is of a
// shape that is not known.
func (api API) names() []string {
	switch api {
	case Anthropic, BedrockInvoke:
		return []string{"input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation.ephemeral_5m_input_tokens",
			"cache_creation.ephemeral_1h_input_tokens", "server_tool_use.web_search_requests", "output_tokens_details.thinking_tokens"}
	case Responses:
		return []string{"input_tokens", "output_tokens", "input_tokens_details.cached_tokens", "input_tokens_details.cache_write_tokens", "output_tokens_details.reasoning_tokens"}
	case Chat:
		return []string{"prompt_tokens", "completion_tokens", "prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens", "cached_tokens", "prompt_tokens_details.cache_write_tokens", "completion_tokens_details.reasoning_tokens"}
	case Gemini:
		return []string{"promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount"}
	case BedrockConverse:
		return []string{"inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"}
	}
	return nil
}

// tokens are the counts in the one form for all, in which no kind contains another.
func (a *Answer) tokens(n map[string]int64) usage.Tokens {
	switch a.target.API {
	case Anthropic, BedrockInvoke: // the prompt is what caches have no part in
		t := usage.Tokens{Input: n["input_tokens"], CacheWrite: n["cache_creation_input_tokens"], CacheRead: n["cache_read_input_tokens"], Output: n["output_tokens"],
			Thinking: n["output_tokens_details.thinking_tokens"], Searches: n["server_tool_use.web_search_requests"]}
		short, hour := n["cache_creation.ephemeral_5m_input_tokens"], n["cache_creation.ephemeral_1h_input_tokens"]
		t.CacheWrite1h, t.CacheWrite = hour, max(t.CacheWrite-hour, short)
		return t
	case Responses: // the prompt contains what was cached
		cached, written := n["input_tokens_details.cached_tokens"], n["input_tokens_details.cache_write_tokens"]
		return usage.Tokens{Input: max(0, n["input_tokens"]-cached-written), CacheWrite: written, CacheRead: cached, Output: n["output_tokens"], Thinking: n["output_tokens_details.reasoning_tokens"]}
	case Chat:
		cached, written := max(n["prompt_tokens_details.cached_tokens"], n["prompt_cache_hit_tokens"], n["cached_tokens"]), n["prompt_tokens_details.cache_write_tokens"]
		return usage.Tokens{Input: max(0, n["prompt_tokens"]-cached-written), CacheWrite: written, CacheRead: cached,
			Output: n["completion_tokens"], Thinking: n["completion_tokens_details.reasoning_tokens"]}
	case Gemini: // what it writes is without what it thinks
		cached := n["cachedContentTokenCount"]
		return usage.Tokens{Input: max(0, n["promptTokenCount"]-cached) + n["toolUsePromptTokenCount"], CacheRead: cached,
			Output: n["candidatesTokenCount"] + n["thoughtsTokenCount"], Thinking: n["thoughtsTokenCount"]}
	case BedrockConverse:
		return usage.Tokens{Input: n["inputTokens"], CacheWrite: n["cacheWriteInputTokens"], CacheRead: n["cacheReadInputTokens"], Output: n["outputTokens"]}
	}
	return usage.Tokens{}
}
