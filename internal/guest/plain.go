package guest

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// runPlain serves a "session" channel as any SSH server would, for OpenSSH and for editors that come
// through it.
func (s *Server) runPlain(nc ssh.NewChannel) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	cmd := guestproto.Command{Stdin: true}
	for req := range reqs {
		ready, err := s.prepare(&cmd, req)
		if !ready {
			_ = req.Reply(err == nil, nil)
			continue
		}
		p, err := s.start(cmd)
		_ = req.Reply(true, nil) // a failure is told like a shell tells it
		if err != nil {
			fmt.Fprintf(ch.Stderr(), "%v\n", err)
			sendExit(ch, guestproto.Exit{Code: startCode(err)})
			for req := range reqs {
				_ = req.Reply(false, nil)
			}
			return
		}
		defer s.release(p)
		carry(p, ch, reqs)
		return
	}
}

// prepare collects what will be run. It is ready when the request was one to start.
func (s *Server) prepare(cmd *guestproto.Command, req *ssh.Request) (ready bool, err error) {
	switch req.Type {
	case "env":
		entry, err := decodeEnv(req.Payload)
		if err == nil {
			cmd.Env = append(cmd.Env, entry)
		}
		return false, err
	case "pty-req":
		term, size, err := decodePty(req.Payload)
		if err == nil {
			cmd.TTY, cmd.Term, cmd.Rows, cmd.Cols = true, term, size.rows, size.cols
		}
		return false, err
	case "shell":
		cmd.Argv = []string{s.cfg.User.Shell, "-l"}
		return true, nil
	case "exec":
		line, err := decodeExec(req.Payload)
		cmd.Argv = []string{s.cfg.User.Shell, "-c", line}
		return err == nil, err
	}
	return false, errors.New("not served")
}

func startCode(err error) int {
	var e *startError
	if errors.As(err, &e) {
		return e.code
	}
	return 125
}
