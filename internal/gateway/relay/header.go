package relay

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// kind is what a stream within the stream is.
type kind byte

const (
	kindFlow      kind = 'f'
	kindDNS       kind = 's' // DNS over TCP
	kindDatagrams kind = 'd'
)

const (
	addrSize   = 16 + 2
	headerSize = 1 + 2*addrSize
	// maxDatagram is the longest DNS message, in bytes. Real questions have at most a few hundred.
	maxDatagram = 8 << 10
	// frameSize is what stands before a datagram: its number and its length.
	frameSize = 4 + 2
)

// header is how a stream within the stream begins: what it is, where it comes from and wants to go.
type header struct {
	kind     kind
	src, dst netip.AddrPort
}

func (h header) encode() []byte {
	b := []byte{byte(h.kind)}
	for _, a := range []netip.AddrPort{h.src, h.dst} {
		address := a.Addr().As16()
		b = binary.BigEndian.AppendUint16(append(b, address[:]...), a.Port())
	}
	return b
}

func parseHeader(b [headerSize]byte) (header, error) {
	h := header{kind: kind(b[0]), src: parseAddrPort(b[1:]), dst: parseAddrPort(b[1+addrSize:])}
	switch h.kind {
	case kindFlow, kindDNS, kindDatagrams:
		return h, nil
	}
	return header{}, fmt.Errorf("unknown kind of stream %q", b[0])
}

func parseAddrPort(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])).Unmap(), binary.BigEndian.Uint16(b[16:]))
}

// datagram is a DNS message. Its number tells who asked: an answer has its question's.
type datagram struct {
	id   uint32
	data []byte
}

func (d datagram) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, d.id)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.data)))
	return append(b, d.data...)
}

// readDatagram reads the next one from r, whose buffer has room for frameSize and maxDatagram. After an error nothing
// is lost: a deadline may have passed in the middle of one.
func readDatagram(r *bufio.Reader) (datagram, error) {
	head, err := r.Peek(frameSize)
	if err != nil {
		return datagram{}, err
	}
	id, length := binary.BigEndian.Uint32(head), int(binary.BigEndian.Uint16(head[4:]))
	if length > maxDatagram {
		return datagram{}, errors.New("a datagram is too long")
	}
	whole, err := r.Peek(frameSize + length)
	if err != nil {
		return datagram{}, err
	}
	d := datagram{id, bytes.Clone(whole[frameSize:])}
	_, err = r.Discard(len(whole))
	return d, err
}

func newDatagramReader(r io.Reader) *bufio.Reader {
	return bufio.NewReaderSize(r, frameSize+maxDatagram)
}
