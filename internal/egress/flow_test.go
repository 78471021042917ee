package egress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/hostname"
)

const publicAddr = "93.184.215.14"

func TestAllowedFlowPassesWholeWithHalfClose(t *testing.T) {
	l := newLab(t, "tcp:good.test:80,443").start()
	l.named("good.test", publicAddr)
	request, response := bytes.Repeat([]byte("up"), 1<<19), bytes.Repeat([]byte("down"), 1<<19)
	l.host(publicAddr+":443", func(c *net.TCPConn) {
		// Answers only after the request's end, so a lost half-close would hang here.
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, request) {
			t.Errorf("upstream got %d bytes, %v", len(got), err)
		}
		_, _ = c.Write(response)
	})
	conn := l.openName("good.test", 443)
	go func() {
		_, _ = conn.Write(request)
		_ = conn.CloseWrite()
	}()
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, response) {
		t.Errorf("inside got %d bytes, %v", len(got), err)
	}
	events := l.end()
	if len(events) != 2 {
		t.Fatalf("events: %+v", events)
	}
	open, closed := events[0], events[1]
	if open.Kind != audit.KindConnect || open.Verdict != "allow" || open.Host != "good.test" || open.Port != 443 ||
		open.Addr != publicAddr || open.Rule != "tcp:good.test:80,443" || open.Reason == "" {
		t.Errorf("connect event: %+v", open)
	}
	if closed.Kind != audit.KindClose || closed.Flow != open.Flow || closed.BytesOut != int64(len(request)) ||
		closed.BytesIn != int64(len(response)) || closed.Duration <= 0 || closed.Error != "" {
		t.Errorf("close event: %+v", closed)
	}
}

func TestUpstreamCloseLeavesTheOtherWayOpen(t *testing.T) {
	l := newLab(t, "tcp:good.test:80,443").start()
	l.named("good.test", publicAddr)
	received := make(chan string, 1)
	l.host(publicAddr+":443", func(c *net.TCPConn) {
		_, _ = c.Write([]byte("bye"))
		_ = c.CloseWrite()
		got, _ := io.ReadAll(c)
		received <- string(got)
	})
	conn := l.openName("good.test", 443)
	if got, err := io.ReadAll(conn); err != nil || string(got) != "bye" {
		t.Errorf("inside got %q, %v", got, err)
	}
	_, _ = conn.Write([]byte("still here"))
	_ = conn.Close()
	if got := <-received; got != "still here" {
		t.Errorf("upstream got %q", got)
	}
}

// Each attack is refused by a reset, before the world sees anything; each has a control that differs
// only in what makes it allowed.
func TestAttacksOnDestination(t *testing.T) {
	tests := []struct {
		name, rule string
		attack     string
		controlled string // the rule with which the same connection passes
	}{
		{"a raw address beside an allowed name", "good.test", publicAddr + ":443", publicAddr + ":443"},
		{"a raw address on another port than its rule's", publicAddr + ":22", publicAddr + ":443", publicAddr + ":443"},
		{"the neighbour of an allowed address", "93.184.215.15", publicAddr + ":443", publicAddr + ":443"},
		{"a private address", "good.test", "10.0.0.5:80", "10.0.0.5:80"},
		{"the metadata service", "good.test", "169.254.169.254:80", "169.254.169.254:80"},
		{"an address written as IPv6", "good.test", "[::ffff:10.0.0.5]:80", "10.0.0.5:80"},
		{"loopback through NAT64", "good.test", "[64:ff9b::7f00:1]:80", "[64:ff9b::7f00:1]:80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, tt.rule).start()
			l.named("good.test", publicAddr)
			dst := netip.MustParseAddrPort(tt.attack)
			l.host(netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port()).String(), echo)
			l.wantReset(l.open(dst))
			l.wantUntouched()
			l.setRules("tcp:" + tt.controlled)
			l.wantEcho(l.open(dst))
			if events := l.end(); events[0].Verdict != "deny" || events[1].Verdict != "allow" {
				t.Errorf("events: %+v", events)
			}
		})
	}
	for _, dst := range []string{"198.18.0.1:443", "198.18.0.1:81", "198.18.0.2:80", "198.18.1.0:443", "198.18.77.7:443", "198.19.255.255:443", "198.17.255.255:443", "198.20.0.0:443"} {
		t.Run("a made-up address that was never given: "+dst, func(t *testing.T) {
			l := newLab(t, "tcp:good.test:80,443").start()
			l.wantReset(l.open(netip.MustParseAddrPort(dst)))
			l.wantUntouched()
		})
	}
}

