package egress

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/gateway"
)

// inside is how programs of the host's take the part of a sandbox's: good.test at port is a listener whose
// connections become flows. It returns the port and a file with what the sandbox trusts.
func (w *web) inside(handle http.HandlerFunc) (port uint16, bundle string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = ln.Close() })
	port = netip.MustParseAddrPort(ln.Addr().String()).Port()
	w.setRules(fmt.Sprintf("good.test:%d", port))
	w.named("good.test", publicAddr)
	w.serve("good.test", 443, handle)
	w.lab.mu.Lock()
	w.hosts[netip.AddrPortFrom(netip.MustParseAddr(publicAddr), port)] = w.hosts[netip.MustParseAddrPort(publicAddr+":443")]
	w.lab.mu.Unlock()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _, _ = gateway.Copy(w.t.Context(), conn, w.openName("good.test", port))
			}()
		}
	}()
	bundle = filepath.Join(w.t.TempDir(), "bundle.pem")
	if err := os.WriteFile(bundle, w.CA.PEM(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return port, bundle
}

// run runs a program that the host may lack, and returns what it prints.
func run(t *testing.T, env []string, name string, arg ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is missing: %v", name, err)
	}
	cmd := exec.Command(name, arg...)
	cmd.Env = append(os.Environ(), append(env, "HOME="+t.TempDir(), "NO_PROXY=*", "no_proxy=*")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestCurlThroughInspection(t *testing.T) {
	for _, version := range []string{"--http1.1", "--http2"} {
		t.Run(version, func(t *testing.T) {
			w := newWeb(t)
			port, bundle := w.inside(hello)
			resolve := fmt.Sprintf("good.test:%d:127.0.0.1", port)
			url := fmt.Sprintf("https://good.test:%d/a?b", port)
			curl := func(arg ...string) string {
				return run(t, nil, "curl", append([]string{"-sS", "--cacert", bundle, "--resolve", resolve, version}, arg...)...)
			}
			if got := curl(url); got != "hello" {
				t.Errorf("%q", got)
			}
			w.limit([]string{"GET"}, nil)
			if got := curl("-d", "x", url); !strings.Contains(got, "bailey allow --method POST good.test") || w.requests() != 1 {
				t.Errorf("%q", got)
			}
		})
	}
}

// Only the installation's certificate is trusted inside, and the chain to it comes with the leaf.
func TestOpenSSLThroughInspection(t *testing.T) {
	w := newWeb(t)
	port, bundle := w.inside(hello)
	openssl := func(trusted string) string {
		return run(t, nil, "sh", "-c", fmt.Sprintf("openssl s_client -connect 127.0.0.1:%d -servername good.test -verify_hostname good.test -x509_strict -CAfile %s </dev/null 2>&1 || true", port, trusted))
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skipf("openssl is missing: %v", err)
	}
	if got := openssl(bundle); !strings.Contains(got, "Verify return code: 0 (ok)") || strings.Count(got, "BEGIN CERTIFICATE") != 1 || !strings.Contains(got, " 1 s:") {
		t.Error(got)
	}
	other := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(other, w.world.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := openssl(other); strings.Contains(got, "Verify return code: 0 (ok)") {
		t.Error("control: it verifies without the certificate")
	}
}

func TestNodeThroughInspection(t *testing.T) {
	w := newWeb(t)
	port, bundle := w.inside(hello)
	// The lookup is the sandbox's, which has no server of its own here.
	script := fmt.Sprintf(`require('dns').lookup = (h, o, f) => { if (!f) f = o; o && o.all ? f(null, [{address: '127.0.0.1', family: 4}]) : f(null, '127.0.0.1', 4) };
fetch('https://good.test:%d/').then(r => r.text()).then(console.log)`, port)
	if got := run(t, []string{"NODE_EXTRA_CA_CERTS=" + bundle}, "node", "-e", script); got != "hello\n" {
		t.Errorf("%q", got)
	}
}

func TestPythonThroughInspection(t *testing.T) {
	w := newWeb(t)
	port, bundle := w.inside(hello)
	script := fmt.Sprintf(`import socket, urllib.request
real = socket.getaddrinfo
socket.getaddrinfo = lambda h, *a, **k: real('127.0.0.1', *a, **k)
print(urllib.request.urlopen('https://good.test:%d/').read().decode())`, port)
	if got := run(t, []string{"SSL_CERT_FILE=" + bundle}, "python3", "-c", script); got != "hello\n" {
		t.Errorf("%q", got)
	}
}
