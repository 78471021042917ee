//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// listener counts connections, which is how a test sees from outside whether one came through.
type listener struct {
	net.Listener
	count atomic.Int64
}

// listen answers every connection as a web server would.
func listen(t *testing.T, network, address string) *listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: ln}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			l.count.Add(1)
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprint(conn, "HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nREACHED\n")
			}
			_ = conn.Close()
		}
	}()
	return l
}

func (l *listener) port() string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// heard tells how many connections came since the last call.
func (l *listener) heard() int64 { return l.count.Swap(0) }

func needCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		machine.Lack(t, "curl", err.Error())
	}
}

const curl = "curl -sS --noproxy '*' --connect-timeout 5 --max-time 10 "

// ownAddress is an address of this host that is not the loopback's, "" when it has none.
func ownAddress(t *testing.T) string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	return ""
}

func TestOnlyAllowedPlacesAreReached(t *testing.T) {
	needCurl(t)
	u := newUser(t)
	allowed, denied := listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "0.0.0.0:0")
	u.box("--allow", "host.bailey.internal:"+allowed.port())
	if got := u.inside("box", curl+"http://host.bailey.internal:"+allowed.port()); got != "REACHED\n" || allowed.heard() != 1 {
		t.Fatalf("the allowed port is not reached: %s", got)
	}
	gateway := "$(awk '/^nameserver/ { print $2; exit }' /etc/resolv.conf)"
	probes := []struct{ name, host string }{
		{"the allowed name at another port", "host.bailey.internal"},
		{"the loopback address", "127.0.0.1"},
		{"another loopback address", "127.1.2.3"},
		{"the loopback's name", "localhost"},
		{"the loopback address in IPv6's clothes", "[::ffff:127.0.0.1]"},
		{"no address", "0.0.0.0"},
		{"the gateway", gateway},
		{"a name that leads to the loopback", "127.0.0.1.nip.io"},
	}
	if own := ownAddress(t); own != "" {
		probes = append(probes, struct{ name, host string }{"the host's own address", own})
		if u.outside(curl + "http://" + own + ":" + denied.port()); denied.heard() != 1 {
			t.Errorf("the control does not reach %s", own)
		}
	}
	if u.outside(curl + "http://127.0.0.1:" + denied.port()); denied.heard() != 1 {
		t.Error("the control does not reach the loopback address")
	}
	for _, p := range probes {
		t.Run(p.name, func(t *testing.T) {
			got := u.inside("box", curl+`"http://`+p.host+":"+denied.port()+`"`)
			if strings.Contains(got, "REACHED") || denied.heard() != 0 {
				t.Errorf("it was reached: %s", got)
			}
			if strings.Contains(got, "(28)") {
				t.Errorf("it was not refused but left to time out: %s", got)
			}
		})
	}
}

