package main

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// capture writes down every IP packet that comes in over a link. Neighbour discovery and group membership are the
// link's own.
func capture(index int, e *events) error {
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return err
	}
	go func() {
		packet := make([]byte, 64<<10)
		for {
			n, from, err := unix.Recvfrom(fd, packet, 0)
			if err != nil {
				continue
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype != unix.PACKET_OUTGOING {
				describe(packet[:n], e)
			}
		}
	}()
	return nil
}

func describe(p []byte, e *events) {
	var proto byte
	var dst netip.Addr
	var rest []byte
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		proto, dst, rest = p[9], netip.AddrFrom4([4]byte(p[16:20])), p[min(len(p), int(p[0]&15)*4):]
	case len(p) >= 40 && p[0]>>4 == 6:
		proto, dst, rest = p[6], netip.AddrFrom16([16]byte(p[24:40])), p[40:]
	default:
		return
	}
	const tcp, udp, icmp6, hopByHop, igmp = 6, 17, 58, 0, 2
	switch {
	case proto == tcp && len(rest) >= 20:
		port := binary.BigEndian.Uint16(rest[2:])
		e.add("packet tcp %s %s", netip.AddrPortFrom(dst, port), head(rest[min(len(rest), int(rest[12]>>4)*4):]))
	case proto == udp && len(rest) >= 8:
		e.add("packet udp %s %s", netip.AddrPortFrom(dst, binary.BigEndian.Uint16(rest[2:])), head(rest[8:]))
	case proto == hopByHop, proto == igmp, proto == icmp6 && len(rest) > 0 && rest[0] >= 130 && rest[0] <= 143:
	default:
		e.add("packet %d %s %s", proto, dst, head(rest))
	}
}

func head(b []byte) string { return string(b[:min(len(b), 400)]) }
