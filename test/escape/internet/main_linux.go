// Command internet is the world in which test/escape makes its network attacks: a network namespace where every
// address is answered, one name server for all names, web servers with an authority of their own, and somebody who
// writes down every packet that comes. Beside it lies the near namespace, where bailey and the controls run; its only
// way leads here, and from here none leads on. Started in new user, mount and network namespaces:
//
//	internet DIR ROOT
//
// It writes DIR/ca.pem, puts a resolv.conf of its own over the near namespace's, prints READY, and appends a line to
// DIR/events for each thing that it sees, until its standard input ends. ROOT is the directory of all tests, which DIR lies in. It knows nothing of bailey.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses that are public everywhere else, so that whoever classifies them takes them for what they seem.
const (
	nearAddr4, nearAddr6 = "45.90.28.2/24", "2a0d:28::2/64"
	farAddr4, farAddr6   = "45.90.28.1/24", "2a0d:28::1/64"
	resolver             = "45.90.28.53"
)

func main() {
	runtime.LockOSThread() // stays in the near namespace
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: internet DIR ROOT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "internet:", err)
		os.Exit(1)
	}
}

func run(dir, root string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		if err := ownScratch(root); err != nil {
			return fmt.Errorf("cannot make a scratch directory: %w", err)
		}
	}
	if err := coverNames(dir); err != nil {
		return fmt.Errorf("cannot cover the resolver's configuration: %w", err)
	}
	events, err := newEvents(filepath.Join(dir, "events"))
	if err != nil {
		return err
	}
	world, err := newAuthority(dir)
	if err != nil {
		return err
	}
	far, joined, ready := make(chan int), make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		ready <- serveFar(far, joined, events, world)
		select {} // sockets keep the namespace, and the thread must not be reused
	}()
	if err := joinNear(far, joined, ready); err != nil {
		return fmt.Errorf("cannot make the network: %w", err)
	}
	if err := serveNear(events); err != nil {
		return err
	}
	// Here a user may ping as on most machines, without any right.
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", fmt.Appendf(nil, "%d %[1]d", os.Getgid()), 0); err != nil {
		return err
	}
	fmt.Println("READY")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// ownScratch puts root onto a directory of the user's own: in a user's namespace, root, to whom what lies above it
// belongs, is nobody. Subordinate ids are out of reach there.
func ownScratch(root string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	if err := unix.Mount("scratch", filepath.Dir(root), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, root, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		if err := unix.Mount(os.DevNull, file, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// coverNames gives this mount namespace a resolver and no other names.
func coverNames(dir string) error {
	for name, text := range map[string]string{"resolv.conf": "nameserver " + resolver + "\noptions timeout:2 attempts:1\n", "hosts": "127.0.0.1 localhost\n"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, "/etc/"+name, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// joinNear makes the pair of links, and lets the far thread go on with its end.
func joinNear(far chan int, joined chan struct{}, ready chan error) error {
	var ns int
	select {
	case ns = <-far:
	case err := <-ready:
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return err
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near0"}, PeerName: "far0", PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	near, err := address("near0", nearAddr4, nearAddr6)
	if err != nil {
		return err
	}
	close(joined)
	if err := <-ready; err != nil {
		return err
	}
	for _, gw := range []string{farAddr4, farAddr6} {
		ip, _, _ := net.ParseCIDR(gw)
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: near.Attrs().Index, Gw: ip}); err != nil {
			return err
		}
	}
	return nil
}

// address gives a link its addresses, without asking whether anybody else has them.
func address(name string, cidrs ...string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	for _, cidr := range cidrs {
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return nil, err
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			return nil, err
		}
	}
	return link, netlink.LinkSetUp(link)
}

// serveFar makes the far namespace, in which every address is local, and listens there.
func serveFar(far chan int, joined chan struct{}, e *events, world *authority) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	far <- ns
	<-joined
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return err
	}
	far0, err := address("far0", farAddr4, farAddr6, resolver+"/32")
	if err != nil {
		return err
	}
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		_, dst, _ := net.ParseCIDR(all)
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST}); err != nil {
			return err
		}
	}
	return errors.Join(capture(far0.Attrs().Index, e), serveDNS(e), serveWeb(e, world), serveRaw(e))
}

// serveNear listens where only the near namespace's own programs should come: its loopback and its own address.
func serveNear(e *events) error {
	for _, port := range []string{"80", "443", "8080"} {
		ln, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		accept(ln, func(c net.Conn) {
			e.add("near %s", c.LocalAddr())
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nNEAR\n")
		})
	}
	return nil
}

// accept serves each connection in a goroutine.
func accept(ln net.Listener, serve func(net.Conn)) {
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
}

// events is the file that whoever judges reads.
type events struct {
	mu   sync.Mutex
	file *os.File
}

func newEvents(name string) (*events, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return &events{file: f}, err
}

// add appends one line; what came from outside is in it without control characters.
func (e *events) add(format string, a ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '.'
		}
		return r
	}, fmt.Sprintf(format, a...))
	fmt.Fprintln(e.file, line)
}
