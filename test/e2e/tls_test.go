//go:build linux

package e2e

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/certs"
)

// serveTLS is a web server of the host's, host.bailey.internal inside. Roots is a file with its authority.
func serveTLS(t *testing.T, handle http.HandlerFunc) (port, roots string) {
	t.Helper()
	world, err := certs.Open(filepath.Join(t.TempDir(), "world"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := world.Leaf("host.bailey.internal")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handle)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}}
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, _ = net.SplitHostPort(server.Listener.Addr().String())
	roots = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, world.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return port, roots
}

// Programs inside trust the authority that opens their TLS without being told, and the supervisor checks the
// server behind it.
func TestTLSIsInspectedForEveryClient(t *testing.T) {
	needCurl(t)
	port, roots := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "REACHED by "+r.Method+"\n")
	})
	url := "https://host.bailey.internal:" + port + "/"
	u := newUser(t)
	u.env = append(u.env, "SSL_CERT_FILE="+roots) // the host's, for the supervisor
	u.box("--allow", "host.bailey.internal:"+port)
	clients := map[string]string{
		"curl, HTTP/1": curl + "--http1.1 " + url,
		"curl, HTTP/2": curl + "--http2 " + url,
		"wget":         "wget -qO- " + url,
		"python":       `python3 -c "import urllib.request; print(urllib.request.urlopen('` + url + `').read().decode(), end='')"`,
		"node":         `node -e "fetch('` + url + `').then(r => r.text()).then(s => process.stdout.write(s))"`,
	}
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			program, _, _ := strings.Cut(strings.TrimSpace(client), " ")
			if strings.TrimSpace(u.inside("box", "command -v "+program)) == "" {
				t.Skipf("%s is missing inside", program)
			}
			if got := u.inside("box", client); got != "REACHED by GET\n" {
				t.Errorf("%q", got)
			}
		})
	}
	if got := u.inside("box", "cat /etc/ssl/certs/bailey.pem; ls -R /etc/ssl"); !strings.Contains(got, "BEGIN CERTIFICATE") || strings.Contains(got, "PRIVATE KEY") {
		t.Errorf("inside there is %s", got)
	}
	// The same server is not trusted by a host that does not know its authority.
	u.env = append(u.env, "SSL_CERT_FILE=/dev/null")
	if out := u.bailey("restart", "box"); out.code != 0 {
		t.Fatal(out)
	}
	if got := u.inside("box", curl+"-k "+url); strings.Contains(got, "REACHED") || !strings.Contains(got, "certificate signed by unknown authority") {
		t.Errorf("an unknown authority: %s", got)
	}
}
