//go:build linux

package e2e

import (
	"cmp"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/certs"
)

// serveTLS is a web server of the host's, host.bailey.internal inside. Roots is a file with what the host trusts then.
func serveTLS(t *testing.T, handle http.HandlerFunc) (port, roots string) {
	t.Helper()
	world, roots := newWorld(t)
	return serveWorld(t, world, handle).port, roots
}

// What sandboxes trust is for them alone: its key is not inside, and whatever a client inside accepts, the
// supervisor checks the server by what the host trusts.
func TestTheAuthorityIsTheSandboxsOnly(t *testing.T) {
	needCurl(t)
	port, roots := serveTLS(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "REACHED\n") })
	u := newUser(t)
	u.env = append(u.env, "SSL_CERT_FILE="+roots)
	u.box("--allow", "host.bailey.internal:"+port)
	url := "https://host.bailey.internal:" + port + "/"
	if got := u.inside("box", curl+url); got != "REACHED\n" {
		t.Fatalf("the control: %s", got)
	}
	if got := u.inside("box", "cat /etc/ssl/certs/bailey.pem; ls -R /etc/ssl"); !strings.Contains(got, "BEGIN CERTIFICATE") || strings.Contains(got, "PRIVATE KEY") {
		t.Errorf("inside there is %s", got)
	}
	u.env = append(u.env, "SSL_CERT_FILE=/dev/null")
	if out := u.bailey("restart", "box"); out.code != 0 {
		t.Fatal(out)
	}
	if got := u.inside("box", curl+"-k "+url); strings.Contains(got, "REACHED") || !strings.Contains(got, "certificate signed by unknown authority") {
		t.Errorf("an unknown authority: %s", got)
	}
}

// newWorld makes an authority of the world's, and a file with what the host trusts then.
func newWorld(t *testing.T) (world *certs.Authority, roots string) {
	t.Helper()
	world, err := certs.Open(filepath.Join(t.TempDir(), "world"))
	if err != nil {
		t.Fatal(err)
	}
	machine, _ := os.ReadFile(cmp.Or(os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt")) // for agents that are fetched
	roots = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, append(machine, world.PEM()...), 0o644); err != nil {
		t.Fatal(err)
	}
	return world, roots
}
