package egress

import (
	"encoding/binary"
	"fmt"

	"github.com/bailey-sandbox/bailey/internal/egress/framing"
)

// Types of HTTP/2's frames, and the length of their heads (RFC 9113, sections 4.1, 6.4 and 6.8).
const (
	http2Head   = 9
	http2Reset  = 3
	http2GoAway = 7
)

// answers reads the frames that net/http's HTTP/2 server writes, for those by which it refuses what it shows to no
// handler: fields, lengths and compression that are no request's. The server has no hook for them.
type answers struct {
	frame []byte // the head and, where it tells why, the first bytes of the payload
	skip  int    // bytes left of a payload that tells nothing
}

// write looks through what is written next, and calls malformed for each refusal, with its reason.
func (a *answers) write(b []byte, malformed func(error)) {
	for len(b) > 0 {
		n := min(a.skip, len(b))
		a.skip, b = a.skip-n, b[n:]
		n = min(a.want()-len(a.frame), len(b))
		a.frame, b = append(a.frame, b[:n]...), b[n:]
		if len(a.frame) < a.want() { // which a whole head may have raised
			continue
		}
		if end := a.codeEnd(); end > 0 {
			if name := malformedCode(binary.BigEndian.Uint32(a.frame[http2Head+end-4:])); name != "" {
				malformed(fmt.Errorf("%w: what came is not HTTP/2 (%s)", framing.ErrMalformed, name))
			}
		}
		a.skip = a.length() - a.codeEnd()
		a.frame = a.frame[:0]
	}
}

// want is how many bytes of the frame have to be there before more can be told of it.
func (a *answers) want() int {
	if len(a.frame) < http2Head {
		return http2Head
	}
	return http2Head + a.codeEnd()
}

// length is the payload's.
func (a *answers) length() int {
	return int(a.frame[0])<<16 | int(a.frame[1])<<8 | int(a.frame[2])
}

// codeEnd is where in the payload the frame's error code ends; 0 is a frame without one.
func (a *answers) codeEnd() int {
	switch {
	case a.frame[3] == http2Reset && a.length() == 4:
		return 4
	case a.frame[3] == http2GoAway && a.length() >= 8:
		return 8 // behind the last stream's number
	}
	return 0
}

// malformedCode names the error codes (RFC 9113, section 7) that blame what the client sent; the others are "".
func malformedCode(code uint32) string {
	switch code {
	case 1:
		return "PROTOCOL_ERROR"
	case 3:
		return "FLOW_CONTROL_ERROR"
	case 6:
		return "FRAME_SIZE_ERROR"
	case 9:
		return "COMPRESSION_ERROR"
	}
	return ""
}
