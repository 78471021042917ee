package egress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/egress/framing"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// slow is a lab on pipes, for a clock that only moves while everybody waits: the world is one web server, and the
// sandbox one connection to it, whose end inside it returns. Ended is closed when nothing is left of that; finish waits
// for all.
func slow(t *testing.T, http2 bool, handle http.HandlerFunc) (l *lab, inside net.Conn, ended chan struct{}, finish func()) {
	var world sync.WaitGroup
	l = newLabNoWire(t, "good.test")
	l.named("good.test", publicAddr)
	l.Server.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		near, far := net.Pipe()
		world.Go(func() {
			serveHTTP(context.Background(), newStream(far, http2, new(framing.Budget)), http2, handle)
		})
		return near, nil
	}
	inside, ours := net.Pipe()
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		l.serveFlow(context.Background(), &flow{Flow: gateway.Flow{Conn: ours}, target: policy.Request{Host: "good.test", Port: 80}})
	}()
	return l, inside, ended, func() {
		_ = inside.Close()
		<-ended
		world.Wait()
	}
}

// wantStalled says that the one request ended because somebody took nothing.
func (l *lab) wantStalled() {
	l.t.Helper()
	found := 0
	for _, e := range l.events {
		if e.Kind == audit.KindResponse && e.Error == errStalled.Error() {
			found++
		}
	}
	if found != 1 {
		l.t.Errorf("events: %+v", l.events)
	}
}

func download(w http.ResponseWriter, _ *http.Request) {
	// ReverseProxy flushes once by a timer, which would wait for the lock of a write that waits for the client: for that
	// the clock does not move.
	_ = http.NewResponseController(w).Flush()
	synctest.Wait()
	for chunk := make([]byte, 64<<10); ; {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestAClientThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, inside, ended, finish := slow(t, false, download)
		began := time.Now()
		_, _ = io.WriteString(inside, "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n")
		_, _ = io.ReadFull(inside, make([]byte, 1<<20))
		<-ended
		if took := time.Since(began); took != stallTimeout {
			t.Errorf("it is waited for %v", took)
		}
		finish()
		l.wantStalled()
	})
}

// In HTTP/2 the others on the same connection go on.
func TestAStreamThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, inside, _, finish := slow(t, true, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/small" {
				hello(w, r)
				return
			}
			download(w, r)
		})
		began := time.Now()
		h2 := newFrames(t, inside)
		resets, answers := make(chan time.Duration, 1), make(chan time.Duration, 1)
		go func() {
			for {
				frame, err := h2.ReadFrame()
				if err != nil {
					return
				}
				switch at := time.Since(began); {
				case frame.Header().Type == http2.FrameRSTStream && frame.Header().StreamID == 1:
					resets <- at
				case frame.Header().Type == http2.FrameHeaders && frame.Header().StreamID == 3:
					answers <- at
				}
			}
		}()
		_ = h2.request(1, ":scheme", "http")
		if at := <-resets; at != stallTimeout {
			t.Errorf("it is waited for %v", at)
		}
		_ = h2.request(3, ":scheme", "http", ":path", "/small")
		if at := <-answers; at != stallTimeout {
			t.Errorf("the next answer comes after %v", at)
		}
		finish()
		l.wantStalled()
	})
}

func TestAServerThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		l, inside, _, finish := slow(t, false, func(http.ResponseWriter, *http.Request) { <-release })
		began := time.Now()
		go func() {
			_, _ = fmt.Fprintf(inside, "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: %d\r\n\r\n", 64<<20)
			_, _ = io.CopyN(inside, zeros{}, 64<<20)
		}()
		res, err := http.ReadResponse(bufio.NewReader(inside), nil)
		if err != nil || res.StatusCode != 502 || time.Since(began) != stallTimeout {
			t.Errorf("after %v: %v, %v", time.Since(began), res, err)
		}
		close(release)
		finish()
		l.wantStalled()
	})
}

// Connections outside do not outlive the one inside, also when its requests are torn off.
func TestTheEndInsideEndsWhatIsOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan bool)
		l, inside, _, finish := slow(t, true, func(_ http.ResponseWriter, r *http.Request) {
			arrived <- true
			_, _ = io.Copy(io.Discard, r.Body)
		})
		began := time.Now()
		go func() { _, _ = io.Copy(io.Discard, inside) }()
		h2 := newFrames(t, inside)
		_ = h2.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h2.head(":scheme", "http", ":method", "POST"), EndHeaders: true})
		<-arrived
		finish()
		if took := time.Since(began); took != 0 {
			t.Errorf("they are kept for %v", took)
		}
		if len(l.events) == 0 {
			t.Error("control: there was no request")
		}
	})
}

// Who only waits is not stalled: for an answer, for more of it, or for more of a request.
func TestPatienceIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, inside, _, finish := slow(t, false, func(w http.ResponseWriter, r *http.Request) {
			got, _ := io.ReadAll(r.Body)
			time.Sleep(3 * stallTimeout)
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(3 * stallTimeout)
			_, _ = w.Write(got)
		})
		go func() {
			_, _ = io.WriteString(inside, "POST / HTTP/1.1\r\nHost: good.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nb")
			time.Sleep(3 * stallTimeout)
			_, _ = io.WriteString(inside, "c")
		}()
		res, err := http.ReadResponse(bufio.NewReader(inside), nil)
		if got := body(t, res, err); got != "abc" {
			t.Errorf("%q", got)
		}
		finish()
		for _, e := range l.events {
			if e.Error != "" && !strings.Contains(e.Error, "closed pipe") {
				t.Errorf("event: %+v", e)
			}
		}
	})
}
