package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a gateway.Source on loopback. Its client says first where it wants to go.
type wire struct {
	flows   net.Listener
	packets net.PacketConn
	streams net.Listener
}

func newWire(t testing.TB) *wire {
	flows, err1 := net.Listen("tcp", "127.0.0.1:0")
	packets, err2 := net.ListenPacket("udp", "127.0.0.1:0")
	streams, err3 := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return &wire{flows, packets, streams}
}

func (w *wire) Accept() (gateway.Flow, error) {
	conn, err := w.flows.Accept()
	if err != nil {
		return gateway.Flow{}, err
	}
	var head [18]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return gateway.Flow{}, err
	}
	dst := netip.AddrPortFrom(netip.AddrFrom16([16]byte(head[:16])), binary.BigEndian.Uint16(head[16:]))
	return gateway.Flow{Conn: conn, Dst: dst}, nil
}

func (w *wire) DNS() (net.PacketConn, net.Listener) { return w.packets, w.streams }
func (w *wire) Close() error                        { return w.flows.Close() }

// lab is a sandbox's network: a Server on a wire, a world of name servers and hosts that is all in the
// test, and a record. Its fields below mu say what the world has seen.
type lab struct {
	*Server
	t      testing.TB
	wire   *wire
	source gateway.Source // what is served when it is not wire
	done   chan error
	stop   context.CancelFunc

	mu       sync.Mutex
	rules    *policy.Policy
	zone     map[hostname.Name]func() []netip.Addr // the world's name servers
	hosts    map[netip.AddrPort]string             // the world's hosts: the loopback address they listen on
	resolved []hostname.Name
	dialled  []netip.AddrPort
	events   []audit.Event
	full     error      // what Record returns
	sink     audit.Sink // takes the events instead, where it is set
}

// newLab makes a lab whose policy has those rules; "deny " before one turns it round.
func newLab(t testing.TB, rules ...string) *lab {
	l := newLabNoWire(t, rules...)
	l.wire = newWire(t)
	return l
}

// newLabNoWire is a lab that cannot be started.
func newLabNoWire(t testing.TB, rules ...string) *lab {
	l := &lab{t: t, done: make(chan error, 1),
		zone: map[hostname.Name]func() []netip.Addr{}, hosts: map[netip.AddrPort]string{}}
	l.setRules(rules...)
	l.Server = &Server{
		Policy:    func() *policy.Policy { l.mu.Lock(); defer l.mu.Unlock(); return l.rules },
		Resolve:   l.resolveWorld,
		Dial:      l.dialWorld,
		HostAddrs: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("93.184.0.99")}, nil },
		Audit:     l,
	}
	return l
}

// start begins serving; the test's end checks that Serve ends too.
func (l *lab) start() *lab {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	if l.source == nil {
		l.source = l.wire
	}
	go func() { l.done <- l.Serve(ctx, l.source) }()
	l.t.Cleanup(func() {
		cancel()
		if err := <-l.done; err != nil {
			l.t.Errorf("Serve: %v", err)
		}
	})
	return l
}

func (l *lab) setRules(texts ...string) { l.setPolicy(policy.Deny, texts...) }

// setPolicy is setRules with the verdict on what no rule speaks of.
func (l *lab) setPolicy(unspoken policy.Verdict, texts ...string) {
	p := &policy.Policy{Default: unspoken}
	for _, text := range texts {
		text, deny := strings.CutPrefix(text, "deny ")
		r, err := policy.ParseRule(text, "test")
		if err != nil {
			l.t.Fatal(err)
		}
		if deny {
			r.Verdict = policy.Deny
		}
		p.Rules = append(p.Rules, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules = p
}

func (l *lab) resolveWorld(_ context.Context, name hostname.Name) ([]netip.Addr, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resolved = append(l.resolved, name)
	if answer := l.zone[name]; answer != nil {
		return answer(), nil
	}
	return nil, errors.New("no such host")
}

func (l *lab) dialWorld(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	l.mu.Lock()
	l.dialled = append(l.dialled, addr)
	listen := l.hosts[addr]
	l.mu.Unlock()
	if listen == "" {
		return nil, syscall.ECONNREFUSED
	}
	return new(net.Dialer).DialContext(ctx, "tcp", listen)
}

func (l *lab) Record(e audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink != nil {
		return l.sink.Record(e)
	}
	if l.full == nil {
		l.events = append(l.events, e)
	}
	return l.full
}

// named makes name lead to addrs.
func (l *lab) named(name hostname.Name, addrs ...string) {
	var parsed []netip.Addr
	for _, a := range addrs {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zone[name] = func() []netip.Addr { return parsed }
}

// host puts a host into the world that serves each connection with handle.
func (l *lab) host(addr string, handle func(*net.TCPConn)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn))
			})
		}
	})
	l.t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts[netip.MustParseAddrPort(addr)] = ln.Addr().String()
}

// echo sends everything back.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// open connects from inside to dst.
func (l *lab) open(dst netip.AddrPort) *net.TCPConn {
	l.t.Helper()
	conn, err := openAt(l.wire.flows.Addr().String(), dst)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// openAt connects to dst from inside a wire whose flows are taken at that address.
func openAt(flows string, dst netip.AddrPort) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", flows)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	head := dst.Addr().As16()
	_, err = conn.Write(binary.BigEndian.AppendUint16(head[:], dst.Port()))
	return conn.(*net.TCPConn), err
}

// openName looks name up inside and connects to what comes back.
func (l *lab) openName(name string, port uint16) *net.TCPConn {
	l.t.Helper()
	reply := l.ask(name, dns.TypeA)
	if len(reply.Answer) != 1 {
		l.t.Fatalf("%s has no address inside: %v", name, reply)
	}
	addr, _ := netip.AddrFromSlice(reply.Answer[0].(*dns.A).A)
	return l.open(netip.AddrPortFrom(addr.Unmap(), port))
}

// ask sends a question over UDP.
func (l *lab) ask(name string, qtype uint16) *dns.Msg {
	l.t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	reply, err := dns.Exchange(m, l.wire.packets.LocalAddr().String())
	if err != nil {
		l.t.Fatal(err)
	}
	return reply
}

// wantEcho says whether conn reaches an echo server.
func (l *lab) wantEcho(conn *net.TCPConn) {
	l.t.Helper()
	_, _ = conn.Write([]byte("hello"))
	_ = conn.CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		l.t.Errorf("echo is %q, %v", got, err)
	}
}

// wantReset waits until the refusal is seen inside.
func (l *lab) wantReset(conn *net.TCPConn) {
	l.t.Helper()
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		l.t.Errorf("read returned %d, %v; want a reset", n, err)
	}
}

// wantResetAfter is wantReset for a side that sends first: the reset may come as the error of that.
func (l *lab) wantResetAfter(conn *net.TCPConn, text string) {
	l.t.Helper()
	if _, err := conn.Write([]byte(text)); errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return
	}
	l.wantReset(conn)
}

// wantUntouched says that the world has seen nothing.
func (l *lab) wantUntouched() {
	l.t.Helper()
	if resolved, dialled := l.seen(); len(resolved)+len(dialled) > 0 {
		l.t.Errorf("the world was asked for %v and dialled at %v", resolved, dialled)
	}
}

// seen is what the world has been asked so far.
func (l *lab) seen() (resolved []hostname.Name, dialled []netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.resolved), slices.Clone(l.dialled)
}

// fill makes the record fail with err, or work again.
func (l *lab) fill(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = err
}

// end stops the server and returns its record.
func (l *lab) end() []audit.Event {
	l.t.Helper()
	l.stop()
	err := <-l.done
	l.done <- err
	return l.events
}
