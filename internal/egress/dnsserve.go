package egress

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// maxStreams is how many DNS connections may be open at once; those beyond are closed.
	maxStreams = 64
	// streamTimeout is how long one of them may take for a message, and be idle (RFC 7766 section 6.2.3).
	streamTimeout = 10 * time.Second
)

// servePackets answers datagrams one after the other: an answer is a few microseconds of work, and a
// sandbox that floods only fills its own queue.
func (s *Server) servePackets(ctx context.Context, conn net.PacketConn) {
	packet := make([]byte, maxQuestion+1) // so that a longer one is seen to be too long
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			if !s.retry(ctx, "read a DNS question", err) {
				return
			}
			continue
		}
		if reply := s.answer(packet[:n]); reply != nil {
			if _, err := conn.WriteTo(reply, from); err != nil {
				s.log().Debug("cannot send a DNS answer", "error", err)
			}
		}
	}
}

// serveStreams answers DNS over TCP.
func (s *Server) serveStreams(ctx context.Context, l net.Listener, wg *sync.WaitGroup) {
	slots := make(chan struct{}, maxStreams)
	for {
		conn, err := l.Accept()
		if err != nil {
			if !s.retry(ctx, "accept a DNS connection", err) {
				return
			}
			continue
		}
		select {
		case slots <- struct{}{}:
			wg.Go(func() {
				defer func() { <-slots }()
				s.serveStream(ctx, conn)
			})
		default:
			_ = conn.Close()
		}
	}
}

// serveStream answers one connection's messages in their order (RFC 1035 section 4.2.2).
func (s *Server) serveStream(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	packet := make([]byte, maxQuestion)
	for {
		_ = conn.SetDeadline(time.Now().Add(streamTimeout))
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if n > maxQuestion {
			return
		}
		if _, err := io.ReadFull(conn, packet[:n]); err != nil {
			return
		}
		reply := s.answer(packet[:n])
		if reply == nil {
			return
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(reply)))
		if _, err := conn.Write(append(framed, reply...)); err != nil {
			return
		}
	}
}

// recordQuestion records a refused question. So many come when something retries, or tries to send data
// out in names, that they would push everything else out of the record: beyond a rate they are counted.
func (s *Server) recordQuestion(q dns.Question, host string, d policy.Decision) {
	missed, ok := s.refused.take(time.Now())
	if !ok {
		return
	}
	_ = s.record(audit.Event{Kind: audit.KindDNS, Host: host, Type: dns.Type(q.Qtype).String(),
		Verdict: d.Verdict.String(), Rule: d.Rule, Reason: d.Reason, Missed: missed})
}

// recordMissed records at the end how many refused questions were only counted since the last record.
func (s *Server) recordMissed() {
	if missed := s.refused.drain(); missed > 0 {
		_ = s.record(audit.Event{Kind: audit.KindDNS, Verdict: policy.Deny.String(), Missed: missed,
			Reason: "more refused questions came than are recorded singly"})
	}
}

// throttle lets burst events pass at once and perSecond in the long run, and counts the others.
type throttle struct {
	mu     sync.Mutex
	spent  float64
	last   time.Time
	missed uint64
}

// take says whether the event at now may pass, and how many have not since the last that did.
func (t *throttle) take(now time.Time) (missed uint64, ok bool) {
	const burst, perSecond = 100, 20
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spent = max(0, t.spent-now.Sub(t.last).Seconds()*perSecond)
	t.last = now
	if t.spent+1 > burst {
		t.missed++
		return 0, false
	}
	t.spent++
	missed, t.missed = t.missed, 0
	return missed, true
}

func (t *throttle) drain() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	missed := t.missed
	t.missed = 0
	return missed
}
