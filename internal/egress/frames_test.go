package egress

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const dnsA = dns.TypeA

// frames speaks HTTP/2 as no client does.
type frames struct {
	*http2.Framer
	t       testing.TB
	encoder *hpack.Encoder
	block   bytes.Buffer
}

// newFrames begins HTTP/2 on conn.
func newFrames(t testing.TB, conn net.Conn) *frames {
	t.Helper()
	f := &frames{Framer: http2.NewFramer(conn, conn), t: t}
	f.encoder = hpack.NewEncoder(&f.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// head is the head of a GET of https://good.test/, with those fields: pseudo-fields replace, others come behind.
func (f *frames) head(fields ...string) []byte {
	f.block.Reset()
	pseudo := []string{":method", "GET", ":scheme", "https", ":authority", "good.test", ":path", "/"}
	var rest []string
	for i := 0; i < len(fields); i += 2 {
		if at := slices.Index(pseudo, fields[i]); at >= 0 {
			pseudo[at+1] = fields[i+1]
		} else {
			rest = append(rest, fields[i:i+2]...)
		}
	}
	for all := append(pseudo, rest...); len(all) > 0; all = all[2:] {
		_ = f.encoder.WriteField(hpack.HeaderField{Name: all[0], Value: all[1]})
	}
	return f.block.Bytes()
}

func (f *frames) request(id uint32, fields ...string) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.head(fields...), EndStream: true, EndHeaders: true})
}

// until reads until a frame of that type comes.
func (f *frames) until(want http2.FrameType) http2.Frame {
	f.t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			f.t.Fatalf("no %v frame: %v", want, err)
		}
		if frame.Header().Type == want {
			return frame
		}
	}
}

// statusOf reads an answer's status.
func statusOf(h *http2.HeadersFrame) string {
	status := ""
	d := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			status = f.Value
		}
	})
	_, _ = d.Write(h.HeaderBlockFragment())
	return status
}
