// Package meter reads a copy of what goes to and comes from the API of a model, and says what was asked for and what
// was used. It never delays, changes or fails what it reads: what it does not understand it says so of, and never takes
// for nothing. It keeps a constant amount of whatever comes, and knows no price.
package meter

import (
	"net/url"
	pathpkg "path"
	"slices"
	"strings"
)

// API is the shape of a model's API. The zero value is none.
type API int

// The shapes.
const (
	None            API = iota
	Anthropic           // Messages
	Responses           // OpenAI's
	Chat                // OpenAI's chat completions, which many speak
	Gemini              // generateContent, also Vertex' and Code Assist's
	BedrockInvoke       // Anthropic's messages in Amazon's frames
	BedrockConverse     // Amazon's own
	Batch               // calls that are answered another day: noted, and not counted
	Other               // what is paid for, but whose answers are not read: pictures, speech, embeddings
)

// Target is an API, and the model where the path names it.
type Target struct {
	API   API
	Model string
}

// Detect says which model's API a request is for, by its path: many hosts, and proxies, speak each. ok is false for what is
// no call of a model, such as counting tokens.
func Detect(method, host, path string) (t Target, ok bool) {
	if method != "POST" {
		return Target{}, false
	}
	path = clean(path)
	ends := func(suffixes ...string) bool {
		low := strings.ToLower(path)
		return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(low, s) })
	}
	switch {
	case ends("/v1/messages/batches", "/v1/batches", ":batchgeneratecontent"):
		return Target{API: Batch}, true
	case ends("/v1/messages"):
		return Target{API: Anthropic}, true
	case ends("/chat/completions"):
		return Target{API: Chat, Model: between(path, "/deployments/", "/")}, true
	case ends("/v1/responses", "/openai/responses", "/codex/responses"):
		return Target{API: Responses, Model: between(path, "/deployments/", "/")}, true
	case ends("/v1/complete", "/v1/completions", "/v1/embeddings", "/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/v1/audio/speech",
		"/v1/audio/transcriptions", "/v1/audio/translations", "/v1/videos", "/v1/realtime", "/threads/runs", ":embedcontent", ":batchembedcontents", ":predict", ":predictlongrunning"),
		strings.Contains(path, "/v1/threads/") && ends("/runs"):
		return Target{API: Other}, true
	}
	if i := strings.LastIndex(path, ":"); i > strings.LastIndex(path, "/") {
		model := path[strings.LastIndex(path[:i], "/")+1 : i]
		switch action := path[i+1:]; {
		case action == "rawPredict" || action == "streamRawPredict":
			if strings.Contains(path, "/publishers/anthropic/") && model != "count-tokens" {
				return Target{API: Anthropic, Model: model}, true
			}
		case action == "generateContent" || action == "streamGenerateContent":
			if strings.HasPrefix(model, "v1") { // Code Assist names it in the request
				model = ""
			}
			return Target{API: Gemini, Model: model}, true
		}
	}
	if strings.HasPrefix(host, "bedrock") || strings.HasPrefix(path, "/model/") {
		_, model, _ := strings.Cut(path[:strings.LastIndex(path, "/")], "/model/") // which may have slashes of its own
		switch {
		case strings.HasSuffix(path, "/invoke"), strings.HasSuffix(path, "/invoke-with-response-stream"):
			return Target{API: BedrockInvoke, Model: model}, true
		case strings.HasSuffix(path, "/converse"), strings.HasSuffix(path, "/converse-stream"):
			return Target{API: BedrockConverse, Model: model}, true
		}
	}
	return Target{}, false
}

// clean is a path as the most generous of servers would read it: whoever asks wants to be found out.
func clean(p string) string {
	if decoded, err := url.PathUnescape(p); err == nil {
		p = decoded
	}
	return pathpkg.Clean("/" + strings.ReplaceAll(p, `\`, "/"))
}

// between is what stands in text behind before, up to after.
func between(text, before, after string) string {
	_, rest, ok := strings.Cut(text, before)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, after)
	return name
}
