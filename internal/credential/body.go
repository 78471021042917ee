package credential

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// maxDecoded is how much of one compressed body is looked through, in bytes. More is refused: it would be a way to
// hide something behind it, or to keep us busy.
const maxDecoded = 1 << 30

// scanBody lets r's body be looked through while it is sent.
func (x *Exchange) scanBody(r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody || x.k.inside == nil && x.k.cfg.Memory.lookout() == nil {
		return
	}
	r.Body = &scannedBody{ReadCloser: r.Body, r: r, scan: x.newScan(), coding: strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))}
}

// scan looks through a stream that goes to a target.
type scan struct {
	x      *Exchange
	real   *lookout
	quotes bool // the target may have placeholders in texts
	told   bool // of a canary among them
	plain  view
	other  view // of what is unescaped
	u      unescaper
	text   []byte
}

func (x *Exchange) newScan() *scan {
	return &scan{x: x, real: x.k.cfg.Memory.lookout(), quotes: x.k.model(x.target)}
}

// view is where the two matchers are in a stream.
type view struct{ inside, real int32 }

// write refuses when p, after all before it, completes something that must not go on.
func (s *scan) write(p []byte) *Refusal {
	before := s.plain
	if refusal := s.look(&s.plain, p); refusal != nil {
		return refusal
	}
	if before == s.other && !s.u.changes(p) {
		s.other = s.plain
		return nil
	}
	s.text = s.u.write(s.text[:0], p)
	return s.look(&s.other, s.text)
}

func (s *scan) look(v *view, p []byte) *Refusal {
	const where = "the body"
	x := s.x
	if s.real != nil {
		state, found, _ := s.real.m.find(v.real, p)
		v.real = state
		if found >= 0 {
			return x.k.leaked(s.real.secret[found], x.target, where)
		}
	}
	for x.k.inside != nil {
		state, found, end := x.k.inside.find(v.inside, p)
		v.inside, p = state, p[end:]
		if found < 0 {
			break
		}
		m := x.k.means[found]
		switch {
		case m.canary && s.quotes && s.told:
		case m.canary && s.quotes:
			s.told = true
			x.k.alarm(AlarmMention, m.name, x.target, "what went to the model at %s quotes the canary %s: the agent has read it", x.target.Host, m.name)
		case m.canary || !s.quotes && !x.has(m.name):
			return x.k.misplaced(m, x.target, where)
		}
	}
	return nil
}

// has says whether the target may have that very secret. What stands for it is then only a text there.
func (x *Exchange) has(secret string) bool {
	for _, s := range x.bound {
		if s.Name == secret {
			return true
		}
	}
	return false
}

// scannedBody fails with a *Refusal before the last byte of what must not go on is sent.
type scannedBody struct {
	io.ReadCloser
	r      *http.Request
	scan   *scan
	coding string
	inner  *decoder // where the body is compressed
	begun  bool
	err    error
}

func (b *scannedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	if n > 0 && !b.begun {
		b.begun = true
		b.inner = newDecoder(b.coding, p[:n], b.scan.x)
	}
	refusal := b.scan.write(p[:n])
	if b.inner != nil {
		b.inner.write(p[:n])
	}
	if refusal == nil && errors.Is(err, io.EOF) {
		refusal = b.end()
	}
	if refusal != nil {
		b.err = refusal
		b.scan.x.refused.Store(refusal)
		return 0, refusal
	}
	return n, err
}

// end looks at what follows a body.
func (b *scannedBody) end() *Refusal {
	if b.inner != nil {
		if refusal := b.inner.end(); refusal != nil {
			return refusal
		}
	}
	for name, values := range b.r.Trailer {
		for _, value := range values {
			if refusal := b.scan.x.k.scanText(value, b.scan.x.target, "the trailer "+name); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

func (b *scannedBody) Close() error {
	if b.inner != nil {
		b.inner.close()
	}
	return b.ReadCloser.Close()
}

// decoder looks through what a compressed body holds, in a goroutine of its own that ends with end or close.
type decoder struct {
	w       *io.PipeWriter
	done    chan struct{}
	once    sync.Once
	refusal *Refusal // read after done
}

// newDecoder is nil where neither the coding that the request names nor the first bytes say that it is compressed.
func newDecoder(coding string, first []byte, x *Exchange) *decoder {
	var open func(io.Reader) (io.ReadCloser, error)
	switch {
	case coding == "gzip" || coding == "x-gzip" || len(first) > 1 && first[0] == 0x1f && first[1] == 0x8b:
		open = func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }
	case coding == "deflate":
		open = zlib.NewReader
	default:
		return nil
	}
	r, w := io.Pipe()
	d := &decoder{w: w, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.refusal = x.newScan().through(r, open)
		// What cannot be decoded, or follows the end, means nothing to the server either: it is let through unseen.
		_, _ = io.Copy(io.Discard, r)
	}()
	return d
}

// through looks through what open makes of r.
func (s *scan) through(r *io.PipeReader, open func(io.Reader) (io.ReadCloser, error)) *Refusal {
	plain, err := open(r)
	if err != nil {
		return nil
	}
	buffer := make([]byte, 32<<10)
	for total := 0; ; {
		n, err := plain.Read(buffer)
		total += n
		if refusal := s.write(buffer[:n]); refusal != nil {
			return refusal
		}
		if total > maxDecoded {
			return &Refusal{Reason: "the body holds more than can be looked through for secrets"}
		}
		if err != nil {
			return nil
		}
	}
}

// write gives p to the goroutine, which has looked at it when end returns.
func (d *decoder) write(p []byte) { _, _ = d.w.Write(p) }

// end returns the refusal, if there is one.
func (d *decoder) end() *Refusal {
	d.close()
	<-d.done
	return d.refusal
}

func (d *decoder) close() { d.once.Do(func() { _ = d.w.Close() }) }
