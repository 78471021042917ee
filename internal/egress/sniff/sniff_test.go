package sniff

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestFirst(t *testing.T) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	tests := []struct {
		bytes string
		want  Protocol
		more  bool
	}{
		{"", Other, true},
		{"\x16", Other, true},
		{"\x16\x03", TLS, false},
		{"\x16\x02", Other, false},
		{"GET / HTTP/1.1\r\n", HTTP1, false},
		{"GET / HTTP/1.1\n", HTTP1, false}, // refused where requests are checked, which says why
		{"GET http://a.test/ HTTP/1.0\r\nHost: a.test\r\n", HTTP1, false},
		{"M-SEARCH * HTTP/1.1\r\n", HTTP1, false},
		{"GE", Other, true},
		{"GET /", Other, true},
		{"GET / HTTP/1.1", Other, true},
		{"GET / HTTP/1.1\r", Other, true},
		{"GET /\r\n", Other, false}, // HTTP/0.9
		{"GET / HTTP/2.0\r\n", Other, false},
		{" GET / HTTP/1.1\r\n", Other, false},
		{"\r\nGET / HTTP/1.1\r\n", Other, false},
		{"G\x00T / HTTP/1.1\r\n", Other, false},
		{"GET /\x00 HTTP/1.1\r\n", Other, false},
		{strings.Repeat("A", 33), Other, false},
		{"GET /" + strings.Repeat("a", MaxFirst), Other, false},
		{preface, HTTP2, false},
		{preface[:5], Other, true},
		{preface[:20], Other, true},
		{"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Other, false},
		{"SSH-2.0-OpenSSH_9.2\r\n", Other, false},
		{"\x00\x00\x00\x08\x04\xd2\x16\x2f", Other, false}, // PostgreSQL's SSLRequest
		{"*1\r\n$4\r\nPING\r\n", Other, false},
		{"PING\r\n", Other, false},
		{"SET a b\r\n", Other, false},
		{"EHLO a.test\r\n", Other, false},
	}
	for _, tt := range tests {
		if got, more := First([]byte(tt.bytes)); got != tt.want || more != tt.more {
			t.Errorf("First(%.40q) = %v, %v; want %v, %v", tt.bytes, got, more, tt.want, tt.more)
		}
	}
}

// hello is what Go's client sends.
func hello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	config.InsecureSkipVerify = true
	var sent bytes.Buffer
	_ = tls.Client(recorder{oneWay{strings.NewReader("")}, &sent}, config).Handshake()
	return sent.Bytes()
}

// smallest is the shortest hello with a name, the same every time: seeds of a fuzz target must be.
func smallest(name string) []byte {
	sized := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	names := sized(append([]byte{0}, sized([]byte(name))...))
	body := append([]byte{3, 3}, make([]byte, 33)...) // version, random, no session
	body = append(body, 0, 2, 0x13, 1, 1, 0)          // one cipher suite, no compression
	body = append(body, sized(append([]byte{0, 0}, sized(names)...))...)
	message := append([]byte{1, 0}, sized(body)...)
	return append([]byte{22, 3, 1}, sized(message)...)
}

// recorder keeps what is written and has nothing to read.
type recorder struct {
	oneWay
	sent *bytes.Buffer
}

func (r recorder) Write(b []byte) (int, error) { return r.sent.Write(b) }

// echConfig is a list of one configuration (RFC 9849 section 4) for the public name outer.test.
func echConfig(t *testing.T) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sized := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	contents := append([]byte{1}, 0, 0x20) // its id, X25519
	contents = append(contents, sized(key.PublicKey().Bytes())...)
	contents = append(contents, sized([]byte{0, 1, 0, 1})...) // HKDF-SHA256, AES-128-GCM
	contents = append(contents, 32, byte(len("outer.test")))
	contents = append(contents, "outer.test\x00\x00"...) // and no extensions
	config := append([]byte{0xfe, 0x0d}, sized(contents)...)
	return sized(config)
}

