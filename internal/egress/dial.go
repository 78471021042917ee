package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// connectTimeout bounds resolution and dialling together.
	connectTimeout = 10 * time.Second
	// stagger is the delay before the next address is tried (RFC 8305 section 5).
	stagger = 250 * time.Millisecond
	// maxAddrs bounds how many addresses of one name are tried.
	maxAddrs = 16
)

// refusal is the error of a connection that was allowed by its name and denied by where that leads.
type refusal struct {
	policy.Decision
	addr netip.Addr // the first that was refused
}

func (r refusal) Error() string { return r.Reason }

// connect resolves req once, checks every address, and dials those that may be dialled: there is no
// second look-up between check and use whose answer could differ. Its error is a refusal when none may.
func (s *Server) connect(ctx context.Context, req policy.Request, d policy.Decision) (net.Conn, netip.Addr, error) {
	if d.Verdict != policy.Allow {
		return nil, netip.Addr{}, refusal{d, req.Addr}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	addrs := []netip.Addr{req.Addr}
	if req.Host != "" {
		found, err := s.resolve(ctx, req.Host)
		if err != nil {
			return nil, netip.Addr{}, fmt.Errorf("cannot resolve %s: %w", req.Host, err)
		}
		if addrs, err = s.permitted(req.Host, d, found); err != nil {
			return nil, netip.Addr{}, err
		}
	} else if d.Rule == "" {
		if why := s.whyOwn(req.Addr); why != "" {
			return nil, netip.Addr{}, refusal{policy.Decision{Reason: why}, req.Addr}
		}
	}
	dial := s.Dial
	if dial == nil {
		dial = dialHost
	}
	return dialFirst(ctx, interleave(addrs), req.Port, dial)
}

func (s *Server) resolve(ctx context.Context, name hostname.Name) ([]netip.Addr, error) {
	if name == policy.HostAlias {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	resolve := s.Resolve
	if resolve == nil {
		resolve = resolveHost
	}
	addrs, err := resolve(ctx, name)
	if err == nil && len(addrs) == 0 {
		err = errors.New("it has no address")
	}
	return addrs, err
}

// permitted keeps the addresses that d opens. Its error is a refusal that names the first other one.
func (s *Server) permitted(name hostname.Name, d policy.Decision, found []netip.Addr) ([]netip.Addr, error) {
	own := sync.OnceValues(s.hostAddrs) // asks the kernel for more than a connection costs
	var addrs []netip.Addr
	var denied refusal
	for _, addr := range found {
		addr = addr.Unmap()
		checked := d.CheckAddr(name, addr)
		if checked.Verdict == policy.Allow && !d.Private {
			hosts, err := own()
			if err != nil {
				return nil, fmt.Errorf("cannot list the host's own addresses: %w", err)
			}
			if slices.Contains(hosts, addr) {
				checked = policy.Decision{Rule: d.Rule, Reason: fmt.Sprintf("%s leads to %s, an address of this host", name, addr)}
			}
		}
		if checked.Verdict == policy.Allow {
			addrs = append(addrs, addr)
		} else if !denied.addr.IsValid() {
			denied = refusal{checked, addr}
		}
	}
	if len(addrs) == 0 {
		return nil, denied
	}
	return addrs, nil
}

// whyOwn says why addr needs a rule that names it although it is public, "" when it does not: what listens there
// trusts this host's firewall.
func (s *Server) whyOwn(addr netip.Addr) string {
	own, err := s.hostAddrs()
	switch {
	case err != nil:
		return "cannot list the host's own addresses: " + err.Error()
	case slices.Contains(own, addr):
		return fmt.Sprintf("%s is an address of this host, and no rule names it", addr)
	}
	return ""
}

func (s *Server) hostAddrs() ([]netip.Addr, error) {
	if s.HostAddrs != nil {
		return s.HostAddrs()
	}
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok {
			addr, _ := netip.AddrFromSlice(n.IP)
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}

// resolveHost asks the host's resolver. A name with a dot is asked as it is: the host's search list
// would turn a name that does not exist into one below somebody else's domain.
func resolveHost(ctx context.Context, name hostname.Name) ([]netip.Addr, error) {
	host := string(name)
	if strings.Contains(host, ".") {
		host += "."
	}
	r := net.Resolver{PreferGo: true} // the same with and without cgo
	return r.LookupNetIP(ctx, "ip", host)
}

func dialHost(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr.String())
}

// interleave alternates the families, IPv6 first, so that a broken one costs one stagger (RFC 8305
// section 4).
func interleave(addrs []netip.Addr) []netip.Addr {
	var six, four, mixed []netip.Addr
	for _, a := range addrs {
		if a.Is6() {
			six = append(six, a)
		} else {
			four = append(four, a)
		}
	}
	for i := range max(len(six), len(four)) {
		mixed = append(mixed, six[min(i, len(six)):min(i+1, len(six))]...)
		mixed = append(mixed, four[min(i, len(four)):min(i+1, len(four))]...)
	}
	return mixed[:min(len(mixed), maxAddrs)]
}

// dialFirst dials addrs one after the other, without waiting for a slow one longer than stagger, and
// returns the first connection. The others are ended before it returns. The address in an error's place
// is the first one, for the record.
func dialFirst(ctx context.Context, addrs []netip.Addr, port uint16, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, netip.Addr, error) {
	if len(addrs) == 1 { // as most names have
		conn, err := dial(ctx, netip.AddrPortFrom(addrs[0], port))
		return conn, addrs[0], err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		addr netip.Addr
		err  error
	}
	results := make(chan result)
	var won result
	var errs []error
	next := time.NewTimer(0)
	defer next.Stop()
	for rest, pending := addrs, 0; len(rest) > 0 || pending > 0; {
		select {
		case <-next.C:
			if len(rest) == 0 {
				continue
			}
			addr := rest[0]
			rest = rest[1:]
			pending++
			go func() {
				conn, err := dial(ctx, netip.AddrPortFrom(addr, port))
				results <- result{conn, addr, err}
			}()
			next.Reset(stagger)
		case r := <-results:
			pending--
			switch {
			case r.err != nil:
				errs = append(errs, r.err)
				next.Reset(0)
			case won.conn == nil:
				won, rest = r, nil
				cancel()
			default:
				_ = r.conn.Close()
			}
		}
	}
	if won.conn == nil {
		return nil, addrs[0], errors.Join(errs...)
	}
	return won.conn, won.addr, nil
}
