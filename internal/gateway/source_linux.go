package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Open makes a Source of the sockets that Build returned, in any process: they stay in the gateway's
// namespace. It takes the files over. The Source is a Holder when there is a queue among them, whose kernel
// obeys only the user that owns the sandbox's user namespace, and root.
func Open(files []*os.File) (Source, error) {
	defer closeAll(files)
	if len(files) != 3 && len(files) != 4 {
		return nil, fmt.Errorf("gateway: %d sockets instead of 3 or 4", len(files))
	}
	src, err := open(files[0], files[1], files[2])
	if err != nil {
		return nil, err
	}
	if len(files) == 3 {
		return src, nil
	}
	queue, err := pollable(files[3])
	if err != nil {
		src.Close()
		return nil, err
	}
	return &holding{src, newDoor(queue)}, nil
}

// pollable is f as a file whose reads end when it is closed: passing a file on makes it block.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func open(flows, dnsTCP, dnsUDP *os.File) (*sockets, error) {
	transparent, err := unix.GetsockoptInt(int(flows.Fd()), unix.SOL_IP, unix.IP_TRANSPARENT)
	if err != nil {
		return nil, err
	}
	s := &sockets{redirected: transparent == 0}
	if s.flows, err = net.FileListener(flows); err != nil {
		return nil, err
	}
	if s.dnsTCP, err = net.FileListener(dnsTCP); err != nil {
		s.flows.Close()
		return nil, err
	}
	udp, err := net.FilePacketConn(dnsUDP)
	if err != nil {
		s.flows.Close()
		s.dnsTCP.Close()
		return nil, err
	}
	s.dnsUDP = &datagrams{PacketConn: udp, ip: ipv4.NewPacketConn(udp)}
	if err := s.dnsUDP.ip.SetControlMessage(ipv4.FlagDst, true); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// sockets is a Source of the kernel's own connections.
type sockets struct {
	flows      net.Listener
	redirected bool
	dnsTCP     net.Listener
	dnsUDP     *datagrams
	close      sync.Once
}

func (s *sockets) Accept() (Flow, error) {
	for {
		conn, err := s.flows.Accept()
		if err != nil {
			return Flow{}, err
		}
		dst, err := s.destination(conn)
		if err == nil {
			return Flow{Conn: conn, Dst: dst}, nil
		}
		conn.Close() // reset by the sandbox, or unknown: either way nobody can judge it
	}
}

// destination is where the sandbox wanted to go: TPROXY leaves it the connection's local address.
func (s *sockets) destination(conn net.Conn) (netip.AddrPort, error) {
	if s.redirected {
		return originalDestination(conn.(*net.TCPConn))
	}
	return netip.ParseAddrPort(conn.LocalAddr().String())
}

// originalDestination asks connection tracking.
func originalDestination(conn *net.TCPConn) (dst netip.AddrPort, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return dst, err
	}
	var address *unix.IPv6Mreq // whose getter's buffer is large enough for a sockaddr_in
	if e := raw.Control(func(fd uintptr) {
		address, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst)
	}); e != nil || err != nil {
		return dst, errors.Join(e, err)
	}
	b := address.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])), nil
}

// soOriginalDst is SO_ORIGINAL_DST (linux/netfilter_ipv4.h).
const soOriginalDst = 80

func (s *sockets) DNS() (net.PacketConn, net.Listener) { return s.dnsUDP, s.dnsTCP }

func (s *sockets) Close() error {
	s.close.Do(func() {
		s.flows.Close()
		s.dnsTCP.Close()
		s.dnsUDP.Close()
	})
	return nil
}

// holding is sockets whose connections knock first.
type holding struct {
	*sockets
	*door
}

func (h *holding) Close() error {
	_ = h.queue.Close()
	return h.sockets.Close()
}

// datagrams answers each question from the address that it was sent to: resolvers drop an answer that
// comes from elsewhere.
type datagrams struct {
	net.PacketConn
	ip *ipv4.PacketConn
}

// asker is the address of a question: who asked, and whom.
type asker struct {
	net.Addr
	server net.IP
}

func (d *datagrams) ReadFrom(b []byte) (int, net.Addr, error) {
	n, control, from, err := d.ip.ReadFrom(b)
	if err != nil {
		return n, from, err
	}
	a := asker{Addr: from}
	if control != nil {
		a.server = control.Dst
	}
	return n, a, nil
}

func (d *datagrams) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(asker)
	if !ok {
		return 0, fmt.Errorf("gateway: %v did not ask", to)
	}
	return d.ip.WriteTo(b, &ipv4.ControlMessage{Src: a.server}, a.Addr)
}
