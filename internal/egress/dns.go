package egress

import (
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// maxQuestion is the longest message that is read, in bytes. A real question has at most a few hundred.
	maxQuestion = 4096
	// ttl is how long answers may be kept, in seconds: short, so that a changed policy is soon seen.
	ttl = 30
	// selfName is the gateway's own name inside.
	selfName = "bailey.internal"
)

// parseQuestion reads one message from the sandbox. It returns nil for what must not be answered at
// all, so that two servers can never answer each other for ever, and else the message and a response
// code: anything but success is the whole answer.
func parseQuestion(packet []byte) (*dns.Msg, int) {
	const header, responseBit = 12, 0x80
	if len(packet) < header || len(packet) > maxQuestion || packet[2]&responseBit != 0 {
		return nil, 0
	}
	m := new(dns.Msg)
	err := m.Unpack(packet) // sets the header also when it fails behind it
	switch {
	case m.Opcode != dns.OpcodeQuery:
		return m, dns.RcodeNotImplemented
	case err != nil, len(m.Question) != 1, len(m.Answer)+len(m.Ns) > 0:
		return m, dns.RcodeFormatError
	case m.Question[0].Qclass != dns.ClassINET:
		return m, dns.RcodeRefused
	}
	return m, dns.RcodeSuccess
}

// answer returns the response to one message, nil for none. It asks nobody: an address is made up, and
// what the name really has is looked up when an allowed connection is dialled. So a question carries
// nothing out of the sandbox.
func (s *Server) answer(packet []byte) []byte {
	m, rcode := parseQuestion(packet)
	if m == nil {
		return nil
	}
	reply := new(dns.Msg)
	if rcode != dns.RcodeSuccess {
		reply.MsgHdr = dns.MsgHdr{Id: m.Id, Opcode: m.Opcode, Response: true, Rcode: rcode}
	} else {
		reply.SetReply(m)
		reply.RecursionAvailable = true
		var reason string
		reply.Answer, reply.Rcode, reason = s.judgeQuestion(m.Question[0])
		if m.IsEdns0() != nil {
			reply.Extra = []dns.RR{optRecord(reply.Rcode, reason)}
		}
	}
	out, err := reply.Pack()
	if err != nil {
		s.log().Debug("cannot pack an answer", "error", err)
		return nil
	}
	return out
}

// judgeQuestion returns the records, the response code and, for a refusal, its reason. Every host name of the
// internet's kind exists, whatever the policy says: who connects to one that is refused is told why, where "Name or
// service not known" taught nothing but to look for another mirror. All have IPv4 addresses only: no AAAA, no HTTPS,
// no TXT. What else is refused does not exist, because REFUSED would make the C library ask again and call the
// failure temporary, so that npm and others retry for minutes.
func (s *Server) judgeQuestion(q dns.Question) ([]dns.RR, int, string) {
	name, err := hostname.Parse(q.Name)
	if err != nil {
		// Escapes stand here for dots, NUL and other bytes within a label: never part of a host name.
		d := policy.Decision{Reason: "the question is not for a host name"}
		s.recordQuestion(q, q.Name, d)
		return nil, dns.RcodeNameError, d.Reason
	}
	if records, known := s.local(q, name); known {
		return records, dns.RcodeSuccess, ""
	}
	if d := s.policy().DecideName(name); d.Denies() {
		switch {
		case !isPublicKind(name):
			s.recordQuestion(q, string(name), d)
			return nil, dns.RcodeNameError, d.Reason
		case q.Qtype != dns.TypeA && q.Qtype != dns.TypeAAAA:
			s.recordQuestion(q, string(name), d)
			return nil, dns.RcodeSuccess, d.Reason
		}
		addr, known := s.names.lend(name)
		if !known { // programs ask for both families, and again; what counts is that they connect
			s.recordQuestion(q, string(name), d)
		}
		if q.Qtype == dns.TypeAAAA {
			return nil, dns.RcodeSuccess, d.Reason
		}
		return []dns.RR{addrRecord(q, addr)}, dns.RcodeSuccess, d.Reason
	}
	if q.Qtype != dns.TypeA {
		return nil, dns.RcodeSuccess, ""
	}
	addr, ok := s.names.keep(name)
	if !ok {
		d := policy.Decision{Reason: "the sandbox has asked for too many names"}
		s.recordQuestion(q, string(name), d)
		return nil, dns.RcodeServerFailure, d.Reason
	}
	return []dns.RR{addrRecord(q, addr)}, dns.RcodeSuccess, ""
}

// local answers what only concerns the sandbox: localhost (RFC 6761 section 6.3), the gateway, and the
// names of made-up addresses.
func (s *Server) local(q dns.Question, name hostname.Name) (records []dns.RR, known bool) {
	gatewayAddr := netip.MustParseAddr(gateway.Gateway)
	addrs := map[uint16]netip.Addr{}
	switch text, reverse := strings.CutSuffix(string(name), ".in-addr.arpa"); {
	case name == "localhost" || strings.HasSuffix(string(name), ".localhost"):
		addrs[dns.TypeA], addrs[dns.TypeAAAA] = netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	case name == selfName:
		addrs[dns.TypeA] = gatewayAddr
	case reverse:
		addr := reverseAddr(text)
		ptr := s.names.name(addr)
		switch {
		case addr == gatewayAddr:
			ptr = selfName
		case addr.IsLoopback():
			ptr = "localhost"
		}
		if ptr != "" && q.Qtype == dns.TypePTR {
			records = []dns.RR{&dns.PTR{Hdr: recordHeader(q), Ptr: string(ptr) + "."}}
		}
		return records, ptr != ""
	default:
		return nil, false
	}
	if addr, ok := addrs[q.Qtype]; ok {
		records = []dns.RR{addrRecord(q, addr)}
	}
	return records, true
}

// reverseAddr turns "4.3.2.1" into 1.2.3.4; the zero address when it is not one.
func reverseAddr(text string) netip.Addr {
	a, err := hostname.ParseAddr(text)
	if err != nil || !a.Is4() {
		return netip.Addr{}
	}
	b := a.As4()
	return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]})
}

func recordHeader(q dns.Question) dns.RR_Header {
	return dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
}

func addrRecord(q dns.Question, addr netip.Addr) dns.RR {
	if addr.Is4() {
		return &dns.A{Hdr: recordHeader(q), A: net.IP(addr.AsSlice())}
	}
	return &dns.AAAA{Hdr: recordHeader(q), AAAA: net.IP(addr.AsSlice())}
}

// optRecord answers EDNS, with the reason of a refusal where dig shows it (RFC 8914): "Blocked", or "Forged Answer"
// where there is an answer nevertheless.
func optRecord(rcode int, reason string) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(maxQuestion)
	if reason != "" {
		code := dns.ExtendedErrorCodeBlocked
		if rcode == dns.RcodeSuccess {
			code = dns.ExtendedErrorCodeForgedAnswer
		}
		opt.Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: code, ExtraText: reason}}
	}
	return opt
}
