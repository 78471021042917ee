//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// The record of decisions is one chain, whoever kills its writer, and it says what was used and nothing secret.
func TestTheRecordOutlivesItsWriter(t *testing.T) {
	needCurl(t)
	u := newUser(t)
	web := listen(t, "tcp4", "127.0.0.1:0")
	u.box("--allow", "host.bailey.internal:"+web.port())
	token := "ghp_" + strings.Repeat("aB3", 12)
	for range 3 {
		if got := u.inside("box", curl+"http://host.bailey.internal:"+web.port()); got != "REACHED\n" {
			t.Fatalf("what is allowed is not reached: %s", got)
		}
		u.inside("box", curl+"http://more.example.com/a/"+token)
		u.killSupervisor("box")
		// A killed process drops its locks last of all.
		if !machine.Poll(5*time.Second, func() bool { return strings.Contains(u.must("ls", "-a"), "stopped") }) {
			t.Fatalf("it is listed as\n%s", u.must("ls", "-a"))
		}
		u.must("start", "box")
	}
	if out := u.bailey("policy", "log", "--verify", "box"); out.code != 0 || !strings.HasPrefix(out.stdout, "intact: ") || out.stderr != "" {
		t.Errorf("%+v", out)
	}
	if out := u.bailey("policy", "learn", "box"); !strings.Contains(out.stdout, `    # refused 3 times
    - host: more.example.com
      port: 80
      methods: [GET]
      paths: ["/a/*"]
`) {
		t.Errorf("%+v", out)
	}
	path := filepath.Join(u.sandboxDir("box"), "audit.jsonl")
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), token[:12]) || !strings.Contains(string(text), "/a/{redacted}") {
		t.Errorf("the record is %s, %v", text, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"verdict":"deny"`, `"verdict":"allow"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := u.bailey("policy", "log", "--verify", "box"); out.code != 122 {
		t.Errorf("a changed line is not found: %+v", out)
	}
}
