package gateway

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// redirect hands what arrives on link to our sockets, and refuses the rest with an ICMP error: no NAT, no
// connection tracking, one table of four rules:
//
//	tcp dport 53      accept
//	udp dport 53      accept
//	meta l4proto tcp  tproxy to :portFlows accept
//	                  reject with icmp admin-prohibited
//
// It acts on the calling thread's network namespace, which holds nothing but the gateway.
func redirect(link string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	drop := nftables.ChainPolicyDrop
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "bailey"})
	chain := c.AddChain(&nftables.Chain{
		Name:     "prerouting",
		Table:    table,
		Type:     nftables.ChainTypeFilter,
		Hooknum:  nftables.ChainHookPrerouting,
		Priority: nftables.ChainPriorityMangle,
		Policy:   &drop,
	})
	rule := func(exprs ...[]expr.Any) {
		r := &nftables.Rule{Table: table, Chain: chain, Exprs: fromLink(link)}
		for _, e := range exprs {
			r.Exprs = append(r.Exprs, e...)
		}
		c.AddRule(r)
	}
	accept := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	rule(protocol(unix.IPPROTO_TCP), toPort(portDNS), accept)
	rule(protocol(unix.IPPROTO_UDP), toPort(portDNS), accept)
	rule(protocol(unix.IPPROTO_TCP), tproxy(portFlows), accept)
	rule([]expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: icmpAdminProhibited}})
	return c.Flush()
}

// icmpAdminProhibited is "communication administratively prohibited" (RFC 1812, 5.2.7.1), which clients
// report as a refusal.
const icmpAdminProhibited = 13

func fromLink(name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: padded},
	}
}

func protocol(number byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}
}

func toPort(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
	}
}

func tproxy(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.TProxy{Family: unix.NFPROTO_IPV4, TableFamily: unix.NFPROTO_IPV4, RegPort: 1},
	}
}
