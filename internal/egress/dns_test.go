package egress

import (
	"encoding/base32"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
)

func TestAnswers(t *testing.T) {
	l := newLab(t, "good.test", "*.wild.test", "ssh.test:22", "db", "db.local", "deny no.wild.test").start()
	const ok, none, lent = dns.RcodeSuccess, dns.RcodeNameError, -1 // lent is a success too, for a name that is refused
	tests := []struct {
		name   string
		qtype  uint16
		rcode  int
		answer string // data of the one record, "" for none
	}{
		{"good.test", dns.TypeA, ok, "198.18.1.0"},
		{"good.test", dns.TypeA, ok, "198.18.1.0"}, // stable
		{"GOOD.Test", dns.TypeA, ok, "198.18.1.0"},
		{"ssh.test", dns.TypeA, ok, "198.18.1.1"},
		{"a.b.wild.test", dns.TypeA, ok, "198.18.1.2"},
		{"good.test", dns.TypeAAAA, ok, ""},
		{"good.test", dns.TypeHTTPS, ok, ""},
		{"good.test", dns.TypeSVCB, ok, ""},
		{"good.test", dns.TypeTXT, ok, ""},
		{"good.test", dns.TypeNULL, ok, ""},
		{"good.test", dns.TypeMX, ok, ""},
		{"good.test", dns.TypeANY, ok, ""},
		{"good.test", dns.TypeCNAME, ok, ""},
		{"evil.test", dns.TypeA, lent, "198.19.1.0"},
		{"EVIL.test", dns.TypeA, lent, "198.19.1.0"},
		{"evil.test", dns.TypeAAAA, lent, ""},
		{"evil.test", dns.TypeTXT, lent, ""},
		{"evil.test", dns.TypeNULL, lent, ""},
		{"evil.test", dns.TypeANY, lent, ""},
		{"wild.test", dns.TypeA, lent, "198.19.1.1"},
		{"no.wild.test", dns.TypeA, lent, "198.19.1.2"},
		{"good.test.evil.test", dns.TypeA, lent, "198.19.1.3"},
		{"evil-good.test", dns.TypeA, lent, "198.19.1.4"},
		{`evil.test\000.wild.test`, dns.TypeA, none, ""},
		{`a\.b.wild.test`, dns.TypeA, none, ""},
		{`a\ b.wild.test`, dns.TypeA, none, ""},
		{`\255.wild.test`, dns.TypeA, none, ""},
		{"_dmarc.wild.test", dns.TypeA, none, ""},
		{"127.0.0.1", dns.TypeA, none, ""},
		{"0x7f.1", dns.TypeA, none, ""},
		{".", dns.TypeNS, none, ""},
		{"localhost", dns.TypeA, ok, "127.0.0.1"},
		{"localhost", dns.TypeAAAA, ok, "::1"},
		{"app.localhost", dns.TypeA, ok, "127.0.0.1"},
		{"bailey.internal", dns.TypeA, ok, gateway.Gateway},
		{"bailey.internal", dns.TypeAAAA, ok, ""},
		{"1.0.18.198.in-addr.arpa", dns.TypePTR, ok, "bailey.internal."},
		{"0.1.18.198.in-addr.arpa", dns.TypePTR, ok, "good.test."},
		{"0.1.18.198.in-addr.arpa", dns.TypeA, ok, ""},
		{"9.1.18.198.in-addr.arpa", dns.TypePTR, none, ""},
		{"8.8.8.8.in-addr.arpa", dns.TypePTR, none, ""},
		{"0.1.19.198.in-addr.arpa", dns.TypePTR, ok, "evil.test."},
		{"9.1.19.198.in-addr.arpa", dns.TypePTR, none, ""},
		{"evil.arpa", dns.TypeA, none, ""},
		{"printer.local", dns.TypeA, none, ""},
		{"hidden.onion", dns.TypeA, none, ""},
		{"evil.invalid", dns.TypeA, none, ""},
		{"evil", dns.TypeA, none, ""},
		{"db", dns.TypeA, ok, "198.18.1.3"},
		{"db.local", dns.TypeA, ok, "198.18.1.4"},
		{"host.bailey.internal", dns.TypeA, lent, "198.19.1.5"},
		{"1.0.0.127.in-addr.arpa", dns.TypePTR, ok, "localhost."},
	}
	for _, tt := range tests {
		reply := l.ask(tt.name, tt.qtype)
		got := ""
		for _, rr := range reply.Answer {
			got += strings.TrimPrefix(rr.String(), rr.Header().String())
			if rr.Header().Ttl != ttl || rr.Header().Rrtype != tt.qtype {
				t.Errorf("%s: record %s", tt.name, rr)
			}
		}
		reason := map[int]string{ok: "", none: "EDE: 15 (Blocked)", lent: "EDE: 4 (Forged Answer)"}[tt.rcode]
		if want := max(tt.rcode, ok); reply.Rcode != want || got != tt.answer {
			t.Errorf("%s %s: %s %q, want %s %q", tt.name, dns.Type(tt.qtype), dns.RcodeToString[reply.Rcode], got, dns.RcodeToString[want], tt.answer)
		}
		if len(reply.Question) != 1 || reply.Question[0].Name != dns.Fqdn(tt.name) || !reply.RecursionAvailable {
			t.Errorf("%s: reply %v", tt.name, reply)
		}
		if text := reply.String(); !strings.Contains(text, reason) || strings.Contains(text, "EDE: ") != (reason != "") {
			t.Errorf("%s: the reason is missing or too much:\n%v", tt.name, reply)
		}
	}
	l.wantUntouched()
	denied := -2 // evil.test's address is asked for three times, which is one refusal
	for _, tt := range tests {
		if tt.rcode != ok {
			denied++
		}
	}
	events := l.end()
	if len(events) != denied {
		t.Errorf("%d events for %d refused questions", len(events), denied)
	}
	for _, e := range events {
		if e.Kind != "dns" || e.Verdict != "deny" || e.Type == "" || e.Host == "" || e.Reason == "" {
			t.Errorf("event: %+v", e)
		}
	}
}

