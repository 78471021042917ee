package main

import (
	"encoding/hex"
	"net"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// zone answers for every name of the world.
type zone struct {
	e     *events
	turns atomic.Int64 // of the name that changes
}

func serveDNS(e *events) error {
	z := &zone{e: e}
	packets, err := net.ListenPacket("udp", resolver+":53")
	if err != nil {
		return err
	}
	streams, err := net.Listen("tcp", resolver+":53")
	if err != nil {
		return err
	}
	go func() { _ = (&dns.Server{PacketConn: packets, Handler: z}).ActivateAndServe() }()
	go func() { _ = (&dns.Server{Listener: streams, Handler: z}).ActivateAndServe() }()
	return nil
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	reply := new(dns.Msg).SetReply(q)
	if len(q.Question) == 1 {
		name := strings.ToLower(strings.TrimSuffix(q.Question[0].Name, "."))
		z.e.add("dns %s %s", dns.TypeToString[q.Question[0].Qtype], name)
		for _, text := range z.records(name) {
			if rr, err := dns.NewRR(q.Question[0].Name + " 0 IN " + text); err == nil && (rr.Header().Rrtype == q.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME) {
				reply.Answer = append(reply.Answer, rr)
			}
		}
	}
	_ = w.WriteMsg(reply)
}

// records are what a name has. "v4-127-0-0-1.in.test" and "v6-HEX.in.test" have the address that they say.
func (z *zone) records(name string) []string {
	label, domain, _ := strings.Cut(name, ".")
	kind, text, _ := strings.Cut(label, "-")
	switch {
	case name == "evil.test" || strings.HasSuffix(name, ".evil.test"):
		return []string{"A 66.66.66.66", "AAAA 2a06:6666::66"}
	case name == "metadata.google.internal":
		return []string{"A 169.254.169.254"}
	case name == "host.docker.internal":
		return []string{"A 45.90.28.2"}
	case domain == "in.test" && kind == "v4":
		return []string{"A " + strings.ReplaceAll(text, "-", ".")}
	case domain == "in.test" && kind == "v6":
		b, _ := hex.DecodeString(text)
		return []string{"AAAA " + net.IP(b).String()}
	case name == "cname.in.test":
		return []string{"CNAME localhost."}
	case name == "two.in.test":
		return []string{"A 45.91.9.9", "A 127.0.0.1"}
	case name == "mixed.in.test":
		return []string{"A 45.91.1.4", "AAAA ::1", "AAAA ::ffff:127.0.0.1"}
	case name == "flip.in.test":
		return []string{[]string{"A 45.91.1.4", "A 127.0.0.1"}[z.turns.Add(1)%2]}
	case name == "localhost":
		return []string{"A 127.0.0.1"}
	case strings.HasSuffix(name, ".test"):
		return []string{"A 45.91.1.1"}
	}
	return nil
}
