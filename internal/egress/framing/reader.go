// Package framing holds HTTP/1 requests to one reading. net/http's server accepts what other servers read
// differently: both lengths at once, lines that end in a bare LF, folded headers, a target that overrides
// Host. A Reader stands in front of it and lets pass, unchanged, only requests whose beginning and end are
// beyond doubt (RFC 9112). It judges no content.
package framing

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// Limits in bytes. The first is one head or trailer, the second what nearly all heads are shorter than, the third one
// line that introduces a chunk.
const (
	MaxHead      = 64 << 10
	shortHead    = 8 << 10
	maxChunkLine = 18 // sixteen digits and CRLF
)

// maxLong is how many heads of one Budget may be longer than shortHead at one time, before they have come to their
// end: 8 MiB. A head is on its way for moments, unless somebody holds it back.
const maxLong = 128

// Budget bounds what Readers that share it hold of heads. The zero Budget is whole.
type Budget struct{ long atomic.Int64 }

// ErrMalformed is what Read's errors about the sandbox's requests wrap.
var ErrMalformed = errors.New("malformed request")

// Reader passes the requests of one connection on as they come. Bodies are not gathered. After an error
// that wraps ErrMalformed nothing passes any more. One goroutine at a time may read.
type Reader struct {
	in   *bufio.Reader
	next func(*Reader) error // reads the next part that has to be checked; nil within data
	data int64               // bytes of a body that may pass unchecked
	line []byte              // a head or line that has begun, but whose end has not come yet
	out  []byte              // checked, and not read yet
	then func(*Reader) error // what comes behind data
	err  error
	raw  atomic.Bool

	budget       *Budget
	long, closed atomic.Bool // line is in the budget; it is not any more
}

// NewReader returns a Reader of the requests in r. What is taken out of budget is given back by Close.
func NewReader(r io.Reader, budget *Budget) *Reader {
	return &Reader{in: bufio.NewReader(r), next: (*Reader).readHead, budget: budget}
}

// Close may be called beside a Read. It does not close what is read from.
func (r *Reader) Close() {
	r.closed.Store(true)
	r.release()
}

// hold takes a line that has become long out of the budget.
func (r *Reader) hold() error {
	if len(r.line) <= shortHead || r.long.Load() {
		return nil
	}
	if r.budget.long.Add(1) > maxLong {
		r.budget.long.Add(-1)
		return malformed("there are %d long heads already that have not ended", maxLong)
	}
	r.long.Store(true)
	if r.closed.Load() {
		r.release()
	}
	return nil
}

func (r *Reader) release() {
	if r.long.CompareAndSwap(true, false) {
		r.budget.long.Add(-1)
	}
}

// ReadConnect reads the head of a CONNECT request and returns its authority, as it was sent, and what was read behind
// the head.
func ReadConnect(r io.Reader, budget *Budget) (authority string, rest []byte, err error) {
	reader := NewReader(r, budget)
	defer reader.Close()
	if err := reader.readBlock(); err != nil {
		return "", nil, err
	}
	head, err := parseHead(reader.line)
	if err != nil {
		return "", nil, err
	}
	if head.authority == "" {
		return "", nil, malformed("it is not a CONNECT")
	}
	rest, _ = reader.in.Peek(reader.in.Buffered())
	return head.authority, rest, nil
}

// Raw lets everything pass from now on: the connection has been upgraded to another protocol. It may be called
// beside a Read.
func (r *Reader) Raw() { r.raw.Store(true) }

// Read returns bytes of requests that are well-formed so far. An error of the connection itself, such as
// an expired deadline, loses nothing.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.out) == 0 {
		switch {
		case r.err != nil:
			return 0, r.err
		case r.raw.Load() && len(r.line) > 0:
			r.pass(nil)
			continue
		case r.raw.Load():
			return r.in.Read(p)
		case r.data > 0:
			n, err := r.in.Read(p[:min(int64(len(p)), r.data)])
			if r.data -= int64(n); r.data == 0 {
				r.next = r.then
			}
			return n, err
		}
		if err := r.next(r); err != nil {
			if errors.Is(err, ErrMalformed) {
				r.err = err
			}
			return 0, err
		}
	}
	n := copy(p, r.out)
	if r.out = r.out[n:]; len(r.out) == 0 {
		r.out = nil
	}
	return n, nil
}

// readHead reads and checks everything before a body.
func (r *Reader) readHead() error {
	if err := r.readBlock(); err != nil {
		return err
	}
	head, err := parseHead(r.line)
	if err != nil {
		return err
	}
	switch {
	case head.chunked:
		r.pass((*Reader).readChunkSize)
	case head.length > 0:
		r.data, r.then = head.length, (*Reader).readHead
		r.pass(nil)
	default:
		r.pass((*Reader).readHead)
	}
	return nil
}

func (r *Reader) readChunkSize() error {
	if err := r.readLine(maxChunkLine); err != nil {
		return err
	}
	size, err := parseChunkSize(r.line)
	if err != nil {
		return err
	}
	if size == 0 {
		r.pass((*Reader).readTrailer)
		return nil
	}
	r.data, r.then = size, (*Reader).readChunkEnd
	r.pass(nil)
	return nil
}

func (r *Reader) readChunkEnd() error {
	if err := r.readLine(len(crlf)); err != nil {
		return err
	}
	if string(r.line) != crlf {
		return malformed("a chunk does not end where it says")
	}
	r.pass((*Reader).readChunkSize)
	return nil
}

func (r *Reader) readTrailer() error {
	if err := r.readBlock(); err != nil {
		return err
	}
	if err := checkTrailer(r.line); err != nil {
		return err
	}
	r.pass((*Reader).readHead)
	return nil
}

// pass gives what was read to the caller and says what is read after it. Between requests nothing long is held.
func (r *Reader) pass(next func(*Reader) error) {
	r.out, r.line = r.line, nil
	r.release()
	r.next = next
}

// readBlock reads lines up to and including an empty one.
func (r *Reader) readBlock() error {
	for {
		start := lastLine(r.line)
		if err := r.readLine(MaxHead - start); err != nil {
			return err
		}
		if string(r.line[start:]) == crlf {
			return nil
		}
	}
}

// readLine appends to line until a line in it has ended, at most limit bytes of that one. It goes on where it
// was interrupted.
func (r *Reader) readLine(limit int) error {
	start := lastLine(r.line)
	for {
		part, err := r.in.ReadSlice('\n')
		r.line = append(r.line, part...)
		if len(r.line)-start > limit {
			return malformed("a line or the whole head is too long")
		}
		if err := r.hold(); err != nil {
			return err
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(r.line) > 0:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		default:
			return checkLineEnd(r.line[start:])
		}
	}
}

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
}