// Whoever is refused learns why, and which command helps, also where the connection itself is refused.
func TestARefusalTeaches(t *testing.T) {
	needCurl(t)
	u := newUser(t)
	u.box()
	for _, c := range []struct{ name, args, want string }{
		{"in the clear", "http://evil.example.com/a", "bailey allow --sandbox box --method GET evil.example.com\n"},
		{"in TLS", "-X PUT https://evil.example.com/a", "bailey allow --sandbox box --method PUT evil.example.com\n"},
		{"in TLS, HTTP/1", "--http1.1 https://evil.example.com/a", "bailey allow --sandbox box --method GET evil.example.com\n"},
		{"at another port", "http://evil.example.com:8080/", "bailey allow --sandbox box --method GET evil.example.com:8080\n"},
		{"to the host", "http://host.bailey.internal:1/", "bailey allow --sandbox box --method GET host.bailey.internal:1\n"},
		{"to an address", "http://192.0.2.1/", "bailey allow --sandbox box --method GET 192.0.2.1\n"},
		{"for a program", "-H 'Accept: application/json' https://evil.example.com/", `"allow":"bailey allow --sandbox box --method GET evil.example.com"`},
		{"what is allowed, for a program", "-H 'Accept: application/json' http://bailey.internal/", `"default":"deny"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := u.inside("box", curl+c.args); !strings.Contains(got, c.want) {
				t.Errorf("%q is not in %q", c.want, got)
			}
		})
	}
	if got := u.inside("box", "getent hosts printer.local; getent hosts nobody; echo $?"); got != "2\n" {
		t.Errorf("names of the local kind exist: %q", got)
	}
	if got := u.inside("box", curl+"telnet://evil.example.com:22"); !strings.Contains(got, "curl: (") || strings.Contains(got, "(28)") {
		t.Errorf("SSH to a refused host: %q", got)
	}
}

func TestAnAddressIsReachedWhenTheUserAllowsIt(t *testing.T) {
	needCurl(t)
	u := newUser(t)
	own := ownAddress(t)
	if own == "" {
		machine.Lack(t, "address", "no address but the loopback's")
	}
	l := listen(t, "tcp4", "0.0.0.0:0")
	u.box("--allow", "private:"+own+":"+l.port())
	if got := u.inside("box", curl+"http://"+own+":"+l.port()); got != "REACHED\n" || l.heard() != 1 {
		t.Errorf("it is not reached: %s", got)
	}
}

func TestWithoutANetworkNothingIsReached(t *testing.T) {
	needCurl(t)
	u := newUser(t)
	l := listen(t, "tcp4", "0.0.0.0:0")
	u.box("--network", "none")
	got := u.inside("box", fmt.Sprintf(curl+"http://host.bailey.internal:%s; "+curl+"http://127.0.0.1:%s; ls /sys/class/net /proc/sys/net/ipv4/conf", l.port(), l.port()))
	if strings.Contains(got, "REACHED") || l.heard() != 0 {
		t.Errorf("the host was reached: %s", got)
	}
}

func TestTheHostsSocketsAreOutOfReach(t *testing.T) {
	needCurl(t)
	u := newUser(t)
	// Short, for the limit of a socket's path; where agents and engines put theirs.
	agents, err := os.MkdirTemp("/tmp", "ssh-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(agents) })
	places := []struct{ name, address, probe string }{
		{"an agent's in /tmp", agents + "/agent.1", "--unix-socket " + agents + "/agent.1"},
		{"an engine's in the home", u.home + "/docker.sock", "--unix-socket ../../docker.sock"},
		{"one in the project", u.project + "/daemon.sock", "--unix-socket daemon.sock"},
		{"an abstract one", "@bailey-e2e-" + filepath.Base(agents), "--abstract-unix-socket bailey-e2e-" + filepath.Base(agents)},
	}
	var listeners []*listener
	for _, p := range places {
		listeners = append(listeners, listen(t, "unix", p.address))
	}
	u.env = append(u.env, "SSH_AUTH_SOCK="+agents+"/agent.1", "DBUS_SESSION_BUS_ADDRESS=unix:path="+agents+"/agent.1")
	u.box()
	for i, p := range places {
		t.Run(p.name, func(t *testing.T) {
			probe := curl + p.probe + " http://socket.test/"
			if got := u.outside(probe); !strings.Contains(got, "REACHED") || listeners[i].heard() != 1 {
				t.Fatalf("the control does not reach it: %s", got)
			}
			if got := u.inside("box", probe); strings.Contains(got, "REACHED") || listeners[i].heard() != 0 {
				t.Errorf("it was reached: %s", got)
			}
		})
	}
	got := u.inside("box", "env; ls -d /run/docker.sock /var/run/docker.sock /run/containerd /run/dbus /run/user /run/systemd /tmp/ssh-*")
	for _, line := range strings.Split(got, "\n") {
		if strings.HasPrefix(line, "SSH_AUTH_SOCK") || strings.HasPrefix(line, "DBUS_") || strings.HasPrefix(line, "/") {
			t.Errorf("inside there is %s", line)
		}
	}
}

func TestConnectingFailsAsOutside(t *testing.T) {
	u := newUser(t)
	open, closed := listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0")
	closed.Close()
	u.box("--allow", "tcp:host.bailey.internal:"+open.port(), "--allow", "tcp:host.bailey.internal:"+closed.port())
	if _, err := os.Stat("/proc/net/netfilter/nfnetlink_queue"); err != nil {
		machine.Lack(t, "queue", "the kernel cannot hold handshakes: "+err.Error())
	}
	connect := func(host, port string) string {
		return u.inside("box", fmt.Sprintf("bash -c 'exec 3<>/dev/tcp/%s/%s && echo connected'", host, port))
	}
	if got := connect("host.bailey.internal", open.port()); got != "connected\n" {
		t.Fatalf("control: where somebody listens: %s", got)
	}
	if got := connect("host.bailey.internal", closed.port()); !strings.Contains(got, "Connection refused") {
		t.Errorf("where nobody listens: %s", got)
	}
	if got := connect("203.0.113.7", "22"); !strings.Contains(got, "Connection refused") {
		t.Errorf("where it is denied: %s", got)
	}
	if log := u.must("policy", "log", "box"); !strings.Contains(log, "no rule allows 203.0.113.7:22") {
		t.Errorf("the record does not say what was denied: %s", log)
	}
}

func TestRulesChangeWhileASandboxRuns(t *testing.T) {
	u := newUser(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	u.box()
	open := fmt.Sprintf("exec 3<>/dev/tcp/host.bailey.internal/%s && echo open >&3 && cat <&3", port)
	if out := u.bailey("exec", "box", "bash", "-c", open); out.code == 0 {
		t.Fatal("it is reached before anybody allowed it")
	}
	rule := "tcp:host.bailey.internal:" + port
	u.must("allow", "--sandbox", "box", rule)
	u.must("exec", "-d", "box", "bash", "-c", open)
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("the connection brings %q, %v", line, err)
	}
	u.must("allow", "--rm", "--sandbox", "box", rule)
	if _, err := in.ReadString('\n'); err == nil || os.IsTimeout(err) {
		t.Errorf("the connection is not cut: %v", err)
	}
	if out := u.bailey("exec", "box", "bash", "-c", open); out.code == 0 {
		t.Error("it is reached after the rule was taken back")
	}
	if log := u.must("policy", "log", "box"); !strings.Contains(log, "the policy has changed: no rule allows host.bailey.internal:"+port) {
		t.Errorf("the record does not say why: %s", log)
	}
}
