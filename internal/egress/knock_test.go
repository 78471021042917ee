package egress

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// holdingWire is a wire whose client knocks before it connects.
type holdingWire struct {
	*wire
	judge chan func(from, to netip.AddrPort) gateway.Verdict
	ended chan struct{}
}

func (h *holdingWire) Hold(judge func(from, to netip.AddrPort) gateway.Verdict) {
	h.judge <- judge
	<-h.ended
}

func (h *holdingWire) Close() error {
	select {
	case <-h.ended:
	default:
		close(h.ended)
	}
	return h.wire.Close()
}

// holdingLab is a lab, and what its server says of handshakes.
type holdingLab struct {
	*lab
	judge func(from, to netip.AddrPort) gateway.Verdict
}

func newHoldingLab(t *testing.T, rules ...string) *holdingLab {
	return startHolding(newLab(t, rules...))
}

func startHolding(l *lab) *holdingLab {
	h := &holdingWire{l.wire, make(chan func(from, to netip.AddrPort) gateway.Verdict), make(chan struct{})}
	l.source = h
	l.start()
	return &holdingLab{l, <-h.judge}
}

// knock begins a connection to name and returns it with the verdict; enter is its handshake's end.
func (l *holdingLab) knock(name string, port uint16) (conn *net.TCPConn, enter func(), v gateway.Verdict) {
	l.t.Helper()
	c, err := net.Dial("tcp", l.wire.flows.Addr().String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	dst := netip.AddrPortFrom(l.addr(name), port)
	enter = func() {
		head := dst.Addr().As16()
		if _, err := c.Write(binary.BigEndian.AppendUint16(head[:], port)); err != nil {
			l.t.Fatal(err)
		}
	}
	return c.(*net.TCPConn), enter, l.judge(netip.MustParseAddrPort(c.LocalAddr().String()), dst)
}

// addr is what name's address is inside; an address is its own.
func (l *holdingLab) addr(name string) netip.Addr {
	if a, err := netip.ParseAddr(name); err == nil {
		return a
	}
	a, _ := netip.AddrFromSlice(l.ask(name, dns.TypeA).Answer[0].(*dns.A).A)
	return a.Unmap()
}

func TestHandshakesEndAsOutside(t *testing.T) {
	for _, tt := range []struct {
		name, host string
		port       uint16
		want       gateway.Verdict
		verdict    string // that is recorded, "" for none
		dials      int
	}{
		{"a server that listens", "good.raw.test", 5432, gateway.Pass, "", 1},
		{"a server that does not", "refused.raw.test", 5432, gateway.Refuse, "allow", 1},
		{"a host that is not there", "gone.raw.test", 5432, gateway.Unreachable, "allow", 1},
		{"a name that does not exist", "unknown.raw.test", 5432, gateway.Unreachable, "allow", 0},
		{"a name that leads inside", "inside.raw.test", 5432, gateway.Refuse, "deny", 0},
		{"a denied address where nobody speaks HTTP", publicAddr, 22, gateway.Refuse, "deny", 0},
		{"a denied name where nobody speaks HTTP", "web.test", 22, gateway.Refuse, "deny", 0},
		{"a denied address where requests get answers", publicAddr, 443, gateway.Pass, "", 0},
		{"requests to a server that does not listen", "web.test", 443, gateway.Pass, "", 0},
		{"the gateway itself", gateway.Gateway, 80, gateway.Pass, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, "tcp:*.raw.test:5432", "web.test")
			l.named("good.raw.test", publicAddr)
			l.named("refused.raw.test", "93.184.215.15")
			l.named("gone.raw.test", "93.184.215.16")
			l.named("inside.raw.test", "10.0.0.1")
			l.host(publicAddr+":5432", echo)
			world := l.Dial
			l.Dial = func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
				conn, err := world(ctx, addr)
				if addr.Addr().String() == "93.184.215.16" {
					err = syscall.EHOSTUNREACH
				}
				return conn, err
			}
			h := startHolding(l)
			if _, _, got := h.knock(tt.host, tt.port); got != tt.want {
				t.Errorf("verdict %v, want %v", got, tt.want)
			}
			if _, dialled := l.seen(); len(dialled) != tt.dials {
				t.Errorf("dialled %v", dialled)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if tt.verdict == "" && len(l.events) > 0 || tt.verdict != "" && (len(l.events) != 1 || l.events[0].Kind != audit.KindConnect ||
				l.events[0].Verdict != tt.verdict || l.events[0].Flow == 0 || (l.events[0].Error == "") != (tt.verdict == "deny")) {
				t.Errorf("events: %+v", l.events)
			}
		})
	}
}

