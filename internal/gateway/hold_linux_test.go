package gateway

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TestHandshakesEndAsJudged has the verdict follow from the port.
func TestHandshakesEndAsJudged(t *testing.T) {
	for name, w := range forms() {
		if w.Queue {
			continue
		}
		t.Run(name, func(t *testing.T) {
			src := newGateway(t, w).(Holder)
			if c, err := net.Dial("tcp", "203.0.113.7:1"); err != nil {
				t.Fatalf("control: while nobody judges, every handshake is completed: %v", err)
			} else {
				c.Close()
			}
			if _, err := src.Accept(); err != nil {
				t.Fatal(err)
			}
			verdicts := map[uint16]Verdict{2: Unreachable, 3: Pass}
			ended := make(chan struct{})
			came := make(chan [2]netip.AddrPort, 8)
			go func() {
				src.Hold(func(from, to netip.AddrPort) Verdict {
					came <- [2]netip.AddrPort{from, to}
					return verdicts[to.Port()]
				})
				close(ended)
			}()
			// Hold has begun when the first is judged; until then they pass.
			for _, err := net.Dial("tcp", "203.0.113.7:1"); !errors.Is(err, unix.ECONNREFUSED); _, err = net.Dial("tcp", "203.0.113.7:1") {
				if err != nil {
					t.Fatalf("refused with %v", err)
				}
				if _, err := src.Accept(); err != nil {
					t.Fatal(err)
				}
			}
			<-came
			for range 3 { // a second refusal must not be held back by a limit on errors
				if _, err := net.Dial("tcp", "203.0.113.7:2"); !errors.Is(err, unix.EHOSTUNREACH) {
					t.Errorf("unreachable: %v", err)
				}
				<-came
			}
			c, err := net.Dial("tcp", "203.0.113.7:3")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			flow, err := src.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer flow.Close()
			if got := <-came; got != [2]netip.AddrPort{netip.MustParseAddrPort(flow.RemoteAddr().String()), flow.Dst} {
				t.Errorf("judged as %v, arrived from %v to %v", got, flow.RemoteAddr(), flow.Dst)
			}
			if _, err := c.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			src.Close()
			<-ended
		})
	}
}

// TestNobodyJudges closes the queue, which the end of a supervisor does too: no handshake is completed any more.
func TestNobodyJudges(t *testing.T) {
	src := newGateway(t, Without{}).(*holding)
	dial := func() error {
		c, err := net.DialTimeout("tcp", "203.0.113.7:80", 300*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Fatalf("control: %v", err)
	}
	src.door.queue.Close()
	<-src.door.ended
	var timeout net.Error
	if err := dial(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("connecting ends with %v", err)
	}
}

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
