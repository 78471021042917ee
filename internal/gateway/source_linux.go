package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/net/ipv4"
)

// Open makes a Source of the sockets that Build returned, in any process: they stay in the gateway's
// namespace. It takes the files over and closes them.
func Open(files []*os.File) (Source, error) {
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(files) != 3 {
		return nil, fmt.Errorf("gateway: %d sockets instead of 3", len(files))
	}
	flows, err := net.FileListener(files[0])
	if err != nil {
		return nil, err
	}
	dnsTCP, err := net.FileListener(files[1])
	if err != nil {
		flows.Close()
		return nil, err
	}
	udp, err := net.FilePacketConn(files[2])
	if err != nil {
		flows.Close()
		dnsTCP.Close()
		return nil, err
	}
	packets := &datagrams{PacketConn: udp, ip: ipv4.NewPacketConn(udp)}
	if err := packets.ip.SetControlMessage(ipv4.FlagDst, true); err != nil {
		flows.Close()
		dnsTCP.Close()
		udp.Close()
		return nil, err
	}
	return &transparent{flows: flows, dnsTCP: dnsTCP, dnsUDP: packets}, nil
}

// transparent is a Source of TPROXY sockets: a connection's local address is where the sandbox wanted to go.
type transparent struct {
	flows  net.Listener
	dnsTCP net.Listener
	dnsUDP *datagrams
	close  sync.Once
}

func (t *transparent) Accept() (Flow, error) {
	conn, err := t.flows.Accept()
	if err != nil {
		return Flow{}, err
	}
	dst, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		conn.Close()
		return Flow{}, err
	}
	return Flow{Conn: conn, Dst: dst}, nil
}

func (t *transparent) DNS() (net.PacketConn, net.Listener) { return t.dnsUDP, t.dnsTCP }

func (t *transparent) Close() error {
	t.close.Do(func() {
		t.flows.Close()
		t.dnsTCP.Close()
		t.dnsUDP.Close()
	})
	return nil
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