func TestPortsAreJudgedOneByOne(t *testing.T) {
	l := newLab(t, "tcp:good.test:80,443", "tcp:ssh.test:22").start()
	for _, name := range []hostname.Name{"good.test", "ssh.test"} {
		l.named(name, publicAddr)
	}
	for _, port := range []uint16{22, 25, 80, 443, 8443} {
		l.host(fmt.Sprintf("%s:%d", publicAddr, port), echo)
	}
	for name, ports := range map[string][]uint16{"good.test": {22, 25, 8443, 0, 65535}, "ssh.test": {80, 443, 25}} {
		for _, port := range ports {
			l.wantReset(l.openName(name, port))
		}
	}
	l.wantUntouched()
	l.wantEcho(l.openName("good.test", 80))
	l.wantEcho(l.openName("good.test", 443))
	l.wantEcho(l.openName("ssh.test", 22))
}

// Whoever runs an allowed name's server points it inside.
func TestAllowedNameThatLeadsInside(t *testing.T) {
	private := map[string]bool{ // true where a private rule opens it
		"127.0.0.1": true, "10.1.2.3": true, "172.16.0.1": true, "192.168.1.1": true, "100.64.0.1": true, "::1": true,
		"fd12:3456::1": true, "::ffff:127.0.0.1": true, "::ffff:10.0.0.1": true, "64:ff9b::7f00:1": true, "64:ff9b::c0a8:101": true,
		"93.184.0.99":     true, // the host's own public address
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "fd00:ec2::254": false,
		"169.254.170.2": false, "100.100.100.200": false, "168.63.129.16": false, "fe80::1": false, "169.254.1.1": false,
		"0.0.0.0": false, "::": false, "224.0.0.1": false, "255.255.255.255": false, "2002:7f00:1::": true, "2001:0:7f00:1::1": true,
		"::7f00:1": true,
	}
	for addr, opens := range private {
		t.Run(addr, func(t *testing.T) {
			l := newLab(t, "tcp:rebind.test:443").start()
			l.named("rebind.test", addr)
			unmapped := netip.MustParseAddr(addr).Unmap()
			l.host(netip.AddrPortFrom(unmapped, 443).String(), echo)
			l.wantReset(l.openName("rebind.test", 443))
			if _, dialled := l.seen(); len(dialled) > 0 {
				t.Errorf("dialled %v", dialled)
			}
			l.setRules("private:tcp:rebind.test:443")
			conn := l.openName("rebind.test", 443)
			if opens {
				l.wantEcho(conn)
			} else {
				l.wantReset(conn)
			}
			e := l.end()[0]
			if e.Verdict != "deny" || e.Addr != unmapped.String() || !strings.Contains(e.Reason, "rebind.test leads to "+unmapped.String()) {
				t.Errorf("event: %+v", e)
			}
		})
	}
}

func TestOnlyCheckedAddressesAreDialled(t *testing.T) {
	l := newLab(t, "tcp:mixed.test:443").start()
	l.named("mixed.test", "10.0.0.1", "::1", "93.184.215.1", publicAddr, "fd00::1")
	l.host(publicAddr+":443", echo) // 93.184.215.1 is dead
	for _, inside := range []string{"10.0.0.1:443", "[::1]:443", "[fd00::1]:443"} {
		l.host(inside, func(*net.TCPConn) { t.Errorf("%s was reached", inside) })
	}
	l.wantEcho(l.openName("mixed.test", 443))
	want := []netip.AddrPort{netip.MustParseAddrPort("93.184.215.1:443"), netip.MustParseAddrPort(publicAddr + ":443")}
	if _, dialled := l.seen(); !slices.Equal(dialled, want) {
		t.Errorf("dialled %v, want %v", dialled, want)
	}
}

