package sandboxtest

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// patience bounds what must arrive; nothing waits for it in a passing run.
const patience = 10 * time.Second

// listener is a service on the host's loopback that counts who comes.
func listener(t *testing.T) (addr string, came func() int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 16)
	go func() {
		defer close(conns)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
			conns <- c
		}
	}()
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String(), func() int {
		// The control: what connects is counted.
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
		_ = ln.Close()
		n := 0
		for range conns {
			n++
		}
		return n - 1
	}
}

func connect(host string, port any) string {
	return fmt.Sprintf("timeout 3 bash -c 'exec 3<>/dev/tcp/%s/%v'", host, port)
}

func noNetwork(t *testing.T, s *suite) {
	addr, came := listener(t)
	_, port, _ := net.SplitHostPort(addr)
	spec, _ := s.newSpec(t)
	spec.Network = sandbox.NetworkNone
	y := s.start(t, spec)
	if y.machine.Flows() != nil {
		t.Error("a machine without a network has flows")
	}
	for _, host := range []string{"127.0.0.1", gateway.Gateway, "203.0.113.7"} {
		y.refused(connect(host, port))
	}
	if got := y.want("cat /proc/net/route | wc -l"); got != "1" {
		t.Errorf("there are routes:\n%s", y.want("cat /proc/net/route"))
	}
	if n := came(); n != 0 {
		t.Errorf("%d connections reached the host", n)
	}
}

func flowsArrive(t *testing.T, s *suite) {
	addr, came := listener(t)
	_, port, _ := net.SplitHostPort(addr)
	spec, _ := s.newSpec(t)
	spec.Network = sandbox.NetworkGateway
	y := s.start(t, spec)
	flows := y.machine.Flows()
	if flows == nil {
		t.Fatal("there are no flows")
	}
	got := make(chan gateway.Flow, 1)
	go func() {
		for {
			f, err := flows.Accept()
			if err != nil {
				return
			}
			got <- f
		}
	}()
	out := make(chan string, 1)
	go func() {
		o, _ := y.sh("timeout 8 bash -c 'exec 3<>/dev/tcp/203.0.113.7/4242; echo ping >&3; read answer <&3; echo $answer'")
		out <- o
	}()
	select {
	case f := <-got:
		defer f.Close()
		if want := netip.MustParseAddrPort("203.0.113.7:4242"); f.Dst != want {
			t.Errorf("the flow wants to go to %v, want %v", f.Dst, want)
		}
		ping := make([]byte, 5)
		if _, err := io.ReadFull(f, ping); err != nil || string(ping) != "ping\n" {
			t.Errorf("from inside came %q, %v", ping, err)
		}
		if _, err := io.WriteString(f, "pong\n"); err != nil {
			t.Error(err)
		}
		if err := f.CloseWrite(); err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("no flow arrived")
	}
	if o := <-out; o != "pong\n" {
		t.Errorf("inside came %q", o)
	}
	// The host's own loopback is another one inside, and the host's addresses are only words.
	y.refused(connect("127.0.0.1", port))
	if n := came(); n != 0 {
		t.Errorf("%d connections reached the host's loopback", n)
	}
}

func handshakesAreJudged(t *testing.T, s *suite) {
	spec, _ := s.newSpec(t)
	spec.Network = sandbox.NetworkGateway
	y := s.start(t, spec)
	flows, ok := y.machine.Flows().(gateway.Holder)
	if !ok {
		t.Skip("the gateway cannot hold handshakes on this kernel: every one is completed")
	}
	go func() { // takes what passes
		for {
			f, err := flows.Accept()
			if err != nil {
				return
			}
			_ = f.Close()
		}
	}()
	try := func(port int) string {
		out, _ := y.sh(fmt.Sprintf("timeout 8 bash -c 'exec 3<>/dev/tcp/203.0.113.7/%d && echo connected' 2>&1", port))
		return out
	}
	if out := try(1); !strings.Contains(out, "connected") {
		t.Fatalf("control: while nobody judges: %q", out)
	}
	verdicts := map[uint16]gateway.Verdict{2: gateway.Unreachable, 3: gateway.Pass}
	judging := make(chan struct{})
	var once sync.Once
	go flows.Hold(func(_, dst netip.AddrPort) gateway.Verdict {
		once.Do(func() { close(judging) })
		return verdicts[dst.Port()]
	})
	for waiting := true; waiting; {
		try(1)
		select {
		case <-judging:
			waiting = false
		default:
		}
	}
	for port, want := range map[int]string{1: "Connection refused", 2: "No route to host", 3: "connected"} {
		if out := try(port); !strings.Contains(out, want) {
			t.Errorf("port %d: %q, want %q", port, out, want)
		}
	}
}

func questionsArrive(t *testing.T, s *suite) {
	spec, _ := s.newSpec(t)
	spec.Network = sandbox.NetworkGateway
	y := s.start(t, spec)
	packets, streams := y.machine.Flows().DNS()
	if err := packets.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	for _, server := range []string{gateway.Gateway, "192.0.2.53"} {
		out := make(chan string, 1)
		go func() {
			o, _ := y.sh(fmt.Sprintf("timeout 8 bash -c 'exec 3<>/dev/udp/%s/53; echo question >&3; dd bs=512 count=1 <&3 2>/dev/null'", server))
			out <- o
		}()
		n, from, err := packets.ReadFrom(buf)
		if err != nil || string(buf[:n]) != "question\n" {
			t.Fatalf("asked of %s, %q arrived, %v", server, buf[:n], err)
		}
		if _, err := packets.WriteTo([]byte("answer\n"), from); err != nil {
			t.Fatal(err)
		}
		if o := <-out; o != "answer\n" {
			t.Errorf("asked of %s, inside came %q", server, o)
		}
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := streams.Accept(); err == nil {
			accepted <- c
		}
	}()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		y.sh(connect("192.0.2.53", 53))
	}()
	select {
	case c := <-accepted:
		_ = c.Close()
	case <-time.After(patience):
		t.Error("a connection to port 53 did not arrive")
	}
	<-asked
}