func TestAFlowTakesWhatWasDialledForIt(t *testing.T) {
	l := newHoldingLab(t, "tcp:good.test:5432")
	l.named("good.test", publicAddr)
	l.host(publicAddr+":5432", echo)
	for range 3 {
		conn, enter, v := l.knock("good.test", 5432)
		if v != gateway.Pass {
			t.Fatalf("verdict %v", v)
		}
		enter()
		l.wantEcho(conn)
	}
	// Control: a connection that did not knock is dialled too.
	l.wantEcho(l.openName("good.test", 5432))
	if _, dialled := l.seen(); len(dialled) != 4 {
		t.Errorf("dialled %v", dialled)
	}
	if events := l.end(); len(events) != 8 || events[0].Addr != publicAddr || events[0].Error != "" {
		t.Errorf("events: %+v", events)
	}
}

// The rules change between a handshake and its flow.
func TestWhatWasDialledIsJudgedAgain(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		echoes     bool
		dials      int
	}{
		{"denied", "other.test", false, 1},
		{"denied by its address", "deny 93.184.215.0/24", false, 1},
		{"for requests only", "good.test:5432", false, 1},
		{"the same again", "tcp:good.test:5432", true, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newHoldingLab(t, "tcp:good.test:5432")
			l.named("good.test", publicAddr)
			received := make(chan int, 2)
			l.host(publicAddr+":5432", func(c *net.TCPConn) {
				n, _ := io.Copy(c, c)
				received <- int(n)
				_ = c.CloseWrite()
			})
			conn, enter, _ := l.knock("good.test", 5432)
			l.setRules(tt.rule)
			enter()
			if tt.echoes {
				l.wantEcho(conn)
			} else {
				l.wantResetAfter(conn, "\x00hello\r\n")
			}
			if first := <-received; first != 0 && !tt.echoes {
				t.Errorf("upstream got %d bytes", first)
			}
			if _, dialled := l.seen(); len(dialled) != tt.dials {
				t.Errorf("dialled %v", dialled)
			}
		})
	}
}

func TestWhatNobodyTakesIsClosedAndRecorded(t *testing.T) {
	l := newHoldingLab(t, "tcp:good.test:5432")
	l.named("good.test", publicAddr)
	ended := make(chan error, 1)
	l.host(publicAddr+":5432", func(c *net.TCPConn) {
		_, err := io.ReadAll(c)
		ended <- err
	})
	conn, _, _ := l.knock("good.test", 5432)
	_ = conn.Close()
	events := l.end()
	if err := <-ended; err != nil {
		t.Errorf("upstream saw %v", err)
	}
	if len(events) != 1 || events[0].Verdict != "allow" || events[0].Addr != publicAddr || events[0].Error == "" {
		t.Errorf("events: %+v", events)
	}
	if n := l.flows.Load(); n != 0 {
		t.Errorf("%d flows are counted", n)
	}
}

func TestDiallingAheadIsBounded(t *testing.T) {
	bounded := newLab(t, "tcp:good.test:5432")
	bounded.MaxFlows = 2
	l := startHolding(bounded)
	l.named("good.test", publicAddr)
	l.host(publicAddr+":5432", echo)
	conn, enter, _ := l.knock("good.test", 5432)
	l.knock("good.test", 5432)
	if _, _, v := l.knock("good.test", 5432); v != gateway.Pass {
		t.Errorf("beyond the bound the verdict is %v", v)
	}
	if _, dialled := l.seen(); len(dialled) != 2 {
		t.Errorf("dialled %v", dialled)
	}
	enter() // which still has its place
	l.wantEcho(conn)
}

func TestWhatWaitsExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a ahead
		var closed, abandoned atomic.Int32
		put := func(from string) *dialled {
			d := &dialled{decision: policy.Decision{Verdict: policy.Allow}, conn: closing{closed: &closed}}
			d.abandon = func() { abandoned.Add(1); d.close() }
			a.put(pair{from: netip.MustParseAddrPort(from)}, d)
			return d
		}
		began := time.Now()
		taken := put("198.18.0.2:1")
		put("198.18.0.2:2")
		put("198.18.0.2:3")
		put("198.18.0.2:3") // its client begins anew
		if got := a.take(pair{from: netip.MustParseAddrPort("198.18.0.2:1")}); got != taken {
			t.Errorf("took %v", got)
		}
		if n := closed.Load(); n != 1 {
			t.Errorf("%d were closed at once, want the one that was put twice", n)
		}
		time.Sleep(patience)
		synctest.Wait()
		if n, m := closed.Load(), abandoned.Load(); n != 3 || m != 3 || len(a.waiting) != 0 || time.Since(began) != patience {
			t.Errorf("%d closed, %d abandoned, %d left", n, m, len(a.waiting))
		}
		taken.close()
		taken.close()
		if n := closed.Load(); n != 4 {
			t.Errorf("what was taken and not used was closed %d times", n-3)
		}
	})
}