func TestRebindingIsResolvedOncePerConnection(t *testing.T) {
	l := newLab(t, "tcp:rebind.test:443").start()
	l.host(publicAddr+":443", echo)
	l.host("127.0.0.1:443", func(*net.TCPConn) { t.Error("the host's loopback was reached") })
	answers := 0
	l.zone["rebind.test"] = func() []netip.Addr {
		answers++
		if answers%2 == 1 {
			return []netip.Addr{netip.MustParseAddr(publicAddr)}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	for i := range 20 {
		conn := l.openName("rebind.test", 443)
		if i%2 == 0 {
			l.wantEcho(conn)
		} else {
			l.wantReset(conn)
		}
	}
	if resolved, dialled := l.seen(); len(resolved) != 20 || len(dialled) != 10 {
		t.Errorf("resolved %d times and dialled %d times, want 20 and 10", len(resolved), len(dialled))
	}
}

func TestPolicyIsAskedAgainForEachFlow(t *testing.T) {
	l := newLab(t, "tcp:good.test:80,443").start()
	l.named("good.test", publicAddr)
	l.host(publicAddr+":443", echo)
	l.wantEcho(l.openName("good.test", 443))
	addr, _ := netip.AddrFromSlice(l.ask("good.test", dns.TypeA).Answer[0].(*dns.A).A)
	l.setRules()
	l.wantReset(l.open(netip.AddrPortFrom(addr, 443)))
	if _, dialled := l.seen(); len(dialled) != 1 {
		t.Errorf("dialled %v", dialled)
	}
}

func TestWhatCannotBeRecordedIsDenied(t *testing.T) {
	l := newLab(t, "tcp:good.test:80,443").start()
	l.named("good.test", publicAddr)
	received := make(chan int, 2)
	l.host(publicAddr+":443", func(c *net.TCPConn) {
		got, _ := io.ReadAll(c)
		received <- len(got)
	})
	l.fill(errors.New("disk full"))
	tunnel, _ := l.connectTo("good.test:443")
	for _, conn := range []*net.TCPConn{l.openName("good.test", 443), tunnel} {
		l.wantResetAfter(conn, "secret")
		if n := <-received; n != 0 {
			t.Errorf("upstream got %d bytes of a flow that is not in the record", n)
		}
	}
	l.fill(nil)
	conn := l.openName("good.test", 443)
	_, _ = conn.Write([]byte("secret"))
	_ = conn.Close()
	if n := <-received; n != 6 {
		t.Errorf("control: upstream got %d bytes", n)
	}
	if err := (&Server{}).Serve(t.Context(), l.wire); err == nil {
		t.Error("a server without a record serves")
	}
}

func TestFailuresReachTheSandboxAsResets(t *testing.T) {
	l := newLab(t, "tcp:*.bad.test:443").start()
	l.named("refused.bad.test", publicAddr)
	l.named("empty.bad.test")
	l.named("resets.bad.test", "93.184.215.16")
	l.host("93.184.215.16:443", func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 5))
		_ = c.SetLinger(0)
	})
	for _, name := range []string{"refused.bad.test", "empty.bad.test", "unknown.bad.test", "resets.bad.test"} {
		l.wantResetAfter(l.openName(name, 443), "hello")
	}
	for _, e := range l.end() {
		if e.Verdict != "allow" || e.Error == "" != (e.Kind == audit.KindConnect && e.Host == "resets.bad.test") {
			t.Errorf("event: %+v", e)
		}
	}
}

func TestResetInsideReachesUpstream(t *testing.T) {
	l := newLab(t, "tcp:good.test:80,443").start()
	l.named("good.test", publicAddr)
	ended := make(chan error, 1)
	l.host(publicAddr+":443", func(c *net.TCPConn) {
		_, _ = c.Write([]byte("hello"))
		_, err := io.ReadAll(c)
		ended <- err
	})
	conn := l.openName("good.test", 443)
	_, _ = io.ReadFull(conn, make([]byte, 5))
	_ = conn.SetLinger(0)
	_ = conn.Close()
	if err := <-ended; err == nil {
		t.Error("upstream saw an orderly end")
	}
}

func TestFlowsAreBounded(t *testing.T) {
	l := newLab(t, "tcp:good.test:80,443")
	l.MaxFlows = 3
	l.start()
	l.named("good.test", publicAddr)
	l.host(publicAddr+":443", echo)
	var held []*net.TCPConn
	for range 3 {
		conn := l.openName("good.test", 443)
		_, _ = conn.Write([]byte("x"))
		_, _ = io.ReadFull(conn, make([]byte, 1))
		held = append(held, conn)
	}
	l.wantReset(l.openName("good.test", 443))
	_ = held[0].CloseWrite()
	_, _ = io.ReadAll(held[0])
	// The slot is free again a moment after the flow's end is seen inside.
	for l.flows.Load() > 2 {
		_ = l.ask("good.test", dns.TypeA)
	}
	l.wantEcho(l.openName("good.test", 443))
}

func TestTheEndOfServeEndsEveryFlow(t *testing.T) {
	for name, end := range map[string]func(*lab){
		"context ends":  func(l *lab) { l.stop() },
		"source closes": func(l *lab) { _ = l.wire.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, "tcp:good.test:80,443").start()
			l.named("good.test", publicAddr)
			l.host(publicAddr+":443", echo)
			conn := l.openName("good.test", 443)
			_, _ = conn.Write([]byte("x"))
			_, _ = io.ReadFull(conn, make([]byte, 1))
			end(l)
			if err := <-l.done; err != nil {
				t.Errorf("Serve: %v", err)
			}
			l.done <- nil
			l.wantReset(conn)
			if last := l.events[len(l.events)-1]; last.Kind != audit.KindClose || last.BytesOut != 1 {
				t.Errorf("last event: %+v", last)
			}
		})
	}
}

// The defaults are the real ones: a listener on the host's loopback is reached by the rule that names
// it, and by no other.
func TestDefaultDialAndHostAddresses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dst := netip.MustParseAddrPort(ln.Addr().String())
	l := newLab(t, "tcp:good.test:80,443")
	l.Dial, l.HostAddrs = nil, nil
	l.start()
	l.wantReset(l.open(dst))
	l.setRules("tcp:" + dst.String())
	conn := l.open(dst)
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = got.Write([]byte("x"))
	_ = got.Close()
	if b, err := io.ReadAll(conn); err != nil || string(b) != "x" {
		t.Errorf("inside got %q, %v", b, err)
	}
	own, err := (&Server{}).hostAddrs()
	if err != nil || len(own) == 0 {
		t.Errorf("host addresses: %v, %v", own, err)
	}
}
