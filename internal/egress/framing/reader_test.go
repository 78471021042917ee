package framing

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

const start = "GET / HTTP/1.1\r\nHost: a.test\r\n"

// ok is requests that pass, the last of them unfinished in none.
func ok() map[string]string {
	return map[string]string{
		"plain":            start + "\r\n",
		"three in a row":   start + "\r\n" + start + "\r\n" + start + "\r\n",
		"a body":           "POST /a?b=c HTTP/1.1\r\nhOST:a.test \r\nContent-Length: 5\r\n\r\nhello" + start + "\r\n",
		"no body at all":   "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n" + start + "\r\n",
		"chunks":           "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n" + start + "\r\n",
		"a trailer":        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
		"absolute form":    "GET http://A.test:80/ HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
		"a URL in a path":  "GET /http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"a URL in a query": "GET /?u=http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"an expectation":   "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\na",
		"HTTP/1.0":         "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
		"Latin-1":          start + "X: \xe9\t.\r\n\r\n",
		"a long header":    start + "X: " + strings.Repeat("x", 60<<10) + "\r\n\r\n",
	}
}

// refused is what smuggles, or could: other programs end or address these in other ways.
func refused() map[string]string {
	post := func(fields, body string) string {
		return "POST / HTTP/1.1\r\nHost: a.test\r\n" + fields + "\r\n" + body
	}
	const chunked = "Transfer-Encoding: chunked\r\n"
	return map[string]string{
		"both lengths":                post("Content-Length: 5\r\n"+chunked, "0\r\n\r\n"),
		"two lengths":                 post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
		"the same length twice":       post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
		"a list of lengths":           post("Content-Length: 5, 5\r\n", "hello"),
		"a signed length":             post("Content-Length: +5\r\n", "hello"),
		"a negative length":           post("Content-Length: -1\r\n", ""),
		"a hexadecimal length":        post("Content-Length: 0x5\r\n", "hello"),
		"a length beyond all":         post("Content-Length: 9223372036854775808\r\n", ""),
		"an empty length":             post("Content-Length:\r\n", ""),
		"a length with a space in it": post("Content-Length: 1 0\r\n", "0123456789"),
		"another encoding":            post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
		"xchunked":                    post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
		"identity":                    post("Transfer-Encoding: identity\r\n", ""),
		"two encodings":               post(chunked+chunked, "0\r\n\r\n"),
		"a tab in the encoding":       post("Transfer-Encoding: chunked\x0b\r\n", "0\r\n\r\n"),
		"chunks in HTTP/1.0":          "POST / HTTP/1.0\r\nHost: a.test\r\n" + chunked + "\r\n0\r\n\r\n",
		"a space before the colon":    post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
		"a folded header":             post("X: a\r\n b\r\n", ""),
		"a folded first header":       "GET / HTTP/1.1\r\n X: a\r\nHost: a.test\r\n\r\n",
		"a header without a colon":    post("X\r\n", ""),
		"a header without a name":     post(": a\r\n", ""),
		"NUL in a header":             post("X: a\x00b\r\n", ""),
		"CR in a header":              post("X: a\rb\r\n", ""),
		"bare LF":                     "GET / HTTP/1.1\nHost: a.test\n\n",
		"bare LF after a header":      start + "X: a\n\r\n",
		"bare LF as the end":          start + "\n",
		"an empty first line":         "\r\n" + start + "\r\n",
		"no Host":                     "GET / HTTP/1.1\r\n\r\n",
		"an empty Host":               "GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"a user in Host":              "GET / HTTP/1.1\r\nHost: a.test@b.test\r\n\r\n",
		"an escape in Host":           "GET / HTTP/1.1\r\nHost: a.test%00.b.test\r\n\r\n",
		"Unicode in Host":             "GET / HTTP/1.1\r\nHost: \uff41.test\r\n\r\n",
		"a list of Hosts":             "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
		"no Host in HTTP/1.0":         "GET / HTTP/1.0\r\n\r\n",
		"an escape of none":           "GET /%zz?secret HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"a target that is no URL":     "GET http://[a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"another expectation":         start + "Expect: 200-ok\r\n\r\n",
		"two expectations":            start + "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
		"a trailer of the head's":     "POST / HTTP/1.1\r\nHost: a.test\r\n" + chunked + "Trailer: Content-Length\r\n\r\n0\r\n\r\n",
		"two Hosts":                   start + "Host: b.test\r\n\r\n",
		"the same Host twice":         start + "Host: a.test\r\n\r\n",
		"another host in the target":  "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"a user in the target":        "GET http://a.test@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"another port in the target":  "GET http://a.test:81/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"HTTP/0.9":                    "GET /\r\n\r\n",
		"HTTP/2":                      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/1.2":                    "GET / HTTP/1.2\r\nHost: a.test\r\n\r\n",
		"two spaces":                  "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"a tab for a space":           "GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"a space in the target":       "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"Unicode in the target":       "GET /é HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"a strange method":            "G(T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"bare LF in a chunk's size":   post(chunked, "1\na\r\n0\r\n\r\n"),
		"a chunk's extension":         post(chunked, "1;x=y\r\na\r\n0\r\n\r\n"),
		"a chunk's size with a space": post(chunked, "1 \r\na\r\n0\r\n\r\n"),
		"a hexadecimal prefix":        post(chunked, "0x1\r\na\r\n0\r\n\r\n"),
		"a negative chunk":            post(chunked, "-1\r\na\r\n0\r\n\r\n"),
		"a chunk's size of 17 digits": post(chunked, "00000000000000001\r\na\r\n0\r\n\r\n"),
		"a chunk beyond its size":     post(chunked, "1\r\nab\r\n0\r\n\r\n"),
		"a chunk that ends in LF":     post(chunked, "1\r\na\n0\r\n\r\n"),
		"a length in the trailer":     post(chunked, "0\r\nContent-Length: 5\r\n\r\n"),
		"a Host in the trailer":       post(chunked, "0\r\nHost: b.test\r\n\r\n"),
		"a folded trailer":            post(chunked, "0\r\nX: a\r\n b\r\n\r\n"),
		"a head of a megabyte":        start + "X: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"ten thousand headers":        start + strings.Repeat("X: aaaaa\r\n", 10000) + "\r\n",
		"the second of two":           start + "\r\n" + "GET / HTTP/1.1\r\n\r\n",
	}
}

