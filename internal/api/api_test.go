package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// stub is a supervisor whose guest echoes what it is sent and says "bye" after the client's end of file.
type stub struct {
	released atomic.Int32
	followed atomic.Int64
	waiting  atomic.Int32
	answered atomic.Value
	err      error
}

func (s *stub) Inspect(context.Context) (Inspect, error) {
	return Inspect{PID: 42, Workdir: "/w"}, s.err
}
func (s *stub) Stats(context.Context) (sandbox.Stats, error) {
	return sandbox.Stats{Memory: 7}, s.err
}
func (s *stub) Stop(context.Context) error { return s.err }
func (s *stub) Follow(_ context.Context, f Follow) error {
	s.followed.Store(int64(f.Timeout))
	return s.err
}

func (s *stub) Policy(context.Context) (Policy, error) {
	read := policy.Entry{Host: "a.test", Methods: []string{"GET"}}
	return Policy{Sandbox: "box", Default: "deny", Rules: []Rule{{Verdict: "allow", Entry: read, Profile: "p", Origin: "o", Why: "w"},
		{Verdict: "deny", Entry: policy.Entry{CIDR: "10.0.0.0/8"}}}}, s.err
}
func (s *stub) Reload(context.Context) error { return s.err }

func (s *stub) Hold(context.Context) (func(), error) { return func() {}, s.err }

func (s *stub) Approvals(context.Context) (Approvals, error) {
	return Approvals{Seq: 3, Asks: true, Questions: []Question{{ID: 7, Host: "a.test", Port: 443, Protocol: "http", Waiting: 2}}}, s.err
}

// AwaitApprovals has nothing new until its context ends.
func (s *stub) AwaitApprovals(ctx context.Context, seen uint64) (Approvals, error) {
	if seen == 3 {
		s.waiting.Add(1)
		<-ctx.Done()
	}
	return s.Approvals(ctx)
}

func (s *stub) Answer(_ context.Context, id uint64, a Answer) error {
	if id != 7 {
		return ErrNoQuestion
	}
	s.answered.Store(a)
	return s.err
}

func (s *stub) Stream(context.Context) (net.Conn, func(), error) {
	if s.err != nil {
		return nil, nil, s.err
	}
	ln, err := net.Listen("unix", "")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	host, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	guest, err := ln.Accept()
	if err != nil {
		return nil, nil, err
	}
	go func() {
		defer guest.Close()
		_, _ = io.WriteString(guest, "hello ") // before the client has said anything, as SSH does
		_, _ = io.Copy(guest, guest)
		_, _ = io.WriteString(guest, "bye")
	}()
	return host, func() { s.released.Add(1) }, nil
}

func serve(t *testing.T, sup Supervisor, dir string) *Client {
	t.Helper()
	ln, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, sup, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		goleak.VerifyNone(t)
	})
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRequestsAreAnswered(t *testing.T) {
	sup := &stub{}
	c := serve(t, sup, t.TempDir())
	ctx := t.Context()
	if v, err := c.Inspect(ctx); err != nil || v.PID != 42 || v.Workdir != "/w" {
		t.Errorf("Inspect: %+v, %v", v, err)
	}
	if v, err := c.Stats(ctx); err != nil || v.Memory != 7 {
		t.Errorf("Stats: %+v, %v", v, err)
	}
	if err := c.Follow(ctx, Follow{Timeout: time.Minute}); err != nil || time.Duration(sup.followed.Load()) != time.Minute {
		t.Errorf("Follow: %v, the supervisor saw %v", err, time.Duration(sup.followed.Load()))
	}
	if err := c.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestAnErrorKeepsItsHintAndItsSentinel(t *testing.T) {
	cause := sandbox.WithHint(fmt.Errorf("cannot make the wall: %w", sandbox.ErrContainment), "build it higher")
	c := serve(t, &stub{err: cause}, t.TempDir())
	for name, err := range map[string]error{
		"stop":   c.Stop(t.Context()),
		"stream": func() error { _, err := c.Stream(t.Context()); return err }(),
	} {
		if err == nil || err.Error() != cause.Error() || sandbox.Hint(err) != "build it higher" || !errors.Is(err, sandbox.ErrContainment) {
			t.Errorf("%s: %v, hint %q", name, err, sandbox.Hint(err))
		}
	}
}

func TestAStreamCarriesEveryByteAndTheHalfClose(t *testing.T) {
	sup := &stub{}
	c := serve(t, sup, t.TempDir())
	conn, err := c.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := make([]byte, 8<<20)
	rand.New(rand.NewSource(1)).Read(sent)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.UnixConn).CloseWrite()
	})
	got, err := io.ReadAll(conn)
	wg.Wait()
	want := append(append([]byte("hello "), sent...), "bye"...)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
		t.Fatalf("got %d bytes (%v), want %d", len(got), err, len(want))
	}
}

func TestAStreamEndsWithTheServer(t *testing.T) {
	dir := t.TempDir()
	ln, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sup := &stub{}
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, sup, slog.New(slog.DiscardHandler)) }()
	conn, err := (&Client{dir: dir}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Logf("the stream ended with %v", err)
	}
	if sup.released.Load() != 1 {
		t.Errorf("the stream was released %d times, want once", sup.released.Load())
	}
	goleak.VerifyNone(t)
}

