package gitpush

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
)

// AdvertisementType is the media type of the answer that lists a server's refs, with which a push begins.
const AdvertisementType = "application/x-git-receive-pack-advertisement"

// Refused is that answer for a push that is refused: git prints reason.
func Refused(reason string) []byte {
	return append(append(line("# service=git-receive-pack\n"), "0000"...), line("ERR "+oneLine(reason)+"\n")...)
}

// NoThin is that answer as the server gives it, with the wish besides that packs build on nothing but themselves: only
// those can be judged. What is none stays as it is. The caller closes what is returned, which closes body.
func NoThin(body io.ReadCloser) io.ReadCloser {
	r := bufio.NewReaderSize(body, maxLine)
	var head []byte
	for range 3 { // the service, a flush, and the first ref, behind which is what the server can
		raw, ok := takeLine(r)
		if !ok {
			break
		}
		if ref, can, found := bytes.Cut(raw, []byte{0}); found && len(raw)+len(" no-thin") <= maxLine {
			raw = line(string(ref[4:]) + "\x00no-thin " + string(can))
		}
		head = append(head, raw...)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r), body}
}

// takeLine takes one line as it is from r, or nothing when none comes.
func takeLine(r *bufio.Reader) ([]byte, bool) {
	digits, err := r.Peek(4)
	if err != nil {
		return nil, false
	}
	n, err := strconv.ParseUint(string(digits), 16, 16)
	if err != nil || n > maxLine {
		return nil, false
	}
	raw, err := r.Peek(max(4, int(n)))
	if err != nil {
		return nil, false
	}
	raw = bytes.Clone(raw)
	_, _ = r.Discard(len(raw))
	return raw, true
}
