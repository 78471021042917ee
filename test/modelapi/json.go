package modelapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

type object = map[string]any

// The readers of untyped JSON: a wrong type is the zero value.
func text(v any) string   { s, _ := v.(string); return s }
func list(v any) []any    { a, _ := v.([]any); return a }
func fields(v any) object { m, _ := v.(object); return m }
func flag(v any) bool     { b, _ := v.(bool); return b }

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("modelapi: " + err.Error()) // only our own values get here
	}
	return string(b)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// ids makes the identifiers of one answer; clients only want them to differ.
type ids struct{ n atomic.Int64 }

func (i *ids) next(prefix string) string { return fmt.Sprintf("%s_test%08d", prefix, i.n.Add(1)) }

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, encode(v))
}

func failure(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintln(w, encode(object{"type": "error", "error": object{"type": kind, "message": message}}))
}

// stream writes server-sent events, each flushed.
type stream struct{ w http.ResponseWriter }

func newStream(w http.ResponseWriter) stream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	return stream{w}
}

// event sends v, named by its own type when it has one.
func (s stream) event(v object) {
	if kind := text(v["type"]); kind != "" {
		fmt.Fprintf(s.w, "event: %s\n", kind)
	}
	s.data(encode(v))
}

func (s stream) data(line string) {
	fmt.Fprintf(s.w, "data: %s\n\n", line)
	if f, ok := s.w.(http.Flusher); ok {
		f.Flush()
	}
}
