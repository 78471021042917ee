package gateway_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/gateway/relay"
)

// TestMain runs the tests in namespaces of their own, where the test process is the sandbox.
func TestMain(m *testing.M) {
	const inside = "BAILEY_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	// For ten thousand connections; only root may.
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1 << 17, Max: 1 << 17})
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		panic(err)
	}
}

// TestGateway asks every form of the gateway everything.
func TestGateway(t *testing.T) {
	if _, err := net.DialTimeout("tcp", "203.0.113.7:80", time.Second); !errors.Is(err, unix.ENETUNREACH) {
		t.Fatalf("control: without a gateway there must be no route, got %v", err)
	}
	for name, w := range forms() {
		t.Run(name, func(t *testing.T) {
			src := newGateway(t, w)
			if _, holds := src.(gateway.Holder); holds == w.Queue {
				t.Errorf("it holds handshakes: %v", holds)
			}
			conforms(t, src)
			t.Run("datagrams elsewhere are refused at once, every time", refusesDatagrams)
			t.Run("addresses that cannot be meant fail at once", unreachable)
		})
	}
}

func forms() map[string]gateway.Without {
	return map[string]gateway.Without{
		"tproxy": {}, "tproxy without queue": {Queue: true},
		"redirect": {TPROXY: true}, "redirect without queue": {TPROXY: true, Queue: true},
	}
}

// TestRelay asks the other end of a relay the same.
func TestRelay(t *testing.T) {
	near, far := net.Pipe()
	ended := make(chan error)
	inside := newGateway(t, gateway.Without{})
	go func() { ended <- relay.Serve(t.Context(), near, inside) }()
	src, err := relay.Open(far)
	if err != nil {
		t.Fatal(err)
	}
	conforms(t, src)
	src.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// newGateway gives the test process, which is the sandbox, a gateway until the test ends: a network namespace has
// room for one.
func newGateway(t *testing.T, w gateway.Without) gateway.Source {
	t.Helper()
	files, err := gateway.Build(w)
	if err != nil {
		t.Fatal(err)
	}
	return openGateway(t, files)
}

func openGateway(t *testing.T, files []*os.File) gateway.Source {
	t.Helper()
	if err := gateway.Loopback(); err != nil {
		t.Fatal(err)
	}
	src, err := gateway.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		src.Close()
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		link, err := h.LinkByName("eth0")
		if err == nil {
			err = h.LinkDel(link)
		}
		routes, listErr := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Type: unix.RTN_UNREACHABLE}, netlink.RT_FILTER_TYPE)
		for _, r := range routes {
			err = errors.Join(err, h.RouteDel(&r))
		}
		err = errors.Join(err, listErr)
		if err != nil {
			t.Fatal(err)
		}
	})
	return src
}

// conforms is what egress and a sandbox may expect of every Source.
func conforms(t *testing.T, src gateway.Source) {
	t.Run("a connection to any address arrives with its destination", func(t *testing.T) { arrives(t, src) })
	t.Run("bytes and half-closes pass both ways", func(t *testing.T) { passes(t, src) })
	t.Run("a reset flow is refused, not ended", func(t *testing.T) { resets(t, src) })
	t.Run("a reset inside arrives as one", func(t *testing.T) { resetInside(t, src) })
	t.Run("questions to any server are answered from that server", func(t *testing.T) { questions(t, src) })
	t.Run("the gateway's own ports are no way in", func(t *testing.T) { ownPorts(t, src) })
}

// TestHandshakesEndAsJudged has the verdict follow from the port.
func TestHandshakesEndAsJudged(t *testing.T) {
	for name, w := range forms() {
		if w.Queue {
			continue
		}
		t.Run(name, func(t *testing.T) {
			src := newGateway(t, w).(gateway.Holder)
			if c, err := net.Dial("tcp", "203.0.113.7:1"); err != nil {
				t.Fatalf("control: while nobody judges, every handshake is completed: %v", err)
			} else {
				c.Close()
			}
			if _, err := src.Accept(); err != nil {
				t.Fatal(err)
			}
			verdicts := map[uint16]gateway.Verdict{2: gateway.Unreachable, 3: gateway.Pass}
			ended := make(chan struct{})
			came := make(chan [2]netip.AddrPort, 8)
			go func() {
				src.Hold(func(from, to netip.AddrPort) gateway.Verdict {
					came <- [2]netip.AddrPort{from, to}
					return verdicts[to.Port()]
				})
				close(ended)
			}()
			// Hold has begun when the first is judged; until then they pass.
			for _, err := net.Dial("tcp", "203.0.113.7:1"); !errors.Is(err, unix.ECONNREFUSED); _, err = net.Dial("tcp", "203.0.113.7:1") {
				if err != nil {
					t.Fatalf("refused with %v", err)
				}
				if _, err := src.Accept(); err != nil {
					t.Fatal(err)
				}
			}
			<-came
			for range 3 { // a second refusal must not be held back by a limit on errors
				if _, err := net.Dial("tcp", "203.0.113.7:2"); !errors.Is(err, unix.EHOSTUNREACH) {
					t.Errorf("unreachable: %v", err)
				}
				<-came
			}
			c, err := net.Dial("tcp", "203.0.113.7:3")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			flow, err := src.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer flow.Close()
			if got := <-came; got != [2]netip.AddrPort{netip.MustParseAddrPort(flow.RemoteAddr().String()), flow.Dst} {
				t.Errorf("judged as %v, arrived from %v to %v", got, flow.RemoteAddr(), flow.Dst)
			}
			if _, err := c.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			src.Close()
			<-ended
		})
	}
}