func TestAnswersOverTCP(t *testing.T) {
	l := newLab(t, "good.test").start()
	conn, err := dns.Dial("tcp", l.wire.streams.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	for name, want := range map[string]int{"good.test.": 1, "evil.test.": 1, "evil.": 0} {
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		if reply, err := conn.ReadMsg(); err != nil || len(reply.Answer) != want {
			t.Errorf("%s: %v, %v", name, reply, err)
		}
	}
	// What cannot be a question ends the connection, and only that.
	_, _ = conn.Conn.Write([]byte{0xff, 0xff})
	if reply, err := conn.ReadMsg(); err == nil {
		t.Errorf("a message of 65535 bytes is awaited: %v", reply)
	}
	if reply := l.ask("good.test", dns.TypeA); len(reply.Answer) != 1 {
		t.Error("UDP answers no more")
	}
}

// Data leaves in the names of questions if anybody outside ever hears them.
func TestQuestionsCarryNothingOut(t *testing.T) {
	l := newLab(t, "*.wild.test").start()
	const n = 500
	for i := range n {
		data := strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(fmt.Appendf(nil, "secret number %d", i)))
		l.ask(data+".evil.test", dns.TypeTXT)
		l.ask(data+".wild.test", dns.TypeA) // allowed: but nothing is dialled
	}
	l.wantUntouched()
	var counted uint64
	events := l.end()
	for _, e := range events {
		counted += e.Missed
		if e.Host != "" {
			counted++
		}
	}
	if counted != n || len(events) > n/2 {
		t.Errorf("%d events account for %d of %d refusals", len(events), counted, n)
	}
	if len(l.names.names) != n || len(l.names.lent) != 0 {
		t.Errorf("%d names have addresses, and %d borrowed ones; want %d and none for TXT", len(l.names.names), len(l.names.lent), n)
	}
}

// raw builds a message from a header's counts and a body.
func raw(flags byte, questions, answers byte, body string) []byte {
	return append([]byte{0xab, 0xcd, flags, 0, 0, questions, 0, answers, 0, 0, 0, 0}, body...)
}

