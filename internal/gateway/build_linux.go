package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Ports that our sockets listen on in the gateway's namespace, where nothing else lives. TPROXY hands the
// TCP connections to every port but 53 to portFlows; questions to port 53 of any address are local anyway,
// and must be answered from that port.
const (
	portFlows = 15001
	portDNS   = 53
)

// Without leaves out what a kernel may lack, as if it did. The zero value takes what there is.
type Without struct {
	TPROXY bool // connections are redirected instead
	Queue  bool // handshakes are not held
}

// Build connects the calling process's network namespace to a new gateway namespace and returns the
// gateway's sockets, in the order that Open takes: TCP flows, DNS over TCP, DNS over UDP and, where the kernel
// has it, the queue of handshakes. It needs CAP_NET_ADMIN in the user namespace that owns both. The sockets keep
// the gateway's namespace alive; when they are closed and the sandbox is gone, the kernel removes everything.
//
// The sandbox's processes must never get a descriptor of these sockets.
func Build(w Without) ([]*os.File, error) {
	type result struct {
		files []*os.File
		err   error
	}
	done := make(chan result)
	go func() {
		// The thread enters the gateway's namespace and is never reused: a goroutine that ends while
		// locked takes its thread along.
		runtime.LockOSThread()
		files, err := build(w)
		done <- result{files, err}
	}()
	r := <-done
	return r.files, r.err
}

func build(w Without) ([]*os.File, error) {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	inside, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open netlink: %w", err)
	}
	defer inside.Close()

	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("cannot make the gateway's network namespace: %w", err)
	}
	// These switches follow the thread that writes them, so they are the gateway's own. No IPv6: the
	// sandbox has none, so its attempts fail at once. No rate limit: a refused datagram is answered
	// every time, which is what makes QUIC fall back quickly.
	for name, value := range map[string]string{
		"ipv6/conf/default/disable_ipv6": "1",
		"ipv4/icmp_ratelimit":            "0",
		"ipv4/icmp_msgs_per_sec":         "1000000", // each namespace's own since linux 6.13
		"ipv4/icmp_msgs_burst":           "10000",
	} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("cannot set net/%s: %w", name, err)
		}
	}
	outside, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open netlink: %w", err)
	}
	defer outside.Close()

	if err := outside.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: "sandbox"},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(int(home.Fd())),
	}); err != nil {
		return nil, fmt.Errorf("cannot make the link between sandbox and gateway: %w", err)
	}
	if err := configureGateway(outside); err != nil {
		return nil, fmt.Errorf("cannot configure the gateway: %w", err)
	}
	transparent, queue, err := setRules("sandbox", w)
	if err != nil {
		return nil, err
	}
	files, err := listen(transparent)
	if err == nil {
		if err = configureSandbox(inside); err != nil {
			err = fmt.Errorf("cannot configure the sandbox's network: %w", err)
		}
	}
	if err == nil {
		err = awaitLink(outside, "sandbox")
	}
	if queue != nil {
		files = append(files, queue)
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

// setRules finds out by trying what the kernel has. Which of the two ways leads connections to their socket nobody can
// tell inside; the first needs no connection tracking and is faster.
func setRules(link string, w Without) (transparent bool, queue *os.File, err error) {
	if !w.TPROXY {
		err = steer(link)
		transparent = err == nil
	}
	if !transparent {
		if e := redirect(link); e != nil {
			return false, nil, fmt.Errorf("cannot set the gateway's packet rules (nftables with TPROXY, or with REDIRECT): %w", errors.Join(err, e))
		}
	}
	if w.Queue {
		return transparent, nil, nil
	}
	queue, err = hold(link)
	if err != nil {
		return false, nil, fmt.Errorf("cannot have the gateway hold connections: %w", err)
	}
	return transparent, queue, nil
}

// configureGateway makes every destination local: whatever address the sandbox asks for, it is ours.
func configureGateway(h *netlink.Handle) error {
	lo, err := up(h, "lo", "")
	if err != nil {
		return err
	}
	if _, err := up(h, "sandbox", Gateway); err != nil {
		return err
	}
	return h.RouteAdd(&netlink.Route{
		LinkIndex: lo,
		Dst:       ipNet("0.0.0.0/0"),
		Type:      unix.RTN_LOCAL,
		Scope:     netlink.SCOPE_HOST,
		Table:     unix.RT_TABLE_MAIN,
	})
}

func configureSandbox(h *netlink.Handle) error {
	eth0, err := up(h, "eth0", Sandbox)
	if err != nil {
		return err
	}
	if err := h.RouteAdd(&netlink.Route{LinkIndex: eth0, Dst: ipNet("0.0.0.0/0"), Gw: net.ParseIP(Gateway)}); err != nil {
		return err
	}
	for _, dst := range martians() {
		if err := h.RouteAdd(&netlink.Route{Dst: ipNet(dst), Type: unix.RTN_UNREACHABLE}); err != nil {
			return err
		}
	}
	return nil
}

// martians are the ranges that the gateway's kernel would drop: connections there fail in the sandbox at once instead
// of timing out.
func martians() []string { return []string{"0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"} }

// up gives the link an address, when one is given, brings it up and returns its index.
func up(h *netlink.Handle, name, addr string) (int, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if addr != "" {
		a := &netlink.Addr{IPNet: ipNet(fmt.Sprintf("%s/%d", addr, LinkBits))}
		if err := h.AddrAdd(link, a); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	return link.Attrs().Index, h.LinkSetUp(link)
}

// awaitLink waits until the kernel sends on the link, which it does some time after both ends are up. What it drops
// until then, the sandbox would send again after a second.
func awaitLink(h *netlink.Handle, name string) error {
	const patience, pause = 2 * time.Second, 100 * time.Microsecond
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if link.Attrs().OperState == netlink.OperUp || time.Now().After(deadline) {
			return nil
		}
	}
}

// ipNet keeps the host bits of prefix: an interface address needs them.
func ipNet(prefix string) *net.IPNet {
	p := netip.MustParsePrefix(prefix)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// Loopback brings up lo in the calling process's network namespace, for a sandbox without a gateway.
func Loopback() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	_, err = up(h, "lo", "")
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// listen opens the sockets; when it fails, those that are returned are open.
func listen(transparent bool) (files []*os.File, err error) {
	for _, s := range []struct {
		name       string
		kind, port int
	}{
		{"flows", unix.SOCK_STREAM, portFlows},
		{"dns-tcp", unix.SOCK_STREAM, portDNS},
		{"dns-udp", unix.SOCK_DGRAM, portDNS},
	} {
		fd, err := unix.Socket(unix.AF_INET, s.kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return files, fmt.Errorf("cannot make the %s socket: %w", s.name, err)
		}
		files = append(files, os.NewFile(uintptr(fd), s.name))
		// Transparent: accept connections to, and answer from, addresses that are not configured. What is redirected
		// goes to one that is, and Open tells the two by this.
		if transparent || s.port != portFlows {
			if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1); err != nil {
				return files, fmt.Errorf("cannot make the %s socket transparent: %w", s.name, err)
			}
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: s.port}); err != nil {
			return files, fmt.Errorf("cannot bind the %s socket: %w", s.name, err)
		}
		if s.kind == unix.SOCK_STREAM {
			if err := unix.Listen(fd, 4096); err != nil {
				return files, fmt.Errorf("cannot listen on the %s socket: %w", s.name, err)
			}
		}
	}
	return files, nil
}
