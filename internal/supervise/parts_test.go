package supervise

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

func TestARotatingLogIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sessions")
	for range 3 { // it goes on where the last run ended
		f, err := openRotating(dir, "log", 100)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := io.WriteString(f, strings.Repeat("x", 29)+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int64{"log": 90, "log" + PreviousSuffix: 90} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() != want || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want %d bytes", name, info, err, want)
		}
	}
}

func TestConnectionsLeaveFilesForTheSupervisor(t *testing.T) {
	for _, c := range []struct {
		files uint64
		want  int
	}{{0, 1}, {10, 1}, {256, 21}, {1024, 85}, {1 << 20, 4096}, {math.MaxUint64, 4096}} {
		if got := maxFlows(c.files); got != c.want {
			t.Errorf("with %d files there may be %d connections, want %d", c.files, got, c.want)
		}
	}
}

func TestALogIsNotWrittenThroughALink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	if _, err := openRotating(dir, "log", 100); err == nil {
		t.Error("a link was opened")
	}
}

func TestASupervisorKeepsNoSecretsInItsEnvironment(t *testing.T) {
	got := reduce([]string{"HOME=/h", "PATH=/bin", "ANTHROPIC_API_KEY=sk", "LC_ALL=C", "XDG_STATE_HOME=/s", "AWS_SECRET=x", "LD_PRELOAD=/x.so", "GIT_DIR=/g", "HOMEX=1"})
	want := []string{"HOME=/h", "PATH=/bin", "LC_ALL=C", "XDG_STATE_HOME=/s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheStatusPipe(t *testing.T) {
	for name, tc := range map[string]struct {
		sent string
		want error
	}{
		"ready":             {`{"ready":true}` + "\n", nil},
		"an error":          {`{"error":{"message":"no","kind":"containment"}}` + "\n", sandbox.ErrContainment},
		"somebody else won": {`{"error":{"message":"no","kind":"running"}}` + "\n", api.ErrRunning},
		"silence":           {"", io.ErrUnexpectedEOF},
		"half a line":       {`{"ready":true}`, io.ErrUnexpectedEOF},
		"something else":    {"panic: what\n", io.ErrUnexpectedEOF},
		"an empty status":   {"{}\n", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			if err := readStatus(strings.NewReader(tc.sent)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestThePolicyIsTheAgentsHostsAndTheUsers(t *testing.T) {
	ag, err := agent.Find("claude", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := Sources{Agent: ag, Record: state.Record{Network: "deny", Allow: []string{"example.com:8443"}}}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]policy.Verdict{
		"api.anthropic.com:443": policy.Allow, "api.anthropic.com:80": policy.Deny,
		"example.com:8443": policy.Allow, "example.com:443": policy.Deny, "example.org:443": policy.Deny,
	} {
		name, port, _ := strings.Cut(host, ":")
		parsed, err := hostname.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		req := policy.Request{Host: parsed, Port: map[string]uint16{"443": 443, "80": 80, "8443": 8443}[port]}
		if got := p.Decide(req); got.Verdict != want {
			t.Errorf("%s: %v (%s), want %v", host, got.Verdict, got.Reason, want)
		}
	}
}

func TestOnlyKnownNetworkModesGiveANetwork(t *testing.T) {
	for mode, want := range map[string]sandbox.Network{
		"deny": sandbox.NetworkGateway, "ask": sandbox.NetworkGateway, "allow": sandbox.NetworkGateway, "none": sandbox.NetworkNone, "": sandbox.NetworkNone, "x": sandbox.NetworkNone,
	} {
		if got := network(state.Record{Network: mode}); got != want {
			t.Errorf("%q gives %v", mode, got)
		}
	}
}

func TestTheUserInsideIsNeverRoot(t *testing.T) {
	ws := t.TempDir()
	u, err := makeUser(func(key string) string { return map[string]string{"HOME": "/home/x", "USER": "root"}[key] }, []state.Workspace{{Path: ws}})
	if err != nil {
		t.Fatal(err)
	}
	if u.UID <= 0 || u.GID <= 0 || u.Name == "root" {
		t.Errorf("the user inside is %+v", u)
	}
	if u.HostUID != os.Getuid() {
		t.Errorf("the host's user is %d, want the workspace's owner %d", u.HostUID, os.Getuid())
	}
}

func TestTheLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	w := &bounded{f, maxLog}
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	for range 2 * maxLog / len(line) {
		if n, err := w.Write(line); err != nil || n < len(line) {
			t.Fatal(n, err)
		}
	}
	f.Close()
	text, err := os.ReadFile(path)
	if err != nil || len(text) > maxLog+100 || !bytes.HasSuffix(text, []byte("x\nthe log is full: nothing more is kept\n")) {
		t.Errorf("%d bytes were kept, %v", len(text), err)
	}
	// The next supervisor has a log of its own, and the last one's is still there.
	if f, err = openLog(path); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the new log begins with %v, %v", info, err)
	}
	if old, err := os.ReadFile(path + PreviousSuffix); err != nil || !bytes.Equal(old, text) {
		t.Errorf("the old log has gone: %v", err)
	}
}