func TestMalformedQuestions(t *testing.T) {
	const tail = "\x00\x01\x00\x01"
	good := "\x04good\x04test\x00" + tail
	tests := []struct {
		name   string
		packet []byte
		want   int // response code, -1 for no answer
	}{
		{"a good one, as a control", raw(1, 1, 0, good), dns.RcodeSuccess},
		{"nothing", nil, -1},
		{"half a header", raw(1, 1, 0, "")[:11], -1},
		{"a response", raw(0x80, 1, 0, good), -1},
		{"longer than any question", raw(1, 1, 0, good+strings.Repeat("\x00", maxQuestion)), -1},
		{"no question", raw(1, 0, 0, ""), dns.RcodeFormatError},
		{"two questions", raw(1, 2, 0, good+good), dns.RcodeFormatError},
		{"255 questions that are not there", raw(1, 255, 0, good), dns.RcodeFormatError},
		{"an answer in a question", raw(1, 1, 1, good+"\xc0\x0c"+tail+"\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"), dns.RcodeFormatError},
		{"a name that points at itself", raw(1, 1, 0, "\xc0\x0c"+tail), dns.RcodeFormatError},
		{"two names that point at each other", raw(1, 1, 0, "\xc0\x0e\xc0\x0c"+tail), dns.RcodeFormatError},
		{"a pointer beyond the end", raw(1, 1, 0, "\xc1\x00"+tail), dns.RcodeFormatError},
		{"a label beyond the end", raw(1, 1, 0, "\x3fgood"), dns.RcodeFormatError},
		{"a name without an end", raw(1, 1, 0, "\x04good"), dns.RcodeFormatError},
		{"a name of 300 bytes", raw(1, 1, 0, strings.Repeat("\x09aaaaaaaaa", 30)+"\x00"+tail), dns.RcodeFormatError},
		{"no type and class", raw(1, 1, 0, "\x04good\x04test\x00"), dns.RcodeRefused},
		{"class CHAOS", raw(1, 1, 0, "\x04good\x04test\x00\x00\x01\x00\x03"), dns.RcodeRefused},
		{"an update", raw(5<<3, 1, 0, good), dns.RcodeNotImplemented},
		{"a notification", raw(4<<3, 1, 0, good), dns.RcodeNotImplemented},
		{"a dot within a label", raw(1, 1, 0, "\x09good.test\x00"+tail), dns.RcodeNameError},
		{"NUL within a label", raw(1, 1, 0, "\x05good\x00\x04test\x00"+tail), dns.RcodeNameError},
		{"a backslash within a label", raw(1, 1, 0, "\x05go\\od\x04test\x00"+tail), dns.RcodeNameError},
		{"a high byte", raw(1, 1, 0, "\x04g\xf6od\x04test\x00"+tail), dns.RcodeNameError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reply := newLabNoWire(t, "good.test").answer(tt.packet)
			if tt.want < 0 {
				if reply != nil {
					t.Errorf("answered with %x", reply)
				}
				return
			}
			m := new(dns.Msg)
			if err := m.Unpack(reply); err != nil || m.Id != 0xabcd || m.Rcode != tt.want || !m.Response {
				t.Errorf("answered with %v, %v; want %s", m, err, dns.RcodeToString[tt.want])
			}
		})
	}
}

func TestNameTableIsBounded(t *testing.T) {
	l := newLab(t, "*.wild.test").start()
	first := l.ask("first.wild.test", dns.TypeA)
	seen := map[netip.Addr]bool{}
	prefix := netip.MustParsePrefix(gateway.Synthetic)
	link := netip.PrefixFrom(netip.MustParseAddr(gateway.Gateway), 24).Masked()
	for i := 1; i < maxNames; i++ {
		name := hostname.Name(fmt.Sprintf("n%d.wild.test", i))
		addr, ok := l.names.keep(name)
		if !ok || seen[addr] || !prefix.Contains(addr) || link.Contains(addr) || l.names.name(addr) != name {
			t.Fatalf("%s: %s, %v", name, addr, ok)
		}
		seen[addr] = true
	}
	if reply := l.ask("more.wild.test", dns.TypeA); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("one name too many: %v", reply)
	}
	if again := l.ask("first.wild.test", dns.TypeA); fmt.Sprint(again.Answer) != fmt.Sprint(first.Answer) {
		t.Errorf("the first name's address changed: %v", again)
	}
}