// TestNobodyJudges closes the queue, as the end of a supervisor does, while the socket for flows still listens.
func TestNobodyJudges(t *testing.T) {
	files, err := gateway.Build(gateway.Without{})
	if err != nil {
		t.Fatal(err)
	}
	flows, err := unix.Dup(int(files[0].Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(flows) }) // behind the gateway's own
	src := openGateway(t, files)
	dial := func() error {
		c, err := net.DialTimeout("tcp", "203.0.113.7:80", 300*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Fatalf("control: %v", err)
	}
	src.Close()
	var timeout net.Error
	if err := dial(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("connecting ends with %v", err)
	}
}

func arrives(t *testing.T, src gateway.Source) {
	for _, dst := range []string{"203.0.113.7:80", "198.51.100.1:443", "10.1.2.3:22", "169.254.169.254:80", gateway.Gateway + ":8080", "8.8.8.8:65535"} {
		go func() {
			if c, err := net.Dial("tcp", dst); err == nil {
				c.Close()
			}
		}()
		flow, err := src.Accept()
		if err != nil {
			t.Fatal(err)
		}
		flow.Close()
		if flow.Dst != netip.MustParseAddrPort(dst) {
			t.Errorf("dialled %s, arrived as %s", dst, flow.Dst)
		}
		if from := flow.RemoteAddr().(*net.TCPAddr).IP.String(); from != gateway.Sandbox {
			t.Errorf("comes from %s", from)
		}
	}
}

func passes(t *testing.T, src gateway.Source) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		flow, err := src.Accept()
		if err != nil {
			return
		}
		got, _ := io.ReadAll(flow)
		_, _ = flow.Write(got)
		_ = flow.CloseWrite()
		flow.Close()
	}()
	c, err := net.Dial("tcp", "203.0.113.7:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		_, _ = c.Write(payload)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("%d bytes came back, want %d: %v", len(got), len(payload), err)
	}
}

func resets(t *testing.T, src gateway.Source) {
	go func() {
		if flow, err := src.Accept(); err == nil {
			_ = flow.Reset()
		}
	}()
	c, err := net.Dial("tcp", "203.0.113.7:80")
	if err == nil { // else the reset was there before the dial had returned
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func resetInside(t *testing.T, src gateway.Source) {
	c, err := net.Dial("tcp", "203.0.113.7:80")
	if err != nil {
		t.Fatal(err)
	}
	flow, err := src.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	_, _ = c.Write([]byte("x"))
	if _, err := io.ReadFull(flow, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if n, err := flow.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read %d bytes, %v, want a reset", n, err)
	}
}

func questions(t *testing.T, src gateway.Source) {
	packets, conns := src.DNS()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		_ = w.WriteMsg(r)
	})
	go func() { // datagrams by hand: the library's server wants its own socket types
		buf := make([]byte, 1500)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) == nil {
				b, _ := new(dns.Msg).SetRcode(q, dns.RcodeNameError).Pack()
				_, _ = packets.WriteTo(b, from)
			}
		}
	}()
	server := &dns.Server{Listener: conns, Handler: handler}
	go func() { _ = server.ActivateAndServe() }()
	for _, network := range []string{"udp", "tcp"} {
		for _, addr := range []string{gateway.Gateway + ":53", "1.1.1.1:53"} {
			c := dns.Client{Net: network, Timeout: 3 * time.Second}
			r, _, err := c.Exchange(new(dns.Msg).SetQuestion("evil.test.", dns.TypeA), addr)
			if err != nil {
				t.Errorf("%s %s: %v", network, addr, err)
			} else if r.Rcode != dns.RcodeNameError {
				t.Errorf("%s %s: rcode %d", network, addr, r.Rcode)
			}
		}
	}
}

func refusesDatagrams(t *testing.T) {
	for _, dst := range []string{"203.0.113.7:443", "1.1.1.1:123", gateway.Gateway + ":5353"} {
		c, err := net.Dial("udp", dst)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for try := range 20 { // more than the kernel's default budget of ICMP errors
			_, werr := c.Write([]byte("x"))
			_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
			_, rerr := c.Read(make([]byte, 1))
			if err := errors.Join(werr, rerr); !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.EACCES) {
				t.Fatalf("%s, try %d: %v", dst, try, err)
			}
		}
	}
}

func unreachable(t *testing.T) {
	for _, dst := range []string{"240.0.0.1:80", "0.1.2.3:80", "[2001:db8::1]:443", "[64:ff9b::1]:80"} {
		start := time.Now()
		c, err := net.DialTimeout("tcp", dst, 5*time.Second)
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", dst)
		} else if !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH) || time.Since(start) > time.Second {
			t.Errorf("%s: %v after %v", dst, err, time.Since(start))
		}
	}
}

func ownPorts(t *testing.T, src gateway.Source) {
	done := make(chan netip.AddrPort, 1)
	go func() {
		if flow, err := src.Accept(); err == nil {
			done <- flow.Dst
			flow.Close()
		}
	}()
	c, err := net.Dial("tcp", net.JoinHostPort(gateway.Gateway, "15001"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got, want := <-done, netip.MustParseAddrPort(gateway.Gateway+":15001"); got != want {
		t.Errorf("arrived as %s, want the flow socket with %s", got, want)
	}
}
