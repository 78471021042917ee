package gateway

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxHeld is how many handshakes may wait at once. Those beyond are completed, and judged afterwards.
const maxHeld = 512

// The marks with which the chain of hold finds what was decided.
const (
	markPassed = iota + 1
	markRefused
	markUnreachable
)

// knock is the first packet of a connection, waiting in the queue.
type knock struct {
	id       uint32 // the kernel's
	src, dst netip.AddrPort
}

// parseKnock reads one message of the kernel's. What the packet in it says comes from the sandbox.
func parseKnock(message []byte) (k knock, ok bool) {
	const head = unix.NLMSG_HDRLEN + 4
	if len(message) < head || binary.NativeEndian.Uint16(message[4:]) != queuePacket {
		return knock{}, false
	}
	length := binary.NativeEndian.Uint32(message)
	if length < head || uint64(length) > uint64(len(message)) {
		return knock{}, false
	}
	attributes, err := netlink.NewAttributeDecoder(message[head:length])
	if err != nil {
		return knock{}, false
	}
	var numbered, read bool
	for attributes.Next() {
		switch b := attributes.Bytes(); attributes.Type() {
		case attrPacketHeader:
			if numbered = len(b) >= 4; numbered {
				k.id = binary.BigEndian.Uint32(b)
			}
		case attrPayload:
			k.src, k.dst, read = parseAddresses(b)
		}
	}
	return k, numbered && read && attributes.Err() == nil
}

// parseAddresses reads where an IPv4 packet with TCP comes from and wants to go.
func parseAddresses(packet []byte) (src, dst netip.AddrPort, ok bool) {
	const shortest = 20
	if len(packet) < shortest || packet[0]>>4 != 4 || packet[9] != unix.IPPROTO_TCP {
		return src, dst, false
	}
	const fragment = 0x1fff // of which only the first says more
	length := int(packet[0]&15) * 4
	if length < shortest || len(packet) < length+4 || binary.BigEndian.Uint16(packet[6:])&fragment != 0 {
		return src, dst, false
	}
	ports := packet[length:]
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[12:16])), binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[16:20])), binary.BigEndian.Uint16(ports[2:])), true
}

// door answers the knocks that come out of the queue. Until somebody judges them it completes every handshake.
type door struct {
	queue *os.File
	judge atomic.Pointer[func(src, dst netip.AddrPort) Verdict]
	ended chan struct{} // when the queue is closed and nobody judges any more

	mu   sync.Mutex
	held map[[2]netip.AddrPort]bool
}

func newDoor(queue *os.File) *door {
	d := &door{queue: queue, ended: make(chan struct{}), held: map[[2]netip.AddrPort]bool{}}
	go d.serve()
	return d
}

// Hold implements Holder.
func (d *door) Hold(judge func(src, dst netip.AddrPort) Verdict) {
	d.judge.Store(&judge)
	<-d.ended
}

// serve reads knocks until the queue is closed.
func (d *door) serve() {
	var judging sync.WaitGroup
	defer func() {
		judging.Wait()
		close(d.ended)
	}()
	message := make([]byte, 4<<10)
	for {
		n, err := d.queue.Read(message)
		if err != nil {
			return
		}
		k, ok := parseKnock(message[:n])
		if !ok {
			if k.id != 0 { // the kernel counts from 1
				d.drop(k.id)
			}
			continue
		}
		judge := d.judge.Load()
		if judge == nil {
			d.answer(k.id, Pass)
			continue
		}
		switch known, full := d.admit(k); {
		case known: // the client sends again what is waiting
			d.drop(k.id)
		case full:
			d.answer(k.id, Pass)
		default:
			judging.Go(func() {
				d.answer(k.id, (*judge)(k.src, k.dst))
				d.release(k)
			})
		}
	}
}

// admit says whether k waits already, or too many do; else it waits from now on.
func (d *door) admit(k knock) (known, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := [2]netip.AddrPort{k.src, k.dst}
	known, full = d.held[key], len(d.held) >= maxHeld
	if !known && !full {
		d.held[key] = true
	}
	return known, full
}

func (d *door) release(k knock) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.held, [2]netip.AddrPort{k.src, k.dst})
}

// answer sends the packet through the chain again, where its mark says what becomes of it.
func (d *door) answer(id uint32, v Verdict) {
	mark := uint32(markRefused)
	switch v {
	case Pass:
		mark = markPassed
	case Unreachable:
		mark = markUnreachable
	}
	d.send(id, verdictAgain, netlink.Attribute{Type: attrMark, Data: binary.BigEndian.AppendUint32(nil, mark)})
}

func (d *door) drop(id uint32) { d.send(id, verdictDrop) }

// send fails when the queue is closed, and its packets gone with it.
func (d *door) send(id, verdict uint32, more ...netlink.Attribute) {
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, verdict), id)
	message, err := queueMessage(queueVerdict, 0, append(more, netlink.Attribute{Type: attrVerdictHeader, Data: header}))
	if err == nil {
		_, _ = d.queue.Write(message)
	}
}
