package credential

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// echoes looks for every real value that has gone out, where the target has a secret. It is nil where there is none.
func (x *Exchange) echoes() *lookout {
	if len(x.bound) == 0 {
		return nil
	}
	return x.k.cfg.Memory.lookout()
}

// clean takes the real values out of an answer.
func (x *Exchange) clean(answer *http.Response, e *lookout) (*http.Response, error) {
	x.cleanHeader(answer.Header, e)
	if answer.Body == nil || answer.Body == http.NoBody || bodyless(answer) {
		return answer, nil
	}
	body, decoded, err := decode(answer.Header.Get("Content-Encoding"), answer.Body)
	if err != nil {
		_ = answer.Body.Close()
		return nil, err
	}
	if decoded {
		answer.Header.Del("Content-Encoding")
		answer.Header.Del("Content-Length")
		answer.ContentLength = -1
	}
	answer.Body = &cleanBody{x: x, e: e, answer: answer, in: body, raw: answer.Body, r: replacer{m: e.m, with: e.with}}
	return answer, nil
}

// bodyless says whether nothing that answers the request follows the head (RFC 9110, section 6.4.1).
func bodyless(answer *http.Response) bool {
	head := answer.Request != nil && answer.Request.Method == http.MethodHead
	return head || answer.StatusCode < 200 || answer.StatusCode == http.StatusNoContent || answer.StatusCode == http.StatusNotModified
}

// decode reads what a server has compressed although it was asked not to.
func decode(coding string, body io.Reader) (plain io.Reader, decoded bool, err error) {
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return body, false, nil
	case "gzip", "x-gzip":
		plain, err = gzip.NewReader(body)
		return plain, true, err
	case "deflate":
		plain, err = zlib.NewReader(body)
		return plain, true, err
	}
	return nil, false, fmt.Errorf("the answer is encoded as %q, which cannot be searched for secrets, and identity was asked for", coding)
}

// cleanHeader replaces real values in place.
func (x *Exchange) cleanHeader(h http.Header, e *lookout) {
	for name, values := range h {
		for i, value := range values {
			if findText(e.m, value) < 0 {
				continue
			}
			var out bytes.Buffer
			r := replacer{m: e.m, with: e.with}
			r.write(&out, []byte(value))
			r.end(&out)
			values[i] = out.String()
			if findText(e.m, values[i]) >= 0 { // in an encoding that has no form of its own
				values[i] = "removed"
			}
			x.alarmEcho("the header " + name)
		}
	}
}

func (x *Exchange) alarmEcho(where string) {
	if !x.echoed {
		x.echoed = true
		x.k.alarm(AlarmEcho, strings.Join(x.Used(), ","), x.target, "%s sent a secret back, in %s; the sandbox got the placeholder", x.target, where)
	}
}

// cleanBody is an answer's body without real values. Nothing is held back but what may be the beginning of one.
type cleanBody struct {
	x      *Exchange
	e      *lookout
	answer *http.Response
	in     io.Reader
	raw    io.Closer
	r      replacer
	out    bytes.Buffer
	err    error
	buffer []byte
}

func (b *cleanBody) Read(p []byte) (int, error) {
	for b.out.Len() == 0 && b.err == nil {
		if b.buffer == nil {
			b.buffer = make([]byte, 32<<10)
		}
		n, err := b.in.Read(b.buffer)
		if b.r.write(&b.out, b.buffer[:n]) {
			b.x.alarmEcho("its answer")
		}
		if err != nil {
			b.err = err
			b.r.end(&b.out)
			if errors.Is(err, io.EOF) {
				b.x.cleanHeader(b.answer.Trailer, b.e)
			}
		}
	}
	if b.out.Len() > 0 {
		return b.out.Read(p)
	}
	return 0, b.err
}

func (b *cleanBody) Close() error { return b.raw.Close() }
