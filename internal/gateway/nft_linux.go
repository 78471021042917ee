package gateway

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// steer hands what arrives on link to our sockets, and refuses the rest with an ICMP error: no NAT, no
// connection tracking, one chain of four rules:
//
//	tcp dport 53      accept
//	udp dport 53      accept
//	meta l4proto tcp  tproxy to :portFlows accept
//	                  reject with icmp admin-prohibited
//
// It acts on the calling thread's network namespace, which holds nothing but the gateway.
func steer(link string) error {
	t, err := newTable(link)
	if err != nil {
		return err
	}
	t.refuseOthers(tproxy(portFlows))
	return t.Flush()
}

// redirect does the same where the kernel has no TPROXY: connections are accepted as they are, and a second chain
// rewrites their destination, which connection tracking remembers.
func redirect(link string) error {
	t, err := newTable(link)
	if err != nil {
		return err
	}
	t.refuseOthers(nil)
	nat := t.chain("nat", nftables.ChainTypeNAT, nftables.ChainPriorityNATDest, nftables.ChainPolicyAccept)
	t.rule(nat, protocol(unix.IPPROTO_TCP), toPort(portDNS), accept())
	t.rule(nat, protocol(unix.IPPROTO_TCP), []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(portFlows)},
		&expr.Redir{RegisterProtoMin: 1},
	})
	return t.Flush()
}

// table is nftables' table of ours, filled rule by rule and then set at once.
type table struct {
	*nftables.Conn
	*nftables.Table
	link string
}

func newTable(link string) (*table, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	return &table{c, c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "bailey"}), link}, nil
}

func (t *table) chain(name string, kind nftables.ChainType, priority *nftables.ChainPriority, policy nftables.ChainPolicy) *nftables.Chain {
	return t.AddChain(&nftables.Chain{Name: name, Table: t.Table, Type: kind, Hooknum: nftables.ChainHookPrerouting,
		Priority: priority, Policy: &policy})
}

// rule is about what comes from the sandbox.
func (t *table) rule(chain *nftables.Chain, exprs ...[]expr.Any) {
	t.AddRule(&nftables.Rule{Table: t.Table, Chain: chain, Exprs: append(fromLink(t.link), slices.Concat(exprs...)...)})
}

// refuseOthers lets DNS and TCP pass, the latter after toFlows.
func (t *table) refuseOthers(toFlows []expr.Any) {
	chain := t.chain("prerouting", nftables.ChainTypeFilter, nftables.ChainPriorityMangle, nftables.ChainPolicyDrop)
	t.rule(chain, protocol(unix.IPPROTO_TCP), toPort(portDNS), accept())
	t.rule(chain, protocol(unix.IPPROTO_UDP), toPort(portDNS), accept())
	t.rule(chain, protocol(unix.IPPROTO_TCP), toFlows, accept())
	t.rule(chain, []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: icmpAdminProhibited}})
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

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

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
