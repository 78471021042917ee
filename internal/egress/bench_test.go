package egress

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func BenchmarkAnswer(b *testing.B) {
	for name, host := range map[string]string{"allowed": "good.test.", "denied": "evil.test."} {
		b.Run(name, func(b *testing.B) {
			l := newLabNoWire(b, "good.test")
			question, _ := new(dns.Msg).SetQuestion(host, dns.TypeA).Pack()
			for b.Loop() {
				l.answer(question)
			}
		})
	}
}

func BenchmarkQuestionOverUDP(b *testing.B) {
	l := newLab(b, "tcp:good.test:443").start()
	question, _ := new(dns.Msg).SetQuestion("good.test.", dns.TypeA).Pack()
	conn, err := net.Dial("udp", l.wire.packets.LocalAddr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	reply := make([]byte, 512)
	for b.Loop() {
		_, _ = conn.Write(question)
		if _, err := conn.Read(reply); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConnection opens a connection, passes five bytes both ways and closes it.
func BenchmarkConnection(b *testing.B) {
	l := newLab(b, "tcp:good.test:443").start()
	l.named("good.test", publicAddr)
	l.host(publicAddr+":443", echo)
	reply := l.ask("good.test", dns.TypeA)
	addr, _ := netip.AddrFromSlice(reply.Answer[0].(*dns.A).A)
	for b.Loop() {
		conn := l.open(netip.AddrPortFrom(addr, 443))
		l.wantEcho(conn)
		_ = conn.Close()
	}
}

// BenchmarkBulk sends through egress and through the simplest proxy there is, in turn, and reports how
// much of the plain one's speed egress has.
func BenchmarkBulk(b *testing.B) {
	l := newLab(b, "tcp:good.test:443").start()
	l.named("good.test", publicAddr)
	l.host(publicAddr+":443", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer plain.Close()
	go func() {
		for {
			conn, err := plain.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", l.hosts[netip.MustParseAddrPort(publicAddr+":443")])
			if err != nil {
				return
			}
			_, _ = io.Copy(up, conn)
			_ = up.Close()
			_ = conn.Close()
		}
	}()
	const size = 256 << 20
	send := func(conn net.Conn) time.Duration {
		chunk := make([]byte, 1<<18)
		began := time.Now()
		for range size / len(chunk) {
			if _, err := conn.Write(chunk); err != nil {
				b.Fatal(err)
			}
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		return time.Since(began)
	}
	var through, direct time.Duration
	for b.Loop() {
		through += send(l.openName("good.test", 443))
		conn, err := net.Dial("tcp", plain.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		direct += send(conn)
		_ = conn.Close()
	}
	b.ReportMetric(float64(b.N)*size*8/through.Seconds()/1e9, "Gbit/s")
	b.ReportMetric(float64(direct)/float64(through), "of-plain")
}

// BenchmarkInspected downloads through inspected TLS, and makes connections with one request each.
func BenchmarkInspected(b *testing.B) {
	const size = 64 << 20
	payload := make([]byte, 1<<18)
	w := newGood(b, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			for range size / len(payload) {
				_, _ = rw.Write(payload)
			}
		}
	}, "good.test")
	fetch := func(b *testing.B, client *http.Client, path string) {
		res, err := client.Get("https://good.test" + path)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	b.Run("download", func(b *testing.B) {
		client := w.client(false)
		b.SetBytes(size)
		for b.Loop() {
			fetch(b, client, "/down")
		}
	})
	b.Run("connection", func(b *testing.B) {
		for b.Loop() {
			client := w.client(false)
			fetch(b, client, "/")
			client.CloseIdleConnections()
		}
	})
}
