package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// closing counts how often it was closed.
type closing struct {
	net.Conn
	closed *atomic.Int32
}

func (c closing) Close() error { c.closed.Add(1); return nil }

// Times are of a clock that only moves while everybody waits.
func TestDialFirst(t *testing.T) {
	const never = -1
	tests := []struct {
		name  string
		delay map[string]time.Duration // negative never answers
		fails []string
		deaf  bool // dials go on when cancelled
		order []string
		want  string // "" when all fail
		after time.Duration
	}{
		{"the first that answers is taken", map[string]time.Duration{}, nil, false, []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.1", 0},
		{"a slow one is overtaken", map[string]time.Duration{"192.0.2.1": time.Second}, nil, false, []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.2", stagger},
		{"a slow one may still win", map[string]time.Duration{"192.0.2.1": 300 * time.Millisecond, "192.0.2.2": never}, nil, false,
			[]string{"192.0.2.1", "192.0.2.2"}, "192.0.2.1", 300 * time.Millisecond},
		{"a failure starts the next at once", map[string]time.Duration{"192.0.2.1": 10 * time.Millisecond}, []string{"192.0.2.1"}, false,
			[]string{"192.0.2.1", "192.0.2.2"}, "192.0.2.2", 10 * time.Millisecond},
		{"all fail", nil, []string{"192.0.2.1", "192.0.2.2"}, false, []string{"192.0.2.1", "192.0.2.2"}, "", 0},
		{"none answers in time", map[string]time.Duration{"192.0.2.1": never, "192.0.2.2": never}, nil, false, []string{"192.0.2.1", "192.0.2.2"}, "", 10 * time.Second},
		{"a connection that comes too late is closed", map[string]time.Duration{"192.0.2.1": 300 * time.Millisecond, "192.0.2.2": 40 * time.Millisecond}, nil, true,
			[]string{"192.0.2.1", "192.0.2.2"}, "192.0.2.2", 300 * time.Millisecond},
		{"a black hole costs one stagger", map[string]time.Duration{"2001:db8::1": never}, nil, false, []string{"2001:db8::1", "192.0.2.1"}, "192.0.2.1", stagger},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened, closed atomic.Int32
				dial := func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
					delay := tt.delay[addr.Addr().String()]
					if delay == never {
						delay = time.Hour
					}
					cancelled := ctx.Done()
					if tt.deaf {
						cancelled = nil
					}
					select {
					case <-cancelled:
						return nil, ctx.Err()
					case <-time.After(delay):
					}
					if slices.Contains(tt.fails, addr.Addr().String()) {
						return nil, errors.New("refused")
					}
					opened.Add(1)
					return closing{closed: &closed}, nil
				}
				var addrs []netip.Addr
				for _, a := range tt.order {
					addrs = append(addrs, netip.MustParseAddr(a))
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), connectTimeout)
				defer cancel()
				conn, addr, err := dialFirst(ctx, addrs, 443, dial)
				if (conn == nil) != (tt.want == "") || (err != nil) != (tt.want == "") || conn != nil && addr.String() != tt.want {
					t.Errorf("dialled %v, %v; want %s", addr, err, tt.want)
				}
				if took := time.Since(began); took != tt.after {
					t.Errorf("took %v, want %v", took, tt.after)
				}
				if left := opened.Load() - closed.Load(); conn != nil && left != 1 || conn == nil && left != 0 {
					t.Errorf("%d connections are left open", left)
				}
			})
		})
	}
}

func TestConnectIsBoundedInTime(t *testing.T) {
	stuck := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	synctest.Test(t, func(t *testing.T) {
		s := &Server{
			Resolve:   func(ctx context.Context, _ hostname.Name) ([]netip.Addr, error) { return nil, stuck(ctx) },
			HostAddrs: func() ([]netip.Addr, error) { return nil, nil },
		}
		began := time.Now()
		_, _, err := s.connect(t.Context(), policy.Request{Host: "slow.test", Port: 443}, policy.Decision{Verdict: policy.Allow})
		if took := time.Since(began); err == nil || took != connectTimeout {
			t.Errorf("a stuck resolver holds a flow for %v: %v", took, err)
		}
	})
}

func TestHostAddressesThatCannotBeListedDeny(t *testing.T) {
	s := &Server{HostAddrs: func() ([]netip.Addr, error) { return nil, errors.New("no netlink") }}
	addr := []netip.Addr{netip.MustParseAddr(publicAddr)}
	if got, err := s.permitted("a.test", policy.Decision{Verdict: policy.Allow}, addr); err == nil {
		t.Errorf("permitted %v", got)
	}
	s.HostAddrs = func() ([]netip.Addr, error) { return nil, nil }
	if got, err := s.permitted("a.test", policy.Decision{Verdict: policy.Allow}, addr); err != nil || len(got) != 1 {
		t.Errorf("control: permitted %v, %v", got, err)
	}
}

func TestInterleave(t *testing.T) {
	var addrs []netip.Addr
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"} {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	if got, want := fmt.Sprint(interleave(addrs)), "[2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 192.0.2.3]"; got != want {
		t.Errorf("order is %s, want %s", got, want)
	}
	if n := len(interleave(slices.Repeat(addrs, 100))); n != maxAddrs {
		t.Errorf("%d addresses are tried", n)
	}
}

// Where everything is allowed, the host's own addresses are not: its services trust its firewall.
func TestHostsAddressesAreNotAllowedByDefault(t *testing.T) {
	l := newLab(t, "93.184.0.98")
	l.HostAddrs = func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("93.184.0.99"), netip.MustParseAddr("93.184.0.98")}, nil
	}
	l.rules.Default = policy.Allow
	for _, addr := range []string{"93.184.0.99", "93.184.0.98", "93.184.0.97"} {
		l.host(addr+":80", echo)
	}
	l.start()
	for addr, want := range map[string]int{"93.184.0.99": 0, "93.184.0.98": 1, "93.184.0.97": 1} {
		_, before := l.seen()
		conn := l.open(netip.MustParseAddrPort(addr + ":80"))
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: " + addr + "\r\nConnection: close\r\n\r\n"))
		_, _ = io.ReadAll(conn)
		if _, after := l.seen(); len(after)-len(before) != want {
			t.Errorf("%s is dialled %d times, want %d", addr, len(after)-len(before), want)
		}
	}
}
