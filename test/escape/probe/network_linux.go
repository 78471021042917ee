package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netTimeout bounds one exchange: whatever is refused is refused at once.
const netTimeout = 3 * time.Second

// send NETWORK ADDRESS TEXT... connects, sends each text (as Go would quote it) and prints what comes back within the
// time. The network is one of package net's, or tls:NAME[,PROTOCOL], which accepts any certificate.
func send(args []string) error {
	conn, err := dialAny(args[0], args[1])
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(netTimeout))
	for _, text := range args[2:] {
		b, err := strconv.Unquote(`"` + text + `"`)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(conn, b); err != nil {
			return err
		}
	}
	_, err = io.Copy(os.Stdout, io.LimitReader(conn, 16<<10))
	fmt.Println()
	return errors.Join(errAsked, err)
}

func dialAny(network, address string) (net.Conn, error) {
	name, encrypted := strings.CutPrefix(network, "tls:")
	if !encrypted {
		return net.DialTimeout(network, address, netTimeout)
	}
	name, protocol, found := strings.Cut(name, ",")
	config := &tls.Config{ServerName: name, InsecureSkipVerify: true}
	if found {
		config.NextProtos = []string{protocol}
	}
	return tls.DialWithDialer(&net.Dialer{Timeout: netTimeout}, "tcp", address, config)
}

// repeat COUNT NETWORK ADDRESS BEFORE UNIT AFTER is send with a text of many units.
func repeat(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return send([]string{args[1], args[2], args[3], strings.Repeat(args[4], n), args[5]})
}

// lookup SERVER TYPE LABEL... asks a name server for a name of those labels, which may hold any byte, over UDP and TCP.
func lookup(args []string) error {
	question := []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, label := range args[2:] {
		b, err := strconv.Unquote(`"` + label + `"`)
		if err != nil {
			return err
		}
		question = append(append(question, byte(len(b))), b...)
	}
	kind, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	question = append(binary.BigEndian.AppendUint16(append(question, 0), uint16(kind)), 0, 1)
	var errs []error
	for _, network := range []string{"udp", "tcp"} {
		conn, err := net.DialTimeout(network, args[0], netTimeout)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(netTimeout))
		message := question
		if network == "tcp" {
			message = append(binary.BigEndian.AppendUint16(nil, uint16(len(question))), question...)
		}
		_, _ = conn.Write(message)
		answer := make([]byte, 4096)
		n, err := conn.Read(answer)
		conn.Close()
		fmt.Printf("%s answers %q\n", network, answer[:n])
		errs = append(errs, err)
	}
	return errors.Join(append(errs, errAsked)...)
}

// packets ADDRESS sends what is neither TCP nor UDP: echo requests, by ping socket and raw, and other protocols.
func packets(args []string) error {
	ip := net.ParseIP(args[0])
	to := unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte(ip.To4())})
	echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
	var errs []error
	for _, s := range []struct {
		kind, protocol int
		bytes          []byte
	}{
		{unix.SOCK_DGRAM, unix.IPPROTO_ICMP, echo}, {unix.SOCK_RAW, unix.IPPROTO_ICMP, echo}, {unix.SOCK_RAW, unix.IPPROTO_RAW, nil},
		{unix.SOCK_RAW, unix.IPPROTO_SCTP, []byte("SCTP")}, {unix.SOCK_RAW, unix.IPPROTO_GRE, []byte("GRE!")}, {unix.SOCK_RAW, 253, []byte("OWN!")},
		{unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP, []byte("SCTP")}, {unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, []byte("LITE")},
	} {
		fd, err := unix.Socket(unix.AF_INET, s.kind|unix.SOCK_CLOEXEC, s.protocol)
		if err == nil {
			if s.bytes == nil {
				s.bytes = append([]byte{0x45, 0, 0, 24, 0, 0, 0, 0, 64, 254, 0, 0, 0, 0, 0, 0}, append(ip.To4(), "RAW!"...)...)
			}
			err = unix.Sendto(fd, s.bytes, 0, to)
			unix.Close(fd)
		}
		errs = append(errs, err)
	}
	return anyOf(errs...)
}

// rewire ADDRESS looks for a road of its own: routes, addresses, another interface, the one that there is.
func rewire(args []string) error {
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	links, _ := netlink.LinkList()
	for _, l := range links {
		_, own, _ := net.ParseCIDR(args[0] + "/32")
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("45.90.28.7"), Mask: net.CIDRMask(24, 32)}}
		try(netlink.AddrAdd(l, addr))
		try(netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: all, Scope: unix.RT_SCOPE_LINK}))
		try(netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: own, Scope: unix.RT_SCOPE_LINK}))
		try(netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 0, 9}))
		try(netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: net.ParseIP("198.18.0.1"), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 8}, State: netlink.NUD_PERMANENT}))
		try(netlink.LinkSetDown(l))
		try(netlink.LinkDel(l))
	}
	try(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "road0"}, PeerName: "road1"}))
	try(netlink.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "road2"}}))
	return anyOf(errs...)
}

// stall COUNT NETWORK ADDRESS TEXT opens many connections, sends the beginning of something on each, says HOLDING and
// holds them until its input ends.
func stall(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	text, err := strconv.Unquote(`"` + args[3] + `"`)
	if err != nil {
		return err
	}
	held := 0
	for range n {
		conn, err := dialAny(args[1], args[2])
		if err != nil {
			break
		}
		defer conn.Close()
		if _, err := io.Copy(conn, bytes.NewReader([]byte(text))); err == nil {
			held++
		}
	}
	fmt.Println("HOLDING", held)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return errAsked
}

// half ADDRESS MEGABYTES uploads, ends its own side, and reads the answer that comes only then.
func half(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", args[0], netTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		for range n {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	greeting := make([]byte, len("WORLD\r\n"))
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return err
	}
	got := 0
	buffer := make([]byte, len(block))
	for range n {
		m, err := io.ReadFull(conn, buffer)
		if err != nil || !bytes.Equal(buffer, block) {
			return fmt.Errorf("after %d bytes: %d more, %w", got, m, err)
		}
		got += m
	}
	if extra, err := conn.Read(buffer); err != io.EOF {
		return fmt.Errorf("behind the end: %d bytes, %w", extra, err)
	}
	fmt.Println("WHOLE", got)
	return errAsked
}
