package guest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

const (
	keptEnded = 16 // sessions that are remembered after their end
	// redraw is how long a terminal keeps a wrong size so that its program sees two changes and not none.
	redraw = 100 * time.Millisecond
)

// session is a command that outlives its clients. Its output goes through a ring, from which every client
// reads at its own pace. The ring is back-pressure too: the command waits for a client that is a whole
// ring behind, as it would at a pipe. But a client that then takes nothing for the stall time is cut off,
// so that a stuck terminal cannot hold an agent for ever; and the command never waits for one that left.
type session struct {
	cmd   guestproto.Command
	proc  *process
	stall time.Duration
	input chan []byte // nil is the end of input
	over  chan struct{}

	mu         sync.Mutex
	changed    *sync.Cond // ring, clients or ended
	ring       ring
	clients    []*client // the one whose size is in force last
	rows, cols int
	ended      bool // ring and exit are final
	exit       guestproto.Exit
}

func newSession(cmd guestproto.Command, p *process, stall time.Duration) *session {
	s := &session{cmd: cmd, proc: p, stall: stall, input: make(chan []byte), over: make(chan struct{}), rows: cmd.Rows, cols: cmd.Cols}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// carry moves the session's streams until its command has ended.
func (s *session) carry() {
	go s.feed()
	s.proc.copyOutput(func(stream byte, b []byte) error {
		s.append(stream, b)
		return nil
	})
	<-s.proc.child.done
	close(s.over)
}

// finish makes the end known to all clients.
func (s *session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.exit = true, s.proc.exit()
	s.ring.trim()
	s.changed.Broadcast()
}

// feed is the only writer of the command's input, so that a client that leaves never waits for a command
// that does not read. It ends with the session, at the latest when the command's streams are closed.
func (s *session) feed() {
	broken := false
	for {
		select {
		case b := <-s.input:
			if b == nil {
				s.proc.endInput()
				broken = true
			}
			if !broken {
				_, err := s.proc.stdin.Write(b)
				broken = err != nil
			}
		case <-s.over:
			return
		}
	}
}

// append adds output to the ring once no client needs what it pushes out.
func (s *session) append(stream byte, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := time.Now()
	for s.behind(len(b), since) {
		wake := time.AfterFunc(s.stall/4, s.changed.Broadcast)
		s.changed.Wait()
		wake.Stop()
	}
	s.ring.push(stream, b)
	s.changed.Broadcast()
}

// behind reports whether a client has yet to read what n more bytes would push out. It cuts off those
// that have taken nothing for the stall time, counted from since at the earliest.
func (s *session) behind(n int, since time.Time) bool {
	start := s.ring.after(n)
	waiting := false
	for _, c := range slices.Clone(s.clients) {
		if c.pos >= start {
			continue
		}
		if time.Since(c.moved) > s.stall && time.Since(since) > s.stall {
			s.remove(c)
			go c.ch.Close() // it may block as long as the stream does
			continue
		}
		waiting = true
	}
	return waiting
}

// add lets c follow from the oldest output that is kept. A program that drew for another client is made
// to redraw.
func (s *session) add(c *client, rows, cols int, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.pos, c.moved = s.ring.start, time.Now()
	s.clients = append([]*client{c}, s.clients...)
	if s.ended {
		return
	}
	if c.types && rows > 0 && cols > 0 {
		same := rows == s.rows && cols == s.cols
		s.setSize(c, rows, cols)
		if same && !first {
			s.forceRedraw()
		}
	}
}

// setSize makes c the client whose size is in force: the one that joined or resized last, because that is
// where somebody sits. Clients that only watch have no say.
func (s *session) setSize(c *client, rows, cols int) {
	i := slices.Index(s.clients, c)
	if i < 0 || !c.types || rows <= 0 || cols <= 0 {
		return
	}
	c.rows, c.cols = rows, cols
	s.clients = append(slices.Delete(s.clients, i, i+1), c)
	s.rows, s.cols = rows, cols
	s.proc.resize(rows, cols)
}

func (s *session) resize(c *client, rows, cols int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setSize(c, rows, cols)
}

// forceRedraw changes the size and soon changes it back, which makes a full-screen program paint anew.
// Some look at the width only.
func (s *session) forceRedraw() {
	s.proc.resize(max(s.rows-1, 1), max(s.cols-1, 1))
	time.AfterFunc(redraw, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ended {
			s.proc.resize(s.rows, s.cols)
		}
	})
}

// remove forgets c, and gives the terminal the size of the client that was in force before it.
func (s *session) remove(c *client) {
	i := slices.Index(s.clients, c)
	if i < 0 {
		return
	}
	s.clients = slices.Delete(s.clients, i, i+1)
	c.gone = true
	s.changed.Broadcast()
	if n := len(s.clients); n > 0 && !s.ended {
		last := s.clients[n-1]
		s.setSize(last, last.rows, last.cols)
	}
}

func (s *session) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(c)
}

// next waits for output that c has not had, and copies it to p. It reports false when there is no more:
// the session has ended, or c is gone.
func (s *session) next(c *client, p []byte) (n int, stream byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c.pos == s.ring.end && !s.ended && !c.gone {
		s.changed.Wait()
	}
	if c.gone || c.pos == s.ring.end {
		return 0, 0, false
	}
	n, stream, c.pos = s.ring.read(c.pos, p)
	c.moved = time.Now()
	s.changed.Broadcast()
	return n, stream, true
}

// tell describes the session, cut short so that the list of all fits one SSH packet.
func (s *session) tell() guestproto.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	argv := slices.Clone(s.cmd.Argv[:min(len(s.cmd.Argv), 8)])
	for i, arg := range argv {
		argv[i] = arg[:min(len(arg), 64)]
	}
	return guestproto.Session{
		Name: s.cmd.Session, Argv: argv, TTY: s.cmd.TTY, PID: s.proc.child.pid,
		Clients: len(s.clients), Running: !s.ended, Exit: s.exit,
	}
}

// kill signals every process of a session.
func (s *Server) kill(k guestproto.Kill) error {
	sig, err := signalNumber(k.Signal)
	if err != nil {
		return err
	}
	found := s.session(k.Session)
	if found == nil {
		return fmt.Errorf("no session is called %s", k.Session)
	}
	if found.proc.ended() {
		return fmt.Errorf("session %s has ended", k.Session)
	}
	signalSession(found.proc.child.pid, sig)
	return nil
}
