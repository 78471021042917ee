package guestproto

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// Client is the host's end of one stream to the guest agent. Its methods may be called from any
// goroutine.
type Client struct{ conn ssh.Conn }

// Dial starts SSH as client on conn, which the Client owns from then on (it is closed on error too). conn
// must have a buffer, however small, which a net.Pipe has not.
//
// The host key is not checked: conn is private to the two ends (a socket pair, vsock, the stdio of an
// engine's exec), so there is nobody to be mistaken for, and what answers is hostile in any case. The
// algorithms are fixed to the cheapest, because the handshake is part of every cold start.
func Dial(ctx context.Context, conn net.Conn) (*Client, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	sc, chans, reqs, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeCurve25519},
			Ciphers:      []string{ssh.CipherAES128GCM},
		},
		User:              "bailey",
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback:   ssh.InsecureIgnoreHostKey(),
	})
	if err != nil || !stop() {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("cannot reach the guest agent: %w", safe(err))
	}
	go ssh.DiscardRequests(reqs)
	go func() {
		for nc := range chans { // the guest has nothing to open here
			_ = nc.Reject(ssh.Prohibited, "")
		}
	}()
	return &Client{sc}, nil
}

// Wait returns when the stream has ended, for whatever reason, with what ended it.
func (c *Client) Wait() error { return safe(c.conn.Wait()) }

// Close ends the stream. Sessions go on; every other command that was started here is hung up.
func (c *Client) Close() error { return c.conn.Close() }

// Run starts a command and returns when it has started, or a *StartError. Later, ctx is not looked at.
func (c *Client) Run(ctx context.Context, cmd Command) (*Process, error) {
	// JSON would silently replace bytes that are not UTF-8 and run another command than the one asked for.
	for _, s := range append(append([]string{cmd.Dir}, cmd.Argv...), cmd.Env...) {
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("cannot run a command whose arguments, environment or directory are not UTF-8: %q", s)
		}
	}
	return c.open(ctx, ChannelRun, cmd)
}

// Attach joins a session. ctx bounds the joining only.
func (c *Client) Attach(ctx context.Context, a Attach) (*Process, error) {
	return c.open(ctx, ChannelAttach, a)
}

func (c *Client) open(ctx context.Context, channel string, what any) (*Process, error) {
	extra, err := marshal(what)
	if err != nil {
		return nil, err
	}
	if len(extra) > MaxCommand {
		return nil, fmt.Errorf("the command and its environment take %d bytes, at most %d are allowed", len(extra), MaxCommand)
	}
	type opened struct {
		ch   ssh.Channel
		reqs <-chan *ssh.Request
		err  error
	}
	answer := make(chan opened, 1)
	go func() {
		ch, reqs, err := c.conn.OpenChannel(channel, extra)
		answer <- opened{ch, reqs, err}
	}()
	select {
	case o := <-answer:
		if o.err != nil {
			return nil, startError(o.err)
		}
		return newProcess(o.ch, o.reqs), nil
	case <-ctx.Done():
		go func() { // it may still open: what nobody waits for must not stay
			if o := <-answer; o.err == nil {
				_ = newProcess(o.ch, o.reqs).Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// Sessions lists the named sessions, those that ended lately included. At most 64 are told. Their names
// and words come from inside as they are: the caller escapes them before it shows them.
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	ok, payload, err := c.request(ctx, RequestSessions, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot list sessions: %w", safe(err))
	}
	if !ok {
		return nil, errors.New("cannot list sessions: the guest refused")
	}
	return decodeSessions(payload)
}

// Pause stops every process, or with stop false lets them go on. Nothing that must hold may rest on it: it is the guest
// that does it.
func (c *Client) Pause(ctx context.Context, stop bool) error {
	return c.order(ctx, "pause", RequestPause, Pause{Stop: stop})
}

// Kill signals every process of a session.
func (c *Client) Kill(ctx context.Context, k Kill) error {
	return c.order(ctx, fmt.Sprintf("signal session %q", k.Session), RequestKill, k)
}

// order sends a request that is done or refused with a reason. What is to be done is said in the error.
func (c *Client) order(ctx context.Context, what, name string, v any) error {
	payload, err := marshal(v)
	if err != nil {
		return err
	}
	ok, why, err := c.request(ctx, name, payload)
	if err != nil {
		return fmt.Errorf("cannot %s: %w", what, safe(err))
	}
	if !ok {
		return fmt.Errorf("cannot %s: %s", what, printable(string(why), maxMessage))
	}
	return nil
}

func (c *Client) request(ctx context.Context, name string, payload []byte) (bool, []byte, error) {
	type reply struct {
		ok      bool
		payload []byte
		err     error
	}
	answer := make(chan reply, 1)
	go func() {
		ok, payload, err := c.conn.SendRequest(name, true, payload)
		answer <- reply{ok, payload, err}
	}()
	select {
	case r := <-answer:
		return r.ok, r.payload, r.err
	case <-ctx.Done():
		return false, nil, ctx.Err()
	}
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("cannot encode the request: %w", err)
	}
	return b.Bytes(), nil
}