// A flood of refused names takes addresses from refused names only, the oldest first.
func TestLentAddressesAreRecycled(t *testing.T) {
	l := newLab(t, "good.test").start()
	at := func(name string) netip.Addr {
		t.Helper()
		reply := l.ask(name, dns.TypeA)
		if len(reply.Answer) != 1 {
			t.Fatalf("%s has no address: %v", name, reply)
		}
		addr, _ := netip.AddrFromSlice(reply.Answer[0].(*dns.A).A)
		return addr.Unmap()
	}
	good, first, second := at("good.test"), at("first.test"), at("second.test")
	for i := range maxLent - 1 { // one more than there is room for
		if a, _ := l.names.lend(hostname.Name(fmt.Sprintf("n%d.test", i))); !netip.MustParsePrefix(gateway.Synthetic).Contains(a) {
			t.Fatalf("lent %s", a)
		}
	}
	last := hostname.Name(fmt.Sprintf("n%d.test", maxLent-2))
	if l.names.name(first) != last || l.names.name(second) != "second.test" || at("second.test") != second {
		t.Errorf("the oldest address means %s, the next %s", l.names.name(first), l.names.name(second))
	}
	for i := range 3 * maxLent {
		l.names.lend(hostname.Name(fmt.Sprintf("m%d.test", i)))
	}
	if len(l.names.lent) != maxLent || len(l.names.lentIndex) != maxLent {
		t.Errorf("%d addresses are lent to %d names", len(l.names.lent), len(l.names.lentIndex))
	}
	if at("good.test") != good || l.names.name(good) != "good.test" {
		t.Error("an allowed name's address is gone")
	}
	borrowed := at("later.test")
	l.setRules("good.test", "later.test")
	kept := at("later.test")
	if kept == borrowed || l.names.name(kept) != "later.test" || l.names.name(borrowed) != "later.test" {
		t.Errorf("a name that became allowed has %s, and %s before", kept, borrowed)
	}
	l.setRules()
	if at("later.test") != kept || at("good.test") != good {
		t.Error("a name that was allowed has lost its address")
	}
	l.wantUntouched()
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Unix(1000, 0)
	passed := 0
	for range 1000 {
		if _, ok := th.take(now); ok {
			passed++
		}
	}
	missed, ok := th.take(now.Add(time.Second))
	if passed != 100 || !ok || missed != 900 || th.drain() != 0 {
		t.Errorf("passed %d at once, then %v with %d missed", passed, ok, missed)
	}
}

func FuzzAnswer(f *testing.F) {
	good, _ := new(dns.Msg).SetQuestion("good.test.", dns.TypeA).SetEdns0(1232, true).Pack()
	f.Add(good)
	f.Add(raw(1, 1, 0, "\xc0\x0c\x00\x01\x00\x01"))
	f.Add(raw(1, 1, 0, "\x03a.b\x04wild\x04test\x00\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		l := newLabNoWire(t, "good.test", "*.wild.test")
		reply := l.answer(packet)
		l.wantUntouched()
		if reply == nil {
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(reply); err != nil || !m.Response || m.Id != uint16(packet[0])<<8|uint16(packet[1]) || len(reply) > 4096 {
			t.Fatalf("%x is answered with %x: %v", packet, reply, err)
		}
		for _, rr := range m.Answer {
			a, ok := rr.(*dns.A)
			if !ok || a.Hdr.Name != m.Question[0].Name {
				continue
			}
			name := strings.ToLower(a.Hdr.Name)
			addr, _ := netip.AddrFromSlice(a.A)
			if means := string(l.names.name(addr.Unmap())); means+"." != name && !strings.HasSuffix(name, "localhost.") && name != selfName+"." {
				t.Fatalf("%s has the address of %q", name, means)
			}
		}
	})
}