func TestWellFormedRequestsPassUnchanged(t *testing.T) {
	for name, text := range ok() {
		for how, r := range map[string]io.Reader{"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)),
			"with time-outs": iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(text)))} {
			got, err := readAll(NewReader(r, new(Budget)))
			if err != nil || string(got) != text {
				t.Errorf("%s, %s: %.200q, %v", name, how, got, err)
			}
		}
	}
}

// readAll goes on after a time-out.
func readAll(r io.Reader) ([]byte, error) {
	var all []byte
	for {
		got, err := io.ReadAll(r)
		all = append(all, got...)
		if !errors.Is(err, iotest.ErrTimeout) {
			return all, err
		}
	}
}

func TestAmbiguousRequestsAreRefused(t *testing.T) {
	for name, text := range refused() {
		for how, in := range map[string]io.Reader{"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
			r := NewReader(in, new(Budget))
			got, err := io.ReadAll(r)
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %s: passed %.200q, %v", name, how, got, err)
			}
			if _, again := r.Read(make([]byte, 1)); again != err {
				t.Errorf("%s, %s: after the refusal: %v", name, how, again)
			}
		}
	}
}

// The attack works without the wall: this is what net/http's server would have made of it.
func TestNetHTTPReadsAmbiguousRequests(t *testing.T) {
	for _, name := range []string{"both lengths", "the same length twice", "bare LF", "a folded header", "another host in the target"} {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(refused()[name])))
		if err == nil {
			_, err = io.ReadAll(req.Body)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnfinishedRequestsEnd(t *testing.T) {
	for _, text := range []string{"GET", start, start + "\r", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhel"} {
		got, err := io.ReadAll(NewReader(strings.NewReader(text), new(Budget)))
		if errors.Is(err, ErrMalformed) || strings.HasSuffix(string(got), "hello") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestRawLetsPass(t *testing.T) {
	r := NewReader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(start+"\r\n\x81\x05hello"))), new(Budget))
	head := make([]byte, len(start)+2)
	for n := 0; n < len(head); {
		m, err := r.Read(head[n:])
		if n += m; err != nil && !errors.Is(err, iotest.ErrTimeout) {
			t.Fatal(err)
		}
	}
	r.Raw()
	if got, err := readAll(r); err != nil || string(got) != "\x81\x05hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzReader: what passes is the beginning of what came, and net/http reads the same requests in it as
// parseHead does.
func FuzzReader(f *testing.F) {
	for _, texts := range []map[string]string{ok(), refused()} {
		for _, text := range texts {
			if len(text) < 4096 {
				f.Add([]byte(text))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		passed, err := io.ReadAll(NewReader(bytes.NewReader(b), new(Budget)))
		if !bytes.HasPrefix(b, passed) || err == nil && len(passed) != len(b) {
			t.Fatalf("%q passes as %q, %v", b, passed, err)
		}
		rest := bufio.NewReaderSize(bytes.NewReader(passed), len(passed)+16)
		for {
			left, _ := rest.Peek(len(passed))
			end := bytes.Index(left, []byte("\r\n\r\n"))
			if end < 0 {
				return
			}
			mine, err := parseHead(left[:end+4])
			if err != nil {
				t.Fatalf("%q begins a request although %v", left, err)
			}
			req, err := http.ReadRequest(rest)
			if err != nil {
				return // refused after all
			}
			body, err := io.ReadAll(req.Body)
			if chunked := len(req.TransferEncoding) > 0; chunked != mine.chunked || !chunked && req.ContentLength != mine.length || !chunked && err == nil && int64(len(body)) != mine.length {
				t.Fatalf("%q: mine is %+v, net/http's %v %d", left, mine, req.TransferEncoding, req.ContentLength)
			}
			if err != nil {
				return
			}
		}
	})
}

func TestReadConnect(t *testing.T) {
	for text, want := range map[string]string{
		"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n":                   "a.test:443 ",
		"CONNECT A.test:443 HTTP/1.0\r\n\r\n\x16\x03\x01":                           "A.test:443 \x16\x03\x01",
		"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\nGET": "[::1]:443 GET",
	} {
		authority, rest, err := ReadConnect(strings.NewReader(text), new(Budget))
		if got := authority + " " + string(rest); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "CONNECT", start + "\r\n", "CONNECT a.test:443 HTTP/1.1\r\nHost: b.test\r\n\r\n", "CONNECT a.test:443 HTTP/1.1\r\nHost:\r\n\r\n",
		"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", "CONNECT a@b:443 HTTP/1.1\r\n\r\n", "CONNECT a.test:x HTTP/1.1\r\n\r\n",
		"CONNECT a.test:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "CONNECT a.test:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "CONNECT a.test:1 HTTP/1.1\n\n",
		"CONNECT a.test:1 HTTP/1.1\r\nX: " + strings.Repeat("x", MaxHead) + "\r\n\r\n"} {
		if authority, _, err := ReadConnect(strings.NewReader(text), new(Budget)); err == nil {
			t.Errorf("%.60q: %q", text, authority)
		}
	}
}

func FuzzReadConnect(f *testing.F) {
	f.Add([]byte("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\nrest"))
	f.Fuzz(func(t *testing.T, b []byte) {
		authority, rest, err := ReadConnect(bytes.NewReader(b), new(Budget))
		if err == nil && (!bytes.HasPrefix(b, []byte("CONNECT "+authority+" ")) || !bytes.HasSuffix(b, rest)) {
			t.Fatalf("%q is a CONNECT to %q and %q", b, authority, rest)
		}
	})
}

// held reads what it can of a head that does not end.
func held(t *testing.T, budget *Budget, size int) *Reader {
	t.Helper()
	r := NewReader(strings.NewReader((start + "X: " + strings.Repeat("x", MaxHead))[:size]), budget)
	if _, err := r.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF {
		t.Fatalf("a head that does not end: %v", err)
	}
	return r
}

func TestLongHeadsAreBounded(t *testing.T) {
	budget := new(Budget)
	long := start + "X: " + strings.Repeat("x", shortHead) + "\r\n\r\n"
	for range 2 * maxLong {
		held(t, budget, shortHead) // as many as there are connections
	}
	var readers []*Reader
	for range maxLong {
		readers = append(readers, held(t, budget, shortHead+1))
	}
	if _, err := io.ReadAll(NewReader(strings.NewReader(long), budget)); !errors.Is(err, ErrMalformed) {
		t.Errorf("one long head too many: %v", err)
	}
	if got, err := io.ReadAll(NewReader(strings.NewReader(start+"\r\n"), budget)); err != nil || string(got) != start+"\r\n" {
		t.Errorf("control: a short one: %q, %v", got, err)
	}
	readers[0].Close()
	readers[0].Close()
	for range 3 { // each is given back at its end
		if got, err := io.ReadAll(NewReader(strings.NewReader(long), budget)); err != nil || string(got) != long {
			t.Errorf("control: a long one: %d bytes, %v", len(got), err)
		}
	}
	for _, r := range readers {
		r.Close()
	}
	if n := budget.long.Load(); n != 0 {
		t.Errorf("%d are left in the budget", n)
	}
	closed := NewReader(strings.NewReader(long), budget)
	closed.Close()
	_, _ = io.ReadAll(closed)
	if n := budget.long.Load(); n != 0 {
		t.Errorf("a closed reader keeps %d", n)
	}
}
