package guest

import "encoding/binary"

const (
	ringMax    = 1 << 20 // bytes of a session's output that are kept, headers included
	ringMin    = 4 << 10
	frameHead  = 3       // the stream, and the length in two bytes
	frameLimit = 1 << 15 // bytes in one frame
)

// ring keeps the last output of a session as frames, so that stdout and stderr stay apart and in order.
// Positions count all bytes ever pushed, and always lie between two frames. It has no lock.
type ring struct {
	buf        []byte // grows up to ringMax
	start, end int64
}

// push appends p, at most frameLimit bytes, and forgets the oldest frames that are in the way.
func (r *ring) push(stream byte, p []byte) {
	need := frameHead + len(p)
	for len(r.buf) < ringMax && int(r.end-r.start)+need > len(r.buf) {
		r.resize(min(max(2*len(r.buf), ringMin), ringMax))
	}
	r.start = r.after(len(p))
	head := binary.BigEndian.AppendUint16([]byte{stream}, uint16(len(p)))
	r.write(head)
	r.write(p)
}

// after is what start would be after a push of n bytes into a ring of full size.
func (r *ring) after(n int) int64 {
	start := r.start
	for r.end-start+int64(frameHead+n) > ringMax {
		_, size := r.head(start)
		start += frameHead + int64(size)
	}
	return start
}

// read copies what follows pos into p, at least frameLimit bytes long: as much of one stream as fits. It
// returns the position behind that.
func (r *ring) read(pos int64, p []byte) (n int, stream byte, next int64) {
	pos = max(pos, r.start)
	for pos < r.end {
		s, size := r.head(pos)
		if n > 0 && s != stream || n+size > len(p) {
			break
		}
		stream = s
		r.copyOut(pos+frameHead, p[n:n+size])
		n += size
		pos += frameHead + int64(size)
	}
	return n, stream, pos
}

// trim gives back the memory that an ended session's output does not need.
func (r *ring) trim() { r.resize(int(r.end - r.start)) }

func (r *ring) head(pos int64) (stream byte, size int) {
	var h [frameHead]byte
	r.copyOut(pos, h[:])
	return h[0], int(binary.BigEndian.Uint16(h[1:]))
}

func (r *ring) resize(size int) {
	kept := make([]byte, r.end-r.start)
	r.copyOut(r.start, kept)
	r.buf = make([]byte, size)
	r.end = r.start
	r.write(kept)
}

func (r *ring) write(p []byte) {
	for len(p) > 0 {
		n := copy(r.buf[r.end%int64(len(r.buf)):], p)
		r.end += int64(n)
		p = p[n:]
	}
}

func (r *ring) copyOut(pos int64, p []byte) {
	for len(p) > 0 {
		n := copy(p, r.buf[pos%int64(len(r.buf)):])
		pos += int64(n)
		p = p[n:]
	}
}
