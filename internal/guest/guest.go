// Package guest is what runs inside a sandbox: it speaks SSH on private streams, starts commands with or
// without a terminal, keeps named sessions that clients leave and join, and as PID 1 reaps every orphan.
//
// It knows no policy and enforces none: the sandboxed code may do to this process whatever its user may,
// so nothing that protects the host can live here. It opens no network port and reads nothing of the
// host's. Its clients, on the other hand, are the host: they are trusted, but may be slow, stuck or gone.
package guest

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const (
	// grace is how long a process that was asked to end may take before it is killed.
	grace = time.Second
	// stall is how long one client that does not read may hold up a session's output.
	stall = 10 * time.Second
)

// Config is what the host tells the guest before anything runs. The zero value runs nothing, because it
// names no user.
type Config struct {
	User    sandbox.User `json:"user"`    // who commands run as unless they say otherwise
	Env     []string     `json:"env"`     // the base environment; nothing of the guest's own is inherited
	Workdir string       `json:"workdir"` // where commands start unless they say otherwise
	// Init says that this process is PID 1 of the sandbox: it reaps every orphan (so nothing else in the
	// process may wait for children of its own), ignores every signal that can be ignored, and makes
	// every file that it inherited close on exec. Linux only.
	Init bool `json:"init"`
	// Users says that commands may run as other users than User.
	Users bool `json:"users"`
	// OOM is PID 1's /proc/self/oom_score_adj, open for writing, or nil: see expendable. The guest keeps it.
	OOM *os.File `json:"-"`
}

// Server is one guest agent. Its methods may be called from any goroutine.
type Server struct {
	cfg   Config
	log   *slog.Logger
	key   ed25519.PrivateKey
	spawn spawner
	stall time.Duration

	work sync.WaitGroup // every goroutine of a channel or session

	mu       sync.Mutex
	closed   bool
	streams  map[net.Conn]struct{}
	running  map[*process]struct{}
	sessions map[string]*session
	ended    []*session // of sessions, oldest first
}

// New returns a guest agent that waits for its first stream. Close frees it.
func New(cfg Config, log *slog.Logger) *Server {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic("guest: no randomness: " + err.Error()) // crypto/rand itself never returns an error
	}
	return &Server{
		cfg:      cfg,
		log:      log,
		key:      key, // for this process only: see guestproto.Dial
		spawn:    newSpawner(cfg),
		stall:    stall,
		streams:  map[net.Conn]struct{}{},
		running:  map[*process]struct{}{},
		sessions: map[string]*session{},
	}
}

// Serve speaks SSH on conn, which it owns, until the stream ends. Commands that the stream's client
// started are being hung up then; named sessions go on. The error of an orderly end is nil. Many streams may
// be served at once. conn must have a buffer, however small: both ends of SSH write before they read, so
// over a net.Pipe they would wait for each other for ever.
func (s *Server) Serve(conn net.Conn) error {
	defer conn.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.streams[conn] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, conn)
		s.mu.Unlock()
	}()
	err := s.serveStream(conn)
	s.log.Debug("stream ended", "error", err)
	return err
}

// Close ends every process (SIGHUP and SIGTERM, after a grace of a second SIGKILL), then every stream,
// and returns when all are gone. Clients are told how their commands ended.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var ending sync.WaitGroup
	for p := range s.running {
		ending.Go(p.terminate)
	}
	s.mu.Unlock()
	ending.Wait()
	if s.cfg.Init {
		killOthers()
	}

	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace): // a client that does not read, or does not answer
	}
	s.mu.Lock()
	for conn := range s.streams {
		_ = conn.Close()
	}
	s.mu.Unlock()
	<-done
	s.spawn.close()
	return nil
}

// enter counts one more piece of work for Close to wait for, unless Close has begun.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the sandbox is stopping")
	}
	s.work.Add(1)
	return nil
}

func (s *Server) sshConfig() (*ssh.ServerConfig, error) {
	signer, err := ssh.NewSignerFromKey(s.key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the host key: %w", err)
	}
	cfg := &ssh.ServerConfig{
		Config: ssh.Config{
			// The client's order decides. Ours wants the first; OpenSSH warns without the second.
			KeyExchanges: []string{ssh.KeyExchangeCurve25519, ssh.KeyExchangeMLKEM768X25519},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305},
		},
		NoClientAuth: true, // whoever holds the stream is the host
	}
	cfg.AddHostKey(signer)
	return cfg, nil
}
