package hostname

import (
	"fmt"
	"net/netip"
)

// Class says what kind of place an address is. Only Public is a place on the internet.
type Class int

// The classes. An address of any other class than Public is somewhere that only this host, its network
// or its cloud can reach: what a hostile name server answers with to borrow that position.
const (
	Unknown       Class = iota // not an address; denied
	Public                     // global unicast
	Loopback                   // RFC 1122 127/8, RFC 4291 ::1: services of the host that trust their caller
	Private                    // RFC 1918, RFC 4193, and RFC 3879's site-local: the host's LAN, its VPN, its containers
	LinkLocal                  // RFC 3927, RFC 4291 fe80::/10: neighbours, and many clouds' services
	Metadata                   // the addresses where clouds give credentials to whoever asks
	CGNAT                      // RFC 6598 100.64/10: carriers' inside, overlay networks, cloud services
	Multicast                  // RFC 5771, RFC 4291: discovery protocols of the LAN
	Reserved                   // everything without a clear meaning, broadcast (RFC 919) among it
	Documentation              // RFC 5737, RFC 3849, RFC 9637: nobody is there, or a lab is
	Benchmark                  // RFC 2544 198.18/15, RFC 5180: what our own made-up answers are taken from
	Unspecified                // RFC 1122 0/8, "::": Linux connects 0.0.0.0 to itself
)

// String returns the class as one word or two for a sentence.
func (c Class) String() string {
	switch c {
	case Public:
		return "public"
	case Loopback:
		return "loopback"
	case Private:
		return "private"
	case LinkLocal:
		return "link-local"
	case Metadata:
		return "cloud metadata"
	case CGNAT:
		return "shared (CGNAT)"
	case Multicast:
		return "multicast"
	case Reserved:
		return "reserved"
	case Documentation:
		return "documentation"
	case Benchmark:
		return "benchmark"
	case Unspecified:
		return "unspecified"
	}
	return "unknown"
}

// ParseAddr reads an IP address in its one canonical spelling (RFC 5952 for IPv6): no zone, no leading
// zeros, no capitals, no IPv4 written as IPv6. Parsers differ on every other spelling (CVE-2021-29923,
// CVE-2024-24790).
func ParseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address in its usual spelling", s)
	}
	if canon := a.Unmap().WithZone("").String(); canon != s {
		return netip.Addr{}, fmt.Errorf("IP address %q is not in canonical form: write %s", s, canon)
	}
	return a, nil
}

// Classify says what kind of place a is. An IPv6 address that carries an IPv4 address is what that one
// is, because some gateway would deliver it there; when that is public but the carrier is obsolete, it
// is Reserved. A NAT64 prefix of the network's own choice (RFC 6052) cannot be recognised.
func Classify(a netip.Addr) Class {
	a = a.WithZone("")
	switch {
	case !a.IsValid():
		return Unknown
	case a.Is4():
		return lookup(a, ranges4(), Public)
	case a.Is4In6():
		return Classify(a.Unmap())
	}
	b := a.As16()
	embedded := func(at int) Class { return Classify(netip.AddrFrom4([4]byte(b[at : at+4]))) }
	switch {
	case within(a, "64:ff9b::/96"):
		return embedded(12) // RFC 6052 NAT64, in daily use where there is no IPv4
	case within(a, "2002::/16"):
		return notPublic(embedded(2)) // RFC 3056 6to4
	case within(a, "2001::/32"):
		for i := 12; i < 16; i++ {
			b[i] ^= 0xff // RFC 4380: the client's address is stored inverted
		}
		// The server's address is in there too, and is where packets are first sent.
		if server := notPublic(embedded(4)); server != Reserved {
			return server
		}
		return notPublic(embedded(12))
	case within(a, "::/96") && b[12] != 0:
		return notPublic(embedded(12)) // RFC 4291 section 2.5.5.1, deprecated
	}
	return lookup(a, ranges6(), Reserved)
}

func notPublic(c Class) Class {
	if c == Public {
		return Reserved
	}
	return c
}

func within(a netip.Addr, prefix string) bool { return netip.MustParsePrefix(prefix).Contains(a) }

type addrRange struct {
	prefix string
	class  Class
}

func lookup(a netip.Addr, ranges []addrRange, otherwise Class) Class {
	for _, r := range ranges {
		if within(a, r.prefix) {
			return r.class
		}
	}
	return otherwise
}

// ranges4 is the IANA IPv4 special-purpose registry, and the clouds' metadata; the first match counts.
func ranges4() []addrRange {
	return []addrRange{
		{"169.254.169.254/32", Metadata}, // AWS, Google, Azure, Oracle and most others
		{"169.254.170.2/32", Metadata},   // AWS ECS task credentials
		{"169.254.170.23/32", Metadata},  // AWS EKS pod identity
		{"169.254.0.23/32", Metadata},    // Tencent
		{"100.100.100.200/32", Metadata}, // Alibaba
		{"168.63.129.16/32", Metadata},   // Azure's wire server, a public address that never leaves the host
		{"192.0.0.192/32", Metadata},     // Oracle, older
		{"0.0.0.0/8", Unspecified},
		{"10.0.0.0/8", Private},
		{"100.64.0.0/10", CGNAT},
		{"127.0.0.0/8", Loopback},
		{"169.254.0.0/16", LinkLocal},
		{"172.16.0.0/12", Private},
		{"192.0.0.0/24", Reserved}, // RFC 6890 protocol assignments
		{"192.0.2.0/24", Documentation},
		{"192.88.99.0/24", Reserved}, // RFC 7526, once the 6to4 relay
		{"192.168.0.0/16", Private},
		{"198.18.0.0/15", Benchmark},
		{"198.51.100.0/24", Documentation},
		{"203.0.113.0/24", Documentation},
		{"224.0.0.0/4", Multicast},
		{"240.0.0.0/4", Reserved}, // RFC 1112 class E, and 255.255.255.255
	}
}

// ranges6 is the same for IPv6, where only 2000::/3 has been given out.
func ranges6() []addrRange {
	return []addrRange{
		{"fd00:ec2::254/128", Metadata},   // AWS
		{"fd00:ec2::23/128", Metadata},    // AWS EKS pod identity
		{"fd20:ce::254/128", Metadata},    // Google
		{"fe80::a9fe:a9fe/128", Metadata}, // OpenStack
		{"::/128", Unspecified},
		{"::1/128", Loopback},
		{"fc00::/7", Private},
		{"fe80::/10", LinkLocal},
		{"fec0::/10", Private},
		{"ff00::/8", Multicast},
		{"2001:2::/48", Benchmark},
		{"2001:db8::/32", Documentation},
		{"3fff::/20", Documentation},
		{"2001::/23", Reserved}, // RFC 2928 protocol assignments, ORCHID among them
		{"2000::/3", Public},
	}
}
