package meter

import (
	"strconv"
	"strings"
)

// Request reads what a request asks for, as its body passes.
type Request struct {
	scan   scanner
	model  string
	output int64
	stream bool
	bytes  int64
}

// NewRequest reads a request to t.
func NewRequest(t Target) *Request {
	r := &Request{model: t.Model}
	r.scan.emit = r.value
	return r
}

// Write takes a part of the body. It never fails.
func (r *Request) Write(p []byte) (int, error) {
	r.bytes += int64(len(p))
	r.scan.write(p)
	return len(p), nil
}

func (r *Request) value(path []byte, s scalar) {
	switch string(path) {
	case "model":
		if s.kind == '"' && !s.cut {
			r.model = strings.TrimPrefix(string(s.text), "models/")
		}
	case "stream":
		r.stream = s.kind == 't'
	case "max_tokens", "max_completion_tokens", "max_output_tokens", "generationConfig.maxOutputTokens", "request.generationConfig.maxOutputTokens", "inferenceConfig.maxTokens":
		if n, err := strconv.ParseInt(string(s.text), 10, 64); s.kind == '0' && err == nil && n > 0 && n < maxTokens {
			r.output = max(r.output, n)
		}
	}
}

// Model is the model that is asked for, "" while it is not known.
func (r *Request) Model() string { return r.model }

// MaxOutput is how many tokens may be written, 0 where that is not told.
func (r *Request) MaxOutput() int64 { return r.output }

// Stream says whether the answer is to come as it is made.
func (r *Request) Stream() bool { return r.stream }

// Bytes is the size of what has passed.
func (r *Request) Bytes() int64 { return r.bytes }
