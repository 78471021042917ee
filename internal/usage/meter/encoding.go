package meter

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// maxDecoded bounds what one answer may be when it is decompressed, in bytes.
const maxDecoded = 64 << 20

// decoded has to take what comes out of a body in that encoding.
func decoded(encoding string, to decoder) decoder {
	var open func(io.Reader) (io.Reader, error)
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return to
	case "gzip", "x-gzip":
		open = func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case "deflate": // zlib's form by the book (RFC 9110, 8.4.1.2), and without it from some
		open = openDeflate
	case "br":
		open = func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil }
	case "zstd":
		open = func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(64<<20))
		}
	default:
		return unreadable("its encoding is not known")
	}
	c := &compressed{to: to, done: make(chan struct{})}
	c.in, c.out = io.Pipe()
	go c.run(open)
	return c
}

func openDeflate(r io.Reader) (io.Reader, error) {
	peeked := &peek{r: r}
	head, err := peeked.two()
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 { // RFC 1950, 2.2
		return zlib.NewReader(peeked)
	}
	return flate.NewReader(peeked), nil
}

// peek is a reader whose first two bytes were looked at.
type peek struct {
	r    io.Reader
	head []byte
}

func (p *peek) two() ([]byte, error) {
	p.head = make([]byte, 2)
	_, err := io.ReadFull(p.r, p.head)
	return p.head[:2:2], err
}

func (p *peek) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.r.Read(b)
}

// unreadable is a body of which nobody can read anything, and why.
type unreadable string

func (u unreadable) write([]byte) {}
func (u unreadable) end() string  { return string(u) }

// compressed decompresses. Decompressors ask for more, where a body is given: one runs beside, in step with what is
// written, until end.
type compressed struct {
	to   decoder
	in   *io.PipeReader
	out  *io.PipeWriter
	done chan struct{}
	err  error // read after done
}

func (c *compressed) run(open func(io.Reader) (io.Reader, error)) {
	defer close(c.done)
	r, err := open(c.in)
	if err == nil {
		_, err = io.Copy(sink{c.to}, io.LimitReader(r, maxDecoded))
	}
	if err == nil {
		if n, _ := r.Read(make([]byte, 1)); n > 0 {
			err = errors.New("too much")
		}
	}
	if z, ok := r.(*zstd.Decoder); ok {
		z.Close()
	}
	c.err = err
	_ = c.in.CloseWithError(io.ErrClosedPipe) // what still comes is not waited for
}

// sink makes a writer of a decoder.
type sink struct{ to decoder }

func (s sink) Write(p []byte) (int, error) {
	s.to.write(p)
	return len(p), nil
}

func (c *compressed) write(p []byte) { _, _ = c.out.Write(p) }

func (c *compressed) end() string {
	_ = c.out.Close()
	<-c.done
	why := c.to.end()
	if c.err != nil && why == "" {
		why = "its compressed form is broken off or damaged"
	}
	return why
}
