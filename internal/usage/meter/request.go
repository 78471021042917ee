package meter

import (
	"hash"
	"hash/crc32"
	"strconv"
	"strings"
)

// Request reads what a request asks for, as its body passes. Whoever makes one closes it.
type Request struct {
	body   decoder
	closed bool
	scan   scanner
	model  string
	output int64
	stream bool
	bytes  int64
	sum    hash.Hash32
}

// NewRequest reads a request to t, whose body is in that encoding.
func NewRequest(t Target, encoding string) *Request {
	r := &Request{model: t.Model, sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	r.scan.emit = r.value
	r.body = decoded(encoding, (*asked)(r))
	return r
}

// Write takes a part of the body. It never fails.
func (r *Request) Write(p []byte) (int, error) {
	if !r.closed {
		r.body.write(p)
	}
	return len(p), nil
}

// Close says that no more comes. What was asked for is known then.
func (r *Request) Close() {
	if !r.closed {
		r.closed = true
		r.body.end()
	}
}

// asked takes a request's body when it is decoded.
type asked Request

func (a *asked) write(p []byte) {
	a.bytes += int64(len(p))
	_, _ = a.sum.Write(p)
	a.scan.write(p)
}

func (a *asked) end() string { return "" }

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

// Sum is nearly always another for another body.
func (r *Request) Sum() uint32 { return r.sum.Sum32() }

// Bytes is the size of the body, decoded.
func (r *Request) Bytes() int64 { return r.bytes }
