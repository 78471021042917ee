package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// queueNumber is the one queue of the gateway's namespace.
const queueNumber = 0

// queueBuffer is for all that may wait in the queue, in bytes: the kernel counts about 1,300 for a packet.
const queueBuffer = 2 << 20

// What the kernel calls the parts of its queue's messages (linux/netfilter/nfnetlink_queue.h).
const (
	queuePacket  = unix.NFNL_SUBSYS_QUEUE << 8
	queueVerdict = unix.NFNL_SUBSYS_QUEUE<<8 | 1
	queueConfig  = unix.NFNL_SUBSYS_QUEUE<<8 | 2

	attrPacketHeader  = 1 // id, then what we need not know
	attrVerdictHeader = 2
	attrMark          = 3
	attrPayload       = 10

	attrCommand      = 1
	attrParams       = 2
	commandBind      = 1
	copyPacket       = 2
	verdictDrop      = 0
	verdictAgain     = 4  // NF_REPEAT: the packet meets the same chain again, with its mark
	maxPacketHeaders = 80 // the longest header of IPv4, and TCP's without options
)

// hold has the first packet of every connection wait in a queue, before anything else sees it, until somebody has
// given it a mark:
//
//	tcp flags & (fin|syn|rst|ack) != syn  accept
//	tcp dport 53                          accept
//	mark markRefused                      reject with tcp reset
//	mark markUnreachable                  reject with icmp host-unreachable
//	mark != markPassed                    queue
//
// A packet that cannot be queued, because the queue is full or its owner is gone, is dropped. The socket that hold
// returns is the queue; with neither of the kernel's two ways to fill one, it is nil.
func hold(link string) (*os.File, error) {
	queue, err := openQueue()
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Most kernels have both. Some that are made for virtual machines have only the older one, which is tried first,
	// because giving up on a transaction takes the kernel milliseconds.
	info := xt.Unknown(binary.NativeEndian.AppendUint16(nil, queueNumber)) // of NFQUEUE's first revision
	for _, toQueue := range []expr.Any{&expr.Target{Name: "NFQUEUE", Info: &info}, &expr.Queue{Num: queueNumber}} {
		if err = holdWith(link, toQueue); err == nil {
			return queue, nil
		}
	}
	queue.Close()
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	return nil, err
}

func holdWith(link string, toQueue expr.Any) error {
	t, err := newTable(link)
	if err != nil {
		return err
	}
	before := *nftables.ChainPriorityMangle - 1
	chain := t.chain("hold", nftables.ChainTypeFilter, &before, nftables.ChainPolicyAccept)
	tcp := protocol(unix.IPPROTO_TCP)
	t.rule(chain, tcp, noNewConnection(), accept())
	t.rule(chain, tcp, toPort(portDNS), accept())
	t.rule(chain, tcp, marked(expr.CmpOpEq, markRefused), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	t.rule(chain, tcp, marked(expr.CmpOpEq, markUnreachable), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: icmpHostUnreachable}})
	t.rule(chain, tcp, marked(expr.CmpOpNeq, markPassed), []expr.Any{toQueue})
	return t.Flush()
}

// icmpHostUnreachable is what a router says that cannot find the host (RFC 792).
const icmpHostUnreachable = 1

func noNewConnection() []expr.Any {
	const fin, syn, rst, ack = 1, 2, 4, 16
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{fin | syn | rst | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{syn}},
	}
}

func marked(op expr.CmpOp, mark uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
	}
}

// openQueue makes the queue in the calling thread's network namespace. It belongs to the socket, whoever holds that.
func openQueue() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("cannot make the queue's socket: %w", err)
	}
	queue := os.NewFile(uintptr(fd), "queue")
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err == nil {
		// What does not fit into the socket is dropped, and comes again; that needs no error for the next one.
		err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1)
	}
	if err == nil {
		// As much as the kernel grants, for many connections that begin at once.
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, queueBuffer)
	}
	if err == nil {
		err = configureQueue(fd)
	}
	if err != nil {
		queue.Close()
		return nil, fmt.Errorf("cannot make the queue: %w", err)
	}
	return queue, nil
}

func configureQueue(fd int) error {
	bind := []byte{commandBind, 0, 0, 0}
	params := append(binary.BigEndian.AppendUint32(nil, maxPacketHeaders), copyPacket)
	message, err := queueMessage(queueConfig, unix.NLM_F_ACK, []netlink.Attribute{{Type: attrCommand, Data: bind}, {Type: attrParams, Data: params}})
	if err != nil {
		return err
	}
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 512)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer makes no sense")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// queueMessage is one message to the kernel about the queue.
func queueMessage(kind, flags uint16, attributes []netlink.Attribute) ([]byte, error) {
	attrs, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return nil, err
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+4+len(attrs)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = append(b, make([]byte, 8)...) // sequence and port
	b = append(b, unix.AF_UNSPEC, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, queueNumber)
	return append(b, attrs...), nil
}