// split cuts the handshake message in b, one record, into records of at most n bytes.
func split(b []byte, n int) []byte {
	var out []byte
	for chunk := range slices.Chunk(b[5:], n) {
		out = append(out, b[:3]...)
		out = binary.BigEndian.AppendUint16(out, uint16(len(chunk)))
		out = append(out, chunk...)
	}
	return out
}

func TestReadHello(t *testing.T) {
	plain := hello(t, &tls.Config{ServerName: "good.test", NextProtos: []string{"h2", "http/1.1"}})
	want := Hello{ServerName: "good.test", ALPN: []string{"h2", "http/1.1"}}
	same := func(a, b Hello) bool {
		return a.ServerName == b.ServerName && slices.Equal(a.ALPN, b.ALPN) && a.ECH == b.ECH
	}
	for name, b := range map[string][]byte{"whole": plain, "in records of 100 bytes": split(plain, 100), "with more behind it": append(slices.Clone(plain), "more"...)} {
		if got, err := ReadHello(bytes.NewReader(b)); err != nil || !same(got, want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := ReadHello(bytes.NewReader(hello(t, &tls.Config{}))); err != nil || !same(got, Hello{}) {
		t.Errorf("without a name: %+v, %v", got, err)
	}
	for n := range len(plain) {
		if _, err := ReadHello(bytes.NewReader(plain[:n])); err == nil {
			t.Fatalf("%d of %d bytes are a whole hello", n, len(plain))
		}
	}
	huge := make([]string, 400)
	for i := range huge {
		huge[i] = strings.Repeat("p", 100)
	}
	if _, err := ReadHello(bytes.NewReader(split(hello(t, &tls.Config{ServerName: "good.test", NextProtos: huge}), 16<<10))); err == nil {
		t.Error("a hello of 40 KB is read")
	}
	for name, b := range map[string]string{"HTTP": "GET / HTTP/1.1\r\n\r\n", "an alert": "\x15\x03\x01\x00\x02\x02\x28", "another message": "\x16\x03\x01\x00\x04\x02\x00\x00\x00"} {
		if got, err := ReadHello(strings.NewReader(b)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestReadHelloSeesECH(t *testing.T) {
	got, err := ReadHello(bytes.NewReader(hello(t, &tls.Config{ServerName: "inner.test", MinVersion: tls.VersionTLS13,
		EncryptedClientHelloConfigList: echConfig(t)})))
	if err != nil || !got.ECH || got.ServerName != "outer.test" {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzFirst: the answer stays the same when more bytes follow, unless it was "more".
func FuzzFirst(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01", "PING\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, more := First(b)
		if more && (p != Other || len(b) >= MaxFirst) {
			t.Fatalf("%v and more, of %d bytes", p, len(b))
		}
		if got, _ := First(append(slices.Clone(b), "x\r\n"...)); !more && got != p && len(b) < MaxFirst {
			t.Fatalf("%q is %v and with more bytes %v", b, p, got)
		}
	})
}

// FuzzReadHello: what is read is read again the same, however it is cut into reads, and nothing behind the
// limit is touched.
func FuzzReadHello(f *testing.F) {
	f.Add(smallest("good.test"))
	f.Add(split(smallest("good.test"), 20))
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := bytes.NewReader(b)
		a, errA := ReadHello(whole)
		c, errC := ReadHello(bytesOneByOne{bytes.NewReader(b)})
		if (errA == nil) != (errC == nil) || a.ServerName != c.ServerName || !slices.Equal(a.ALPN, c.ALPN) || a.ECH != c.ECH {
			t.Fatalf("%+v, %v; byte by byte %+v, %v", a, errA, c, errC)
		}
		if read := len(b) - whole.Len(); read > MaxHello {
			t.Fatalf("%d bytes were read", read)
		}
	})
}

type bytesOneByOne struct{ io.Reader }

func (r bytesOneByOne) Read(b []byte) (int, error) { return r.Reader.Read(b[:min(1, len(b))]) }
