package egress

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/net/http2"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// spelling is one way to write a host, and the doors in which that means it: d for a DNS question, s for the server
// name of inspected TLS and t of TLS in a tunnel, h for Host, a for HTTP/2's :authority, c for CONNECT, f for a request
// with its whole URL, to the proxy. In all others it must mean nothing: nobody is asked for a name, and nothing is dialled.
type spelling struct{ text, doors string }

// host is what the spellings below could be taken for: the host that is allowed, and what a connection to it dials.
type spelledHost struct {
	host, addr string
	spellings  []spelling
}

const everyDoor = "dsthacf"

// spelledHosts is the table. Every spelling in it is one that some parser takes for its host, or for another.
func spelledHosts() []spelledHost {
	label, dots := strings.Repeat("a", 63), strings.Repeat("a.", 120)
	return []spelledHost{
		{"good.test", "93.184.216.10", []spelling{
			{"good.test", everyDoor}, {"GOOD.TEST", everyDoor}, {"gOOd.tEsT", everyDoor}, {"good.test.", "dhacf"}, // server names end without the dot (RFC 6066 section 3)
			{"good.test:80", "haf"}, {"GOOD.TEST.:80", "haf"}, {"good.test:080", ""}, {"good.test:+80", ""}, {"good.test:0", ""}, {"good.test:65616", ""}, {"good.test:-1", ""}, {"good.test:", ""}, {"good.test:80:80", ""}, {"good.test:80 ", "h"}, {"good.test:http", ""},
			{"evilgood.test", ""}, {"good.test.evil.test", ""}, {"goodxtest", ""}, {"good-test", ""}, {"good.testevil", ""}, {"good.tes", ""}, {"ood.test", ""}, {"www.good.test", ""}, {"test", ""},
			{"good..test", ""}, {".good.test", ""}, {"good.test..", ""}, {"..good.test", ""}, {"good.test.\x00", ""},
			{"good.test\x00", ""}, {"good.test\x00.evil.test", ""}, {"evil.test\x00.good.test", ""}, {"\x00good.test", ""}, {"go\x00od.test", ""},
			{"good.test ", "h"}, {" good.test", "h"}, {"good .test", ""}, {"good.test\t", "h"}, {"good.test\r", ""}, {"good.test\n", ""}, {"good.test\v", ""}, {"good.test\x7f", ""}, {"good.test\r\nX: y", "h"}, {"good.test\r\nHost: evil.test", ""}, {"good.test\xff", ""},
			{"good.test%00", ""}, {"good%2etest", ""}, {"g%6fod.test", ""}, {"good.test%20", ""}, {"good.test%0d%0a", ""}, {"good.test%2eevil.test", ""}, {"%67ood.test", ""},
			{`good.test\`, ""}, {`good\.test`, ""}, {`evil.test\good.test`, ""}, {"good.test/", "f"}, {"good.test/.evil.test", "f"}, {"good.test#", ""}, {"good.test#.evil.test", ""}, {"good.test?", ""}, {"good.test?.evil.test", ""}, {"good.test;", ""}, {"good.test,evil.test", ""}, {"evil.test,good.test", ""},
			{"good.test@evil.test", ""}, {"evil.test@good.test", ""}, {"@good.test", ""}, {"good.test:80@evil.test", ""}, {"http://good.test", ""}, {"//good.test", ""}, {"[good.test]", ""}, {"(good.test)", ""}, {"\"good.test\"", ""}, {"'good.test'", ""}, {"<good.test>", ""}, {"good.test|", ""}, {"good.test^", ""}, {"{good.test}", ""}, {"good.test`", ""}, {"good~.test", ""}, {"good.test=", ""}, {"good+.test", ""}, {"good.test!", ""}, {"$good.test", ""}, {"good.test&", ""},
			{"good_.test", ""}, {"_good.test", ""}, {"-good.test", ""}, {"good-.test", ""}, {"*.test", ""}, {"*", ""}, {"*.good.test", ""}, {"", ""}, {".", ""}, {"..", ""},
			{"\uff47ood.test", ""}, {"good\u3002test", ""}, {"good\uff0etest", ""}, {"good\uff61test", ""}, {"go\u200bod.test", ""}, {"go\u00adod.test", ""}, {"go\u200dod.test", ""}, {"\ufeffgood.test", ""}, {"\u0261ood.test", ""}, {"g\u043e\u043ed.test", ""}, {"\u24d6ood.test", ""}, {"good.te\u017ft", ""}, {"good\u2024test", ""}, {"good.test\u202e", ""},
			{"xn--good-.test", ""}, {"xn--good.test", ""}, {"XN--GOOD-.TEST", ""}, {"xn--.test", ""}, {"xn--gd-jbba.test", ""}, {"good.xn--test-", ""},
			{label + "a.test", ""}, {dots + "good.test.evil.test", ""}, {strings.Repeat("a.", 130) + "good.test", ""}, {strings.Repeat("a", 2000), ""},
			{"evil.test", ""}, {"EVIL.TEST.", ""}, {"evil.test:80", ""}, {"localhost", ""}, {"good.localhost", ""}, {"bailey.internal", ""}, {"host.bailey.internal", ""}, {"gateway", ""},
			{"93.184.216.10", ""}, {"198.18.0.1", ""}, {"198.18.1.0", ""}, {"[::ffff:198.18.1.0]", ""}, {"198.18.1", ""},
		}},
		{"x.wild.test", "93.184.216.20", []spelling{
			{"x.wild.test", everyDoor}, {"X.Wild.TEST", everyDoor}, {"x.wild.test.", "dhacf"}, {"wild.test", ""}, {".wild.test", ""}, {"x..wild.test", ""}, {"*.wild.test", ""}, {"x.wild.test.evil.test", ""}, {"xwild.test", ""}, {"x.wild.test\x00.evil.test", ""},
			{"x_.wild.test", ""}, {"x.wild.tes\u1e6d", ""}, {"x/.wild.test", ""}, {"evil.test/.wild.test", ""}, {"evil.test#.wild.test", ""}, {"evil.test?.wild.test", ""}, {"evil.test@x.wild.test", ""}, {`evil.test\x.wild.test`, ""}, {"evil.test:80.wild.test", ""}, {"\u212a.wild.test", ""}, {"x\u3002wild.test", ""},
		}},
		{"93.184.216.34", "93.184.216.34", []spelling{
			{"93.184.216.34", "hacf"}, {"", "st"}, {"93.184.216.34:80", "haf"}, {"93.184.216.34.", ""}, {"093.184.216.34", ""}, {"93.184.216.034", ""}, {"0135.0270.0330.042", ""}, {"0x5d.0xb8.0xd8.0x22", ""}, {"0x5db8d822", ""}, {"1572395042", ""}, {"013556154042", ""},
			{"93.184.55330", ""}, {"93.12114978", ""}, {"93.184.216.34%eth0", ""}, {" 93.184.216.34", "h"}, {"93.184.216.34\x00", ""}, {"93.184.216.34,127.0.0.1", ""}, {"\u2468\u2462.184.216.34", ""}, {"93\u3002184\u3002216\u300234", ""}, {"\uff19\uff13.184.216.34", ""}, {"[93.184.216.34]", ""},
			{"::ffff:93.184.216.34", ""}, {"[::ffff:93.184.216.34]", ""}, {"[::ffff:5db8:d822]", ""}, {"[::5db8:d822]", ""}, {"[64:ff9b::5db8:d822]", ""}, {"[2002:5db8:d822::]", ""}, {"93.184.216.34.nip.io", ""}, {"34.216.184.93.in-addr.arpa", ""},
			{"127.0.0.1", ""}, {"127.1", ""}, {"127.0.1", ""}, {"0x7f.1", ""}, {"0x7f000001", ""}, {"0177.0.0.1", ""}, {"017700000001", ""}, {"2130706433", ""}, {"0", ""}, {"0x0", ""}, {"0.0.0.0", ""}, {"127.0.0.1.", ""}, {"127.000.000.001", ""}, {"127.0.0.1:80", ""}, {"00", ""}, {"4294967295", ""}, {"4294967297", ""},
			{"[::]", ""}, {"[::1]", ""}, {"::1", ""}, {"[0:0:0:0:0:0:0:1]", ""}, {"[::ffff:7f00:1]", ""}, {"[::ffff:127.0.0.1]", ""}, {"[::7f00:1]", ""}, {"[64:ff9b::a9fe:a9fe]", ""}, {"[64:ff9b:1::7f00:1]", ""}, {"[2002:7f00:1::]", ""}, {"[2001:0:4136:e378:8000:63bf:3fff:fdd2]", ""}, {"[fe80::1]", ""}, {"[fe80::1%25eth0]", ""}, {"[fe80::1%eth0]", ""}, {"[fd00:ec2::254]", ""}, {"[::1]:80", ""}, {"[::1", ""}, {"::1]", ""},
			{"169.254.169.254", ""}, {"10.0.0.1", ""}, {"172.16.0.1", ""}, {"192.168.0.1", ""}, {"100.64.0.1", ""}, {"168.63.129.16", ""}, {"224.0.0.1", ""}, {"255.255.255.255", ""}, {"\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", ""}, {"93.184.216.35", ""}, {"[2606:4700::35]", ""},
		}},
	}
}

// Every door reads every spelling alike: as the host that the policy allows, or as nothing.
func TestEveryDoorReadsHostsAlike(t *testing.T) {
	w := newWeb(t, "good.test:80,443", "*.wild.test:80,443", "93.184.216.34:80,443", "tunnel:good.test:8443", "tunnel:*.wild.test:8443", "tunnel:93.184.216.34:8443")
	all := spelledHosts()
	for _, h := range all {
		if h.host != h.addr {
			w.named(hostname.Name(h.host), h.addr)
		}
		for _, port := range []uint16{80, 443} {
			w.serve(h.host, port, hello)
			w.lab.mu.Lock()
			listener := w.hosts[netip.AddrPortFrom(netip.MustParseAddr(publicAddr), port)]
			w.hosts[netip.AddrPortFrom(netip.MustParseAddr(h.addr), port)] = listener
			w.hosts[netip.AddrPortFrom(netip.MustParseAddr(h.addr), 8443)] = listener // after the last round that of 443
			w.lab.mu.Unlock()
		}
	}
	cells := 0
	for _, h := range all {
		for _, s := range h.spellings {
			for door, enter := range w.doors() {
				cells++
				names, addrs := w.lab.seen()
				enter(h.host, s.text)
				newNames, newAddrs := w.lab.seen()
				got := fmt.Sprint(newNames[len(names):], newAddrs[len(addrs):])
				if !strings.ContainsRune(s.doors, door) {
					if got != "[] []" {
						t.Errorf("door %c reads %q as %s, and should not", door, s.text, got)
					}
					continue
				}
				asked := slices.ContainsFunc(newNames[len(names):], func(n hostname.Name) bool { return string(n) != h.host })
				dialled := slices.ContainsFunc(newAddrs[len(addrs):], func(a netip.AddrPort) bool { return a.Addr().String() != h.addr })
				if asked || dialled || len(newAddrs) == len(addrs) {
					t.Errorf("door %c reads %q as %s, and should as %s", door, s.text, got, h.host)
				}
			}
		}
	}
	t.Logf("%d cells", cells)
}

// doors are the ways in which a client can name a host. Each goes through with one spelling as far as it is let; the
// rest of what it says is right for host.
func (w *web) doors() map[rune]func(host, spelled string) {
	to := func(host string, port uint16) *net.TCPConn {
		if addr, err := netip.ParseAddr(host); err == nil {
			return w.open(netip.AddrPortFrom(addr, port))
		}
		return w.openName(host, port)
	}
	say := func(conn net.Conn, format string, a ...any) {
		_, _ = fmt.Fprintf(conn, format, a...)
		_, _ = io.Copy(io.Discard, conn)
	}
	const get = "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
	return map[rune]func(host, spelled string){
		'd': func(host, spelled string) {
			question, err := questionFor(spelled)
			if err != nil {
				return // no question can say that
			}
			reply, err := dns.Exchange(question, w.wire.packets.LocalAddr().String())
			if err != nil || len(reply.Answer) == 0 {
				return
			}
			addr, ok := netip.AddrFromSlice(reply.Answer[0].(*dns.A).A)
			if ok {
				say(w.open(netip.AddrPortFrom(addr.Unmap(), 80)), get, host)
			}
		},
		's': func(host, spelled string) {
			if strings.HasSuffix(spelled, ".") || net.ParseIP(strings.Trim(strings.SplitN(spelled, "%", 2)[0], "[]")) != nil {
				return // Go's client would say something else; the tunnel's case says this
			}
			conn := tls.Client(to(host, 443), &tls.Config{ServerName: spelled, InsecureSkipVerify: true})
			if conn.Handshake() == nil {
				say(conn, get, host)
			}
		},
		't': func(host, spelled string) {
			placeholder := strings.Repeat("q", len(spelled))
			conn := &renamed{to(host, 8443), []byte(placeholder), []byte(spelled)}
			_ = tls.Client(conn, &tls.Config{ServerName: placeholder, InsecureSkipVerify: true}).Handshake()
		},
		'h': func(host, spelled string) { say(to(host, 80), get, spelled) },
		'a': func(host, spelled string) {
			f := newFrames(w.t, to(host, 80))
			if f.request(1, ":scheme", "http", ":authority", spelled) != nil {
				return
			}
			for {
				frame, err := f.ReadFrame()
				if err != nil || frame.Header().Flags.Has(http2.FlagDataEndStream) && frame.Header().StreamID == 1 || frame.Header().Type == http2.FrameRSTStream {
					return
				}
			}
		},
		'c': func(host, spelled string) {
			conn := w.openProxy()
			_, _ = fmt.Fprintf(conn, "%s %s:80 HTTP/1.1\r\nHost: %[2]s:80\r\n\r\n", http.MethodConnect, spelled)
			say(conn, get, host)
		},
		'f': func(_, spelled string) {
			authority, _, _ := strings.Cut(strings.ReplaceAll(spelled, "?", "/"), "/")
			say(w.openProxy(), "GET http://%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", withPath(spelled), authority)
		},
	}
}

// renamed is a connection on which one text stands for another: the server name in a hello. The handshake fails later.
type renamed struct {
	net.Conn
	from, to []byte
}

func (r *renamed) Write(b []byte) (int, error) {
	if _, err := r.Conn.Write(bytes.Replace(b, r.from, r.to, min(1, len(r.from)))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// withPath is spelled as the rest of a URL, with a path.
func withPath(spelled string) string {
	if strings.ContainsAny(spelled, "/?") {
		return spelled
	}
	return spelled + "/"
}

// questionFor asks for a name of exactly those bytes, its labels between the dots.
func questionFor(spelled string) (*dns.Msg, error) {
	var name strings.Builder
	for _, c := range []byte(strings.TrimSuffix(spelled, ".") + ".") {
		if c == '.' {
			name.WriteByte(c)
		} else {
			fmt.Fprintf(&name, `\%03d`, c)
		}
	}
	question := new(dns.Msg).SetQuestion(name.String(), dns.TypeA)
	_, err := question.Pack()
	return question, err
}
