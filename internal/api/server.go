package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	maxHeader = 8 << 10
	maxBody   = 64 << 10
	upgrade   = "guestproto"
	// An answer in flight when the supervisor ends gets this long to leave; it is one small write.
	shutdownGrace = time.Second
)

// Serve answers on ln until ctx ends; then it lets running answers finish, ends every stream, closes ln and
// returns when no goroutine of its own is left.
func Serve(ctx context.Context, ln net.Listener, sup Supervisor, log *slog.Logger) error {
	h := &handler{sup: sup, uid: os.Geteuid(), log: log, streams: newStreams(), ending: ctx}
	srv := &http.Server{
		Handler:           h.mux(),
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext:       withPeer,
	}
	srv.SetKeepAlivesEnabled(false) // one request, one connection: nothing to confuse, nothing left idle
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		h.streams.closeAll()
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close()
	}
	h.streams.closeAll()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// streams are the upgraded connections, which net/http no longer knows.
type streams struct {
	mu     sync.Mutex
	closed bool
	open   map[io.Closer]bool
	wg     sync.WaitGroup
}

func newStreams() *streams { return &streams{open: map[io.Closer]bool{}} }

// add reports false when the server is ending.
func (s *streams) add(cs ...io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	for _, c := range cs {
		s.open[c] = true
	}
	s.wg.Add(1)
	return true
}

func (s *streams) remove(cs ...io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range cs {
		delete(s.open, c)
	}
	s.wg.Done()
}

func (s *streams) closeAll() {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// pipe copies both ways until both directions have ended; the end of one is passed on as a half-close.
func pipe(a, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { copyHalf(a, b) })
	copyHalf(b, a)
	wg.Wait()
}

func copyHalf(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if c, ok := dst.(interface{ CloseWrite() error }); ok && err == nil {
		_ = c.CloseWrite()
		return
	}
	// A broken direction breaks the stream: an end that only stopped reading would otherwise hang the
	// other for ever.
	_ = dst.Close()
	_ = src.Close()
}
