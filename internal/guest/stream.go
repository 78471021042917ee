package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/crypto/ssh"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// serveStream runs one SSH connection to its end.
func (s *Server) serveStream(conn net.Conn) error {
	cfg, err := s.sshConfig()
	if err != nil {
		return err
	}
	sc, chans, reqs, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return fmt.Errorf("cannot begin with the client: %w", err)
	}
	if err := s.enter(); err != nil {
		return err
	}
	go func() {
		defer s.work.Done()
		for req := range reqs {
			ok, answer := s.global(req)
			_ = req.Reply(ok, answer)
		}
	}()
	for nc := range chans {
		if err := s.enter(); err != nil {
			reject(nc, err)
			continue
		}
		go func() {
			defer s.work.Done()
			s.channel(nc)
		}()
	}
	if err := sc.Wait(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("lost the client: %w", err)
	}
	return nil
}

func (s *Server) channel(nc ssh.NewChannel) {
	switch nc.ChannelType() {
	case guestproto.ChannelRun:
		cmd, err := decodeCommand(nc.ExtraData())
		if err != nil {
			reject(nc, err)
			return
		}
		if cmd.Session != "" {
			s.runSession(nc, cmd)
			return
		}
		s.runCommand(nc, cmd)
	case guestproto.ChannelAttach:
		a, err := decodeAttach(nc.ExtraData())
		if err != nil {
			reject(nc, err)
			return
		}
		s.attach(nc, a)
	case "session":
		s.runPlain(nc)
	default:
		_ = nc.Reject(ssh.UnknownChannelType, "only sessions are served")
	}
}

func (s *Server) global(req *ssh.Request) (ok bool, answer []byte) {
	switch req.Type {
	case guestproto.RequestSessions:
		answer, err := json.Marshal(s.list())
		if err != nil {
			return false, []byte(err.Error())
		}
		return true, answer
	case guestproto.RequestKill:
		k, err := decodeKill(req.Payload)
		if err == nil {
			err = s.kill(k)
		}
		return done(err)
	case guestproto.RequestPause:
		p, err := decodePause(req.Payload)
		if err == nil {
			err = pause(p.Stop)
		}
		return done(err)
	}
	return false, nil // port forwarding, and OpenSSH's notices that want no answer
}

// done is the answer to an order.
func done(err error) (ok bool, answer []byte) {
	if err != nil {
		return false, []byte(err.Error())
	}
	return true, nil
}

// runCommand serves a command that lives as long as its client.
func (s *Server) runCommand(nc ssh.NewChannel, cmd guestproto.Command) {
	p, err := s.start(cmd)
	if err != nil {
		reject(nc, err)
		return
	}
	defer s.release(p)
	ch, reqs, err := nc.Accept()
	if err != nil {
		p.hangUp()
		return
	}
	carry(p, ch, reqs)
}

func reject(nc ssh.NewChannel, err error) {
	reason := ssh.ConnectionFailed
	var e *startError
	if errors.As(err, &e) {
		reason = ssh.RejectionReason(guestproto.RejectStart + e.code)
	}
	_ = nc.Reject(reason, err.Error())
}

// sendExit is the last that a client hears of a command. Plain SSH knows either a status or a signal;
// ours are told both, and OpenSSH, which ignores the signal, then exits like a shell would.
func sendExit(ch ssh.Channel, e guestproto.Exit) {
	if e.Signal != "" {
		_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name       string
			Core       bool
			Text, Lang string
		}{Name: e.Signal}))
	}
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(e.Code)}))
	_ = ch.Close()
}

// control obeys one request of a client of p.
func control(p *process, req *ssh.Request, resize func(rows, cols int)) bool {
	switch req.Type {
	case "window-change":
		size, err := decodeWindow(req.Payload)
		if err != nil || p.tty == nil {
			return false
		}
		resize(size.rows, size.cols)
		return true
	case "signal":
		sig, err := decodeSignal(req.Payload)
		if err != nil {
			return false
		}
		return p.signalGroup(sig) == nil
	}
	return false
}

// carry joins a command to its one client until either ends. Back-pressure is the pipe's: a client that
// does not read stops the command when its window (2 MiB) and the pipe are full.
func carry(p *process, ch ssh.Channel, reqs <-chan *ssh.Request) {
	go func() {
		_, err := io.Copy(p.stdin, ch)
		if err != nil {
			// The command reads no more. Its client may still be writing, and must not get stuck.
			_, _ = io.Copy(io.Discard, ch)
		}
		p.endInput()
	}()
	told := make(chan struct{})
	go func() {
		defer close(told)
		p.copyOutput(func(stream byte, b []byte) error {
			var err error
			if stream == stderrStream {
				_, err = ch.Stderr().Write(b)
			} else {
				_, err = ch.Write(b)
			}
			return err
		})
		<-p.child.done // it may have closed its output and go on
		sendExit(ch, p.exit())
	}()
	for req := range reqs {
		ok := req.Type == guestproto.RequestEOF || control(p, req, p.resize)
		_ = req.Reply(ok, nil)
	}
	p.hangUp()
	<-told
}