func TestOnlyTheOwnerAndRootAreServed(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end() // nobody is held
	h := &handler{sup: &stub{}, uid: 1000, log: slog.New(slog.DiscardHandler), streams: newStreams(), ending: ended}
	for name, tc := range map[string]struct {
		who  peerID
		want int
	}{
		"the owner":                       {peerID{1000, true}, http.StatusOK},
		"root":                            {peerID{0, true}, http.StatusOK},
		"another user":                    {peerID{1001, true}, http.StatusForbidden},
		"somebody the kernel cannot tell": {peerID{}, http.StatusForbidden},
	} {
		for _, rt := range routes() {
			method, path, _ := strings.Cut(rt.pattern, " ")
			if path == "/v1/stream" && tc.want == http.StatusOK {
				continue // a recorder cannot be upgraded
			}
			body := strings.NewReader(`{"verdict": "deny", "scope": "once"}`) // every route takes it
			r := httptest.NewRequest(method, strings.Replace(path, "{id}", "7", 1), body)
			w := httptest.NewRecorder()
			h.mux().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, tc.who)))
			if w.Code != tc.want {
				t.Errorf("%s, %s: status %d, want %d", name, rt.pattern, w.Code, tc.want)
			}
		}
	}
	if h.allowed(accessNobody, peerID{0, true}) {
		t.Error("a route without access serves root")
	}
}

// holder counts what it holds.
type holder struct {
	stub
	held atomic.Int32
}

func (h *holder) Hold(context.Context) (func(), error) {
	h.held.Add(1)
	return func() { h.held.Add(-1) }, h.err
}

func TestAHoldEndsWhenItsClientLeaves(t *testing.T) {
	h := &holder{}
	c := serve(t, h, t.TempDir())
	release, err := c.Hold(t.Context())
	if err != nil || h.held.Load() != 1 {
		t.Fatalf("%d are held, %v", h.held.Load(), err)
	}
	release()
	for deadline := time.Now().Add(5 * time.Second); h.held.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is held on")
		}
	}
	h.err = errors.New("it cannot be stopped")
	if _, err := c.Hold(t.Context()); err == nil || !strings.Contains(err.Error(), "it cannot be stopped") {
		t.Errorf("the error is %v", err)
	}
}

func TestTheSocketIsPrivateAndItsPathMayBeLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, Socket), []byte("stale"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := serve(t, &stub{}, dir)
	info, err := os.Lstat(filepath.Join(dir, Socket))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	if _, err := c.Inspect(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNobodyThereIsErrNotRunning(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	ln, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // leaves the file, as a killed supervisor does
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stale socket: %v", err)
	}
}

func TestOversizedRequestsAreRefused(t *testing.T) {
	c := serve(t, &stub{}, t.TempDir())
	body := bytes.NewBufferString(`{"timeout_ns":` + strings.Repeat(" ", maxBody+1) + `1}`)
	if _, err := send(t, c, "POST", "/v1/follow", body, ""); err == nil {
		t.Error("a body over the limit was taken")
	}
	if code, err := send(t, c, "GET", "/v1/inspect", nil, strings.Repeat("x", 4*maxHeader)); err != nil || code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header over the limit: %d, %v", code, err)
	}
	if code, err := send(t, c, "GET", "/v1/inspect", nil, "x"); err != nil || code != http.StatusOK {
		t.Errorf("a small request: %d, %v", code, err)
	}
}

func send(t *testing.T, c *Client, method, path string, body io.Reader, header string) (int, error) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return c.connect(ctx)
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://s"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Test", header)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode == http.StatusConflict {
		return resp.StatusCode, errors.New(resp.Status)
	}
	return resp.StatusCode, nil
}

func TestACancelledRequestReturns(t *testing.T) {
	dir := t.TempDir()
	ln, err := Listen(dir) // accepts in the kernel's backlog, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := (&Client{dir: dir}).Inspect(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestPolicyCrosses(t *testing.T) {
	c := serve(t, &stub{}, t.TempDir())
	p, err := c.Policy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.Sandbox != "box" || p.Default != policy.Deny || len(p.Rules) != 2 || p.Rules[0].Profile != "p" || p.Rules[0].Origin != "o" || p.Rules[0].Why != "w" {
		t.Errorf("%+v", p)
	}
	for method, want := range map[string]policy.Verdict{"GET": policy.Allow, "POST": policy.Deny} {
		if d := p.Decide(policy.Request{Host: "a.test", Port: 443, Method: method, Path: "/"}); d.Verdict != want {
			t.Errorf("%s: %s", method, d.Reason)
		}
	}
	if p.Rules[1].Verdict != policy.Deny {
		t.Errorf("%+v", p.Rules[1])
	}
	if _, err := (Policy{Rules: []Rule{{Verdict: "allow"}}}).Policy(); err == nil {
		t.Error("a rule without a host is read")
	}
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}
