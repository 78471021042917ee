package guestproto

import (
	"errors"
	"fmt"
	"io"
	"math"

	"golang.org/x/crypto/ssh"
)

// Process is a command or session as one client sees it. Stdout and Stderr share one flow-control window
// of 2 MiB: both must be read, from two goroutines, or the one that is not read stops the other. What
// comes out of them is hostile. The window also bounds what is kept for a reader that is slow, at up to
// 64 times its size when a hostile guest sends single bytes.
type Process struct {
	// Stdin's Close is the end of the input (a half-close). A session with a terminal takes no such end.
	// Both Write and Close may block for as long as the guest likes, until Close of the Process's Client.
	Stdin  io.WriteCloser
	Stdout io.Reader
	Stderr io.Reader // empty with a terminal

	ch   ssh.Channel
	done chan struct{} // closed when the channel is
	exit Exit
	told bool // an exit status came
}

func newProcess(ch ssh.Channel, reqs <-chan *ssh.Request) *Process {
	p := &Process{Stdin: stdin{ch}, Stdout: ch, Stderr: ch.Stderr(), ch: ch, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for req := range reqs {
			p.hear(req)
			_ = req.Reply(false, nil)
		}
	}()
	return p
}

func (p *Process) hear(req *ssh.Request) {
	switch req.Type {
	case "exit-status":
		if code, ok := decodeExitStatus(req.Payload); ok {
			p.exit.Code, p.told = code, true
		}
	case "exit-signal":
		p.exit.Signal = decodeExitSignal(req.Payload)
	}
}

// Wait returns how the command ended, or an error when the stream broke before an exit status came.
// Output may still be waiting to be read then; and output that nobody reads keeps Wait from returning.
func (p *Process) Wait() (Exit, error) {
	<-p.done
	if !p.told {
		return Exit{}, errors.New("lost the command: the stream to the guest broke, or this client was cut off because it did not read")
	}
	return p.exit, nil
}

// Resize tells the size of the client's terminal in characters.
func (p *Process) Resize(rows, cols int) error {
	size := struct{ Cols, Rows, Width, Height uint32 }{Cols: clamp(cols), Rows: clamp(rows)}
	if _, err := p.ch.SendRequest("window-change", false, ssh.Marshal(size)); err != nil {
		return fmt.Errorf("cannot resize the terminal: %w", err)
	}
	return nil
}

// Signal sends a signal, by its name without SIG, to the command's process group.
func (p *Process) Signal(name string) error {
	if _, err := p.ch.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{name})); err != nil {
		return fmt.Errorf("cannot send signal %s: %w", name, err)
	}
	return nil
}

// Close lets go: a session goes on without this client, any other command is hung up and soon killed.
// It is also right after Wait, and more than once.
func (p *Process) Close() error {
	if err := p.ch.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// stdin tells the guest that an end of input is meant, before it sends it (see RequestEOF).
type stdin struct{ ssh.Channel }

func (s stdin) Close() error {
	// A refusal or an error means that the command is gone, and with it whoever would read on.
	if _, err := s.SendRequest(RequestEOF, true, nil); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.CloseWrite(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func clamp(n int) uint32 { return uint32(min(max(n, 0), math.MaxUint16)) }
