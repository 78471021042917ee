package meter

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// FuzzAnswer: nothing that a server sends makes a count that nobody can believe, or depends on how it is cut.
func FuzzAnswer(f *testing.F) {
	for _, c := range answers() {
		f.Add(int(c.api), c.media, "", []byte(c.body))
	}
	f.Add(int(Anthropic), "application/json", "gzip", []byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, api int, media, encoding string, body []byte) {
		api = int(uint(api)%uint(BedrockConverse)) + 1
		c := answerCase{api: API(api), status: 200, media: media}
		want := read(c, encoding, body, whole)
		if encoding == "" {
			if got := read(c, encoding, body, func(int) int { return 1 }); got != want {
				t.Fatalf("byte by byte it is %s, and %s as a whole", got, want)
			}
		}
		a := NewAnswer(Target{API: API(api)}, 200, http.Header{"Content-Type": {media}, "Content-Encoding": {encoding}})
		_, _ = a.Write(body)
		r := a.Close()
		for _, n := range []int64{r.Input, r.CacheWrite, r.CacheWrite1h, r.CacheRead, r.Output, r.Thinking, r.Searches} {
			if n < 0 || n > 2*maxTokens {
				t.Fatalf("%+v", r)
			}
		}
		if r.Unpriced == "" && r.Error == "" && r.Total() == 0 && !bytes.Contains(body, []byte("0")) && encoding == "" {
			t.Fatalf("%q is for nothing", body)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m","max_tokens":5,"stream":true}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := NewRequest(Target{}, "")
		_, _ = r.Write(body)
		r.Close()
		if r.MaxOutput() < 0 || r.Bytes() != int64(len(body)) || len(r.Model()) > maxScalar {
			t.Fatalf("%+v", r)
		}
	})
}

// FuzzScanner: of what encoding/json takes, every scalar is told with its path, and nothing else is.
func FuzzScanner(f *testing.F) {
	for _, c := range answers() {
		if c.media == plain {
			f.Add([]byte(c.body))
		}
	}
	f.Add([]byte(`{"a":[1,[2,{"b":null}],{}],"c":"\\u00e9\\n\\"","":-1.5e+3,"d":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var want any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if !json.Valid(body) || d.Decode(&want) != nil || bytes.Contains(body, []byte(`\ud`)) || bytes.Contains(body, []byte(`\uD`)) || !bytes.Equal(bytes.ToValidUTF8(body, nil), body) {
			return
		}
		got := map[string]int{}
		s := scanner{emit: func(path []byte, s scalar) {
			if s.cut {
				got["cut"]++
				return
			}
			got[string(path)+" "+string(s.kind)+" "+string(s.text)]++
		}}
		for _, c := range body {
			s.write([]byte{c})
		}
		if !s.end() {
			if deep(want) <= maxDepth {
				t.Fatalf("%q is taken for no JSON", body)
			}
			return
		}
		told := map[string]int{}
		if !tell(want, "", told) {
			return // longer than what is kept, or a key that is there twice
		}
		for line, n := range told {
			if got[line] < n {
				t.Fatalf("%q: %q is not told, but %v", body, line, got)
			}
		}
	})
}

func deep(v any) int {
	most := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			most = max(most, deep(e))
		}
	case []any:
		for _, e := range v {
			most = max(most, deep(e))
		}
	default:
		return 0
	}
	return most + 1
}

// tell lists the scalars of v as the scanner does. It is false where that keeps less.
func tell(v any, path string, all map[string]int) bool {
	add := func(kind, text string) bool {
		all[strings.TrimSuffix(path, ".")+" "+kind+" "+text]++
		return len(text) <= maxScalar/2
	}
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if len(k) > maxScalar/2 || !tell(e, path+k+".", all) {
				return false
			}
		}
		return true
	case []any:
		for _, e := range v {
			if !tell(e, path+"[].", all) {
				return false
			}
		}
		return true
	case string:
		return add(`"`, v)
	case json.Number:
		return add("0", v.String())
	case bool:
		return add(strconv.FormatBool(v)[:1], strconv.FormatBool(v))
	}
	return add("n", "null")
}

func BenchmarkRequest(b *testing.B) {
	body := []byte(`{"model":"m","messages":[` + strings.Repeat(`{"role":"user","content":[{"type":"text","text":"`+strings.Repeat("some words of a prompt, \\n and more ", 40)+`"}]},`, 6000) + `{}],"max_tokens":5}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		r := NewRequest(Target{}, "")
		_, _ = r.Write(body)
		r.Close()
	}
}

func BenchmarkStream(b *testing.B) {
	body := []byte(sse(begin) + strings.Repeat(sse(hello), 10000) + sse(delta, stop))
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		a := NewAnswer(Target{API: Anthropic}, 200, http.Header{"Content-Type": {events1}})
		_, _ = a.Write(body)
		a.Close()
	}
}
