package gateway

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// fakeKernel is the other end of a door's queue.
type fakeKernel struct {
	t     *testing.T
	queue *os.File
}

func newFakeKernel(t *testing.T) (*door, *fakeKernel) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, k := newDoor(os.NewFile(uintptr(fds[0]), "queue")), &fakeKernel{t, os.NewFile(uintptr(fds[1]), "kernel")}
	t.Cleanup(func() {
		d.queue.Close()
		<-d.ended
		k.queue.Close()
	})
	return d, k
}

// knocks with a connection from port.
func (k *fakeKernel) knocks(id uint32, port uint16) {
	k.t.Helper()
	if _, err := k.queue.Write(packetMessage(k.t, id, synFrom(port))); err != nil {
		k.t.Fatal(err)
	}
}

// wants reads the next verdict.
func (k *fakeKernel) wants(id, verdict, mark uint32) {
	k.t.Helper()
	b := make([]byte, 256)
	n, err := k.queue.Read(b)
	if err != nil {
		k.t.Fatal(err)
	}
	attributes, err := netlink.NewAttributeDecoder(b[unix.NLMSG_HDRLEN+4 : n])
	if err != nil {
		k.t.Fatal(err)
	}
	var got [3]uint32
	for attributes.Next() {
		switch v := attributes.Bytes(); attributes.Type() {
		case attrVerdictHeader:
			got[0], got[1] = binary.BigEndian.Uint32(v[4:]), binary.BigEndian.Uint32(v)
		case attrMark:
			got[2] = binary.BigEndian.Uint32(v)
		}
	}
	if want := [3]uint32{id, verdict, mark}; got != want {
		k.t.Errorf("id, verdict and mark are %v, want %v", got, want)
	}
}

func (d *door) judgeWith(judge func(src, dst netip.AddrPort) Verdict) { d.judge.Store(&judge) }

func TestAClientThatTriesAgainKnocksOnce(t *testing.T) {
	d, k := newFakeKernel(t)
	decide := make(chan Verdict)
	d.judgeWith(func(_, _ netip.AddrPort) Verdict { return <-decide })
	k.knocks(1, 1000)
	k.knocks(2, 1000)
	k.wants(2, verdictDrop, 0)
	decide <- Refuse
	k.wants(1, verdictAgain, markRefused)
	k.knocks(3, 1001)
	decide <- Unreachable
	k.wants(3, verdictAgain, markUnreachable)
}

func TestHeldHandshakesAreBounded(t *testing.T) {
	d, k := newFakeKernel(t)
	decide := make(chan Verdict)
	d.judgeWith(func(_, _ netip.AddrPort) Verdict { return <-decide })
	for i := range uint32(maxHeld) {
		k.knocks(i, uint16(i))
	}
	k.knocks(maxHeld, maxHeld)
	k.wants(maxHeld, verdictAgain, markPassed)
	close(decide) // the zero verdict
	for range maxHeld {
		if _, err := k.queue.Read(make([]byte, 256)); err != nil {
			t.Fatal(err)
		}
	}
	k.knocks(maxHeld+1, maxHeld)
	k.wants(maxHeld+1, verdictAgain, markRefused)
}

// What is no message about a packet is passed over, and a packet that is no connection's is dropped.
func TestTheDoorSurvivesNonsense(t *testing.T) {
	_, k := newFakeKernel(t)
	for _, b := range [][]byte{{0}, make([]byte, 100), packetMessage(t, 1, nil), packetMessage(t, 3, []byte("GET / HTTP/1.1"))} {
		if _, err := k.queue.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	k.wants(1, verdictDrop, 0)
	k.wants(3, verdictDrop, 0)
	k.knocks(2, 1000)
	k.wants(2, verdictAgain, markPassed)
}

// synFrom is a packet as the kernel cuts it off.
func synFrom(port uint16) []byte {
	b := make([]byte, 40)
	b[0], b[9] = 0x45, unix.IPPROTO_TCP
	copy(b[12:], []byte{198, 18, 0, 2, 203, 0, 113, 7})
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], 443)
	return b
}

func packetMessage(t testing.TB, id uint32, packet []byte) []byte {
	header := append(binary.BigEndian.AppendUint32(nil, id), 0x08, 0x00, 0)
	b, err := queueMessage(queuePacket, 0, []netlink.Attribute{{Type: attrPacketHeader, Data: header}, {Type: attrPayload, Data: packet}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseKnock(t *testing.T) {
	options := append([]byte{0x46}, synFrom(1000)[1:]...)
	options = slices.Insert(options, 20, 1, 1, 1, 1)
	for name, packet := range map[string][]byte{"a short header": synFrom(1000), "a header with options": options} {
		got, ok := parseKnock(packetMessage(t, 7, packet))
		want := knock{7, netip.MustParseAddrPort("198.18.0.2:1000"), netip.MustParseAddrPort("203.0.113.7:443")}
		if !ok || got != want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	change := func(at int, to byte) []byte {
		b := synFrom(1000)
		b[at] = to
		return b
	}
	for name, packet := range map[string][]byte{
		"IPv6": change(0, 0x65), "UDP": change(9, unix.IPPROTO_UDP), "a later fragment": change(7, 1), "a header that is too short": change(0, 0x44),
		"a header that is longer than the packet": change(0, 0x4f), "a packet that ends in its header": synFrom(1000)[:19], "no ports": synFrom(1000)[:23], "nothing": nil,
	} {
		if k, ok := parseKnock(packetMessage(t, 7, packet)); ok {
			t.Errorf("%s is read as %v", name, k)
		}
	}
}

func FuzzParseKnock(f *testing.F) {
	f.Add(packetMessage(f, 7, synFrom(1000)))
	f.Add(packetMessage(f, 7, nil))
	f.Fuzz(func(t *testing.T, message []byte) {
		if k, ok := parseKnock(message); ok && (!k.src.Addr().Is4() || !k.dst.Addr().Is4()) {
			t.Errorf("read as %v", k)
		}
	})
}

func FuzzParseAddresses(f *testing.F) {
	f.Add(synFrom(1000))
	f.Fuzz(func(t *testing.T, packet []byte) {
		src, dst, ok := parseAddresses(packet)
		if ok != (src.IsValid() && dst.IsValid()) {
			t.Errorf("%v and %v, %v", src, dst, ok)
		}
	})
}
