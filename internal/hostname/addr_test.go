package hostname

import (
	"net/netip"
	"testing"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		addr string
		want Class
	}{
		{"1.1.1.1", Public}, {"8.8.8.8", Public}, {"93.184.215.14", Public}, {"223.255.255.255", Public},
		{"0.0.0.0", Unspecified}, {"0.0.0.1", Unspecified}, {"0.255.255.255", Unspecified}, {"1.0.0.0", Public},
		{"9.255.255.255", Public}, {"10.0.0.0", Private}, {"10.255.255.255", Private}, {"11.0.0.0", Public},
		{"100.63.255.255", Public}, {"100.64.0.0", CGNAT}, {"100.127.255.255", CGNAT}, {"100.128.0.0", Public},
		{"100.100.100.200", Metadata}, {"100.100.100.201", CGNAT},
		{"126.255.255.255", Public}, {"127.0.0.1", Loopback}, {"127.255.255.255", Loopback}, {"128.0.0.0", Public},
		{"168.63.129.16", Metadata}, {"168.63.129.17", Public},
		{"169.253.255.255", Public}, {"169.254.0.1", LinkLocal}, {"169.254.255.255", LinkLocal}, {"169.255.0.0", Public},
		{"169.254.169.254", Metadata}, {"169.254.170.2", Metadata}, {"169.254.170.23", Metadata}, {"169.254.0.23", Metadata},
		{"172.15.255.255", Public}, {"172.16.0.0", Private}, {"172.31.255.255", Private}, {"172.32.0.0", Public},
		{"192.0.0.1", Reserved}, {"192.0.0.192", Metadata}, {"192.0.1.0", Public}, {"192.0.2.1", Documentation}, {"192.0.3.0", Public},
		{"192.88.99.1", Reserved}, {"192.167.255.255", Public}, {"192.168.0.0", Private}, {"192.168.255.255", Private}, {"192.169.0.0", Public},
		{"198.17.255.255", Public}, {"198.18.0.1", Benchmark}, {"198.19.255.255", Benchmark}, {"198.20.0.0", Public},
		{"198.51.100.1", Documentation}, {"203.0.113.255", Documentation}, {"203.0.114.0", Public},
		{"224.0.0.1", Multicast}, {"239.255.255.255", Multicast}, {"240.0.0.1", Reserved}, {"255.255.255.255", Reserved},

		{"::", Unspecified}, {"::1", Loopback}, {"::2", Reserved}, {"::1:0", Reserved},
		{"::7f00:1", Loopback}, {"::a00:1", Private}, {"::a9fe:a9fe", Metadata}, {"::808:808", Reserved},
		{"::ffff:127.0.0.1", Loopback}, {"::ffff:10.1.2.3", Private}, {"::ffff:169.254.169.254", Metadata},
		{"::ffff:0.0.0.0", Unspecified}, {"::ffff:8.8.8.8", Public}, {"::ffff:0:8.8.8.8", Reserved},
		{"64:ff9b::7f00:1", Loopback}, {"64:ff9b::a9fe:a9fe", Metadata}, {"64:ff9b::c0a8:1", Private}, {"64:ff9b::808:808", Public},
		{"64:ff9b:0:0:0:1:808:808", Reserved}, {"64:ff9b:1::808:808", Reserved}, {"64:ff9b:1::7f00:1", Reserved},
		{"2002:7f00:1::", Loopback}, {"2002:a9fe:a9fe::1", Metadata}, {"2002:a00:1::", Private}, {"2002:808:808::1", Reserved},
		{"2001:0:808:808::80ff:fffe", Loopback}, // the client 127.0.0.1, inverted
		{"2001:0:7f00:1::f7f7:f7f7", Loopback},  // the server 127.0.0.1
		{"2001:0:808:808::f7f7:f7f7", Reserved},
		{"2001:2::1", Benchmark}, {"2001:20::1", Reserved}, {"2001:1::1", Reserved}, {"2001:200::1", Public},
		{"2001:db8::1", Documentation}, {"3fff::1", Documentation}, {"3fff:1000::1", Public},
		{"2606:4700:4700::1111", Public}, {"2a00:1450:4001::200e", Public}, {"3ffe::1", Public},
		{"1fff:ffff::1", Reserved}, {"4000::1", Reserved}, {"100::1", Reserved}, {"5f00::1", Reserved},
		{"fc00::1", Private}, {"fd12:3456::1", Private}, {"fd00:ec2::254", Metadata}, {"fd00:ec2::23", Metadata}, {"fd20:ce::254", Metadata},
		{"fe80::1", LinkLocal}, {"fe80::1%eth0", LinkLocal}, {"febf::1", LinkLocal}, {"fe80::a9fe:a9fe", Metadata},
		{"fec0::1", Private}, {"ff02::1", Multicast}, {"ff0e::1", Multicast},
		{"::1%lo", Loopback}, {"2606:4700::1%eth0", Public},
	}
	for _, tt := range tests {
		if got := Classify(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("Classify(%s) = %s, want %s", tt.addr, got, tt.want)
		}
	}
	if got := Classify(netip.Addr{}); got != Unknown {
		t.Errorf("Classify of no address = %s", got)
	}
}

func TestParseAddr(t *testing.T) {
	for _, s := range []string{"1.2.3.4", "127.0.0.1", "::1", "2606:4700::1111", "64:ff9b::a9fe:a9fe"} {
		if a, err := ParseAddr(s); err != nil || a.String() != s {
			t.Errorf("ParseAddr(%q) = %v, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "127.1", "0177.0.0.1", "127.0.0.01", "127.0.0.1.", "0x7f.0.0.1", "2130706433", "0",
		" 127.0.0.1", "127.0.0.1\n", "1.2.3.4:80", "[::1]", "::0001", "0::1", "::FFFF", "::ffff:1.2.3.4", "::ffff:7f00:1",
		"fe80::1%eth0", "fe80::1%25eth0", "1.2.3", "①.1.1.1", "2001:DB8::1", "1:0:0:0:0:0:0:1"} {
		if a, err := ParseAddr(s); err == nil {
			t.Errorf("ParseAddr(%q) = %v, want an error", s, a)
		}
	}
}

// What is Public must be reachable as such: never an address that carries one which is not.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"8.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2606:4700::1"} {
		f.Add(netip.MustParseAddr(s).AsSlice())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		class := Classify(a)
		if class == Unknown || class.String() == "unknown" {
			t.Fatalf("%s has no class", a)
		}
		if class != Public {
			return
		}
		if a.IsPrivate() || a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() || a.IsLinkLocalUnicast() || !a.IsGlobalUnicast() {
			t.Fatalf("%s is called public", a)
		}
		if a.Is4() {
			b := a.As4()
			for _, outer := range [][]byte{append([]byte{0x20, 0x02}, append(b[:], make([]byte, 10)...)...), append(make([]byte, 12), b[:]...)} {
				if o, _ := netip.AddrFromSlice(outer); Classify(o) == Public {
					t.Fatalf("%s is called public", o)
				}
			}
		}
	})
}
