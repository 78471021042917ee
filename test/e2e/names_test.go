//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// resolver is the only DNS server that the supervisor knows; it knows no name and remembers all questions.
type resolver struct {
	mu    sync.Mutex
	asked []string
}

func (r *resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	r.mu.Lock()
	r.asked = append(r.asked, strings.ToLower(strings.TrimSuffix(q.Question[0].Name, ".")))
	r.mu.Unlock()
	_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNameError))
}

func (r *resolver) heard(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.asked, name)
}

// serveResolver makes a network of nothing but a loopback with a DNS server, in a cell.
func serveResolver(t *testing.T) *resolver {
	t.Helper()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{}
	server := &dns.Server{PacketConn: conn, Handler: r}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cover(t, "/etc/resolv.conf", conf)
	return r
}

func TestDeniedNamesAreNotLookedUp(t *testing.T) {
	needCurl(t)
	if !inCell(t, unix.CLONE_NEWNET) {
		return
	}
	r := serveResolver(t)
	u := newUser(t)
	u.box("--allow", "*.allowed.test:8099")
	u.inside("box", curl+"http://good.allowed.test:8099")
	if !r.heard("good.allowed.test") {
		t.Fatal("the control shows that this resolver is not even asked for an allowed name")
	}
	for _, c := range []struct{ name, probe, asked string }{
		{"connecting to it", curl + "http://tcp.denied.test:8099", "tcp.denied.test"},
		{"an allowed name at another port", curl + "http://port.allowed.test:22", "port.allowed.test"},
		{"only resolving it", "getent hosts only.denied.test", "only.denied.test"},
		{"resolving an allowed name", "getent hosts idle.allowed.test", "idle.allowed.test"},
		{"a secret in a name", "getent hosts c2VjcmV0.denied.test", "c2vjcmv0.denied.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := u.inside("box", c.probe)
			if r.heard(c.asked) {
				t.Errorf("the host's resolver was asked: %s", got)
			}
		})
	}
	audit, err := os.ReadFile(filepath.Join(u.sandboxDir("box"), "audit.jsonl"))
	if !strings.Contains(string(audit), "tcp.denied.test") || err != nil {
		t.Errorf("the audit record lacks the denied name (%v):\n%s", err, audit)
	}
}
