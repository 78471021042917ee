package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// maxReply bounds what a client reads of one answer.
const maxReply = 16 << 20

// Client asks the supervisor of the sandbox in one directory. It holds no connection between requests.
type Client struct{ dir string }

// Dial returns a client when the supervisor of the sandbox in dir accepts connections, and an error that
// is ErrNotRunning when nobody listens.
func Dial(ctx context.Context, dir string) (*Client, error) {
	c := &Client{dir: dir}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	return c, conn.Close()
}

// Remove deletes the socket in dir. The caller holds the sandbox's lock.
func Remove(dir string) error {
	if err := os.Remove(filepath.Join(dir, Socket)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove a stale socket: %w", err)
	}
	return nil
}

// Inspect asks for the supervisor's view of its sandbox.
func (c *Client) Inspect(ctx context.Context) (Inspect, error) {
	var v Inspect
	return v, c.call(ctx, "GET /v1/inspect", nil, &v)
}

// Stats asks for the machine's use of resources.
func (c *Client) Stats(ctx context.Context) (sandbox.Stats, error) {
	var v sandbox.Stats
	return v, c.call(ctx, "GET /v1/stats", nil, &v)
}

// Follow says that the agent's session has been started; see Supervisor.
func (c *Client) Follow(ctx context.Context, f Follow) error {
	return c.call(ctx, "POST /v1/follow", f, nil)
}

// Stop ends the machine; see Supervisor.
func (c *Client) Stop(ctx context.Context) error {
	return c.call(ctx, "POST /v1/stop", nil, nil)
}

// Policy asks for the rules in force.
func (c *Client) Policy(ctx context.Context) (*policy.Policy, error) {
	var v Policy
	if err := c.call(ctx, "GET /v1/policy", nil, &v); err != nil {
		return nil, err
	}
	return v.Policy()
}

// Reload has the supervisor read its rules again; see Supervisor.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, "POST /v1/reload", nil, nil)
}

// Stream opens a stream to the guest, on which the caller speaks guestproto. ctx bounds the opening only.
func (c *Client) Stream(ctx context.Context) (net.Conn, error) {
	conn, resp, err := c.send(ctx, "POST /v1/stream", nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer conn.Close()
		return nil, failure(resp)
	}
	return conn, nil
}

// Hold stops what runs inside until release is called, for some minutes at most.
func (c *Client) Hold(ctx context.Context) (release func(), err error) {
	conn, resp, err := c.send(ctx, "POST /v1/hold", nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer conn.Close()
		return nil, failure(resp)
	}
	return func() { _ = conn.Close() }, nil
}

func (c *Client) call(ctx context.Context, route string, in, out any) error {
	conn, resp, err := c.send(ctx, route, in)
	if err != nil {
		return err
	}
	defer conn.Close()
	if resp.StatusCode != http.StatusOK {
		return failure(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(out); err != nil {
		return fmt.Errorf("cannot read the supervisor's answer: %w", err)
	}
	return nil
}

// send writes one request on a connection of its own and reads the head of the answer. The caller closes
// the connection. net/http's client is left out: it would keep goroutines and a pool for one exchange.
func (c *Client) send(ctx context.Context, route string, in any) (net.Conn, *http.Response, error) {
	var method, path string
	if _, err := fmt.Sscan(route, &method, &path); err != nil {
		return nil, nil, err
	}
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return nil, nil, err
		}
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	// The whole exchange ends with ctx; what is read after it belongs to the caller.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	resp, err := exchange(conn, method, path, &body)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, fmt.Errorf("cannot ask the supervisor: %w", err)
	}
	return conn, resp, nil
}

func exchange(conn net.Conn, method, path string, body *bytes.Buffer) (*http.Response, error) {
	req, err := http.NewRequest(method, "http://supervisor"+path, body)
	if err != nil {
		return nil, err
	}
	var from io.Reader = conn
	if path == "/v1/stream" {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", upgrade)
		from = oneByte{conn} // what follows the head is the stream's, not ours
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(from), req)
}

// oneByte reads single bytes: bufio then never holds more than it has given out.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	if len(p) > 1 {
		p = p[:1]
	}
	return o.r.Read(p)
}

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	conn, err := connect(ctx, c.dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("cannot reach the supervisor: %w", err)
	}
	return conn, nil
}

func failure(resp *http.Response) error {
	var e Error
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&e); err != nil || e.Message == "" {
		return fmt.Errorf("the supervisor answered %q", resp.Status)
	}
	return e.Err()
}
