package guest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// maxSessions bounds the sessions that run at once, so that their list fits one SSH packet.
const maxSessions = 64 - keptEnded

// client is one channel that follows a session.
type client struct {
	ch    ssh.Channel
	types bool
	late  chan struct{} // closed when input that it left behind is given up

	// Under the session's lock.
	pos        int64
	moved      time.Time // when it last took output
	rows, cols int
	gone       bool
}

// runSession starts a named session and lets its first client in.
func (s *Server) runSession(nc ssh.NewChannel, cmd guestproto.Command) {
	sess, err := s.startSession(cmd)
	if err != nil {
		reject(nc, err)
		return
	}
	if cmd.Detach {
		if ch, reqs, err := nc.Accept(); err == nil {
			sendExit(ch, guestproto.Exit{})
			ssh.DiscardRequests(reqs)
		}
		return
	}
	sess.follow(nc, guestproto.Attach{Rows: cmd.Rows, Cols: cmd.Cols, Stdin: cmd.Stdin}, true)
}

func (s *Server) startSession(cmd guestproto.Command) (*session, error) {
	if err := s.reserve(cmd.Session); err != nil {
		return nil, err
	}
	p, err := s.start(cmd)
	if err == nil {
		err = s.enter()
		if err != nil {
			p.terminate()
			s.release(p)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.sessions, cmd.Session)
		return nil, err
	}
	sess := newSession(cmd, p, s.stall)
	s.sessions[cmd.Session] = sess
	go func() {
		defer s.work.Done()
		sess.carry()
		s.retire(sess) // first, so that who hears of the end finds the name free
		sess.finish()
		s.release(p)
	}()
	return sess, nil
}

// reserve takes a name before the command starts: a nil session holds it. The name of a session that has
// ended is free.
func (s *Server) reserve(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, taken := s.sessions[name]
	if taken && !slices.Contains(s.ended, old) {
		return fmt.Errorf("a session called %s is running", name)
	}
	if !taken && len(s.sessions)-len(s.ended) >= maxSessions {
		return errors.New("too many sessions are running")
	}
	s.ended = slices.DeleteFunc(s.ended, func(e *session) bool { return e == old })
	s.sessions[name] = nil
	return nil
}

// retire remembers an ended session, and forgets the oldest beyond the number that is kept.
func (s *Server) retire(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, sess)
	if len(s.ended) > keptEnded {
		delete(s.sessions, s.ended[0].cmd.Session)
		s.ended = slices.Delete(s.ended, 0, 1)
	}
}

func (s *Server) session(name string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[name]
}

func (s *Server) list() []guestproto.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := []guestproto.Session{}
	for _, sess := range s.sessions {
		if sess != nil {
			told = append(told, sess.tell())
		}
	}
	slices.SortFunc(told, func(a, b guestproto.Session) int { return cmp.Compare(a.Name, b.Name) })
	return told
}

func (s *Server) attach(nc ssh.NewChannel, a guestproto.Attach) {
	sess := s.session(a.Session)
	if sess == nil {
		reject(nc, fmt.Errorf("no session is called %s", a.Session))
		return
	}
	sess.follow(nc, a, false)
}

// follow serves one client of a session until either ends.
func (s *session) follow(nc ssh.NewChannel, a guestproto.Attach, first bool) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	c := &client{ch: ch, types: a.Stdin, late: make(chan struct{})}
	s.add(c, a.Rows, a.Cols, first)
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.show(c)
	}()
	ends := make(chan struct{}, 1)
	typed := make(chan struct{})
	go func() {
		defer close(typed)
		s.listen(c, ends)
	}()
	for req := range reqs {
		ok := false
		switch {
		case req.Type == guestproto.RequestEOF:
			ok = c.types
			select {
			case ends <- struct{}{}:
			default:
			}
		case c.types:
			ok = control(s.proc, req, func(rows, cols int) { s.resize(c, rows, cols) })
		}
		_ = req.Reply(ok, nil)
	}
	s.leave(c)
	give := time.AfterFunc(grace, func() { close(c.late) })
	<-typed
	give.Stop()
	<-told
}

// show sends a client everything it has not had, and at the session's end the exit.
func (s *session) show(c *client) {
	buf := make([]byte, frameLimit)
	for {
		n, stream, ok := s.next(c, buf)
		if !ok {
			break
		}
		var err error
		if stream == stderrStream {
			_, err = c.ch.Stderr().Write(buf[:n])
		} else {
			_, err = c.ch.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
	s.mu.Lock()
	ended, exit := s.ended && !c.gone, s.exit
	s.mu.Unlock()
	if ended {
		sendExit(c.ch, exit)
	}
}

// listen passes on what a client types. The end of its input is the command's only when it said so
// beforehand (ends), and never on a terminal, which hangs up when its window is closed.
func (s *session) listen(c *client, ends <-chan struct{}) {
	buf := make([]byte, frameLimit)
	for {
		n, err := c.ch.Read(buf)
		if c.types && n > 0 && !s.pass(c, append([]byte(nil), buf[:n]...)) {
			return
		}
		if err != nil {
			break
		}
	}
	select {
	case <-ends:
		if c.types && s.proc.tty == nil {
			s.pass(c, nil)
		}
	default:
	}
}

// pass hands input over. What a client typed just before it left is still passed on, within the grace.
func (s *session) pass(c *client, b []byte) bool {
	select {
	case s.input <- b:
		return true
	case <-s.over:
	case <-c.late:
	}
	return false
}
