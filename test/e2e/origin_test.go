//go:build linux

package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/websocket"

	"github.com/bailey-sandbox/bailey/internal/certs"
)

// origin is a server that real clients talk to: pages, packages, git, WebSockets and gRPC, over TLS.
type origin struct {
	*httptest.Server
	port string
	came func() int64 // requests since the last call
}

// newOrigin serves what the clients of clients ask for.
func newOrigin(t *testing.T, world *certs.Authority) *origin {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "REACHED by %s\n", r.Method) })
	mux.Handle("/ws", websocket.Handler(func(c *websocket.Conn) { _, _ = io.Copy(c, c) }))
	mux.HandleFunc("/lab.Echo/", serveGRPC)
	mux.Handle("/git/", serveGit(t))
	mux.Handle("/go/", http.StripPrefix("/go", mirror(t, "go", "env", "GOPROXY")))
	mux.Handle("/", mirror(t, "npm", "config", "get", "registry"))
	mux.Handle("/apt/", http.NotFoundHandler())
	mux.HandleFunc("/cargo/config.json", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"dl":"https://%s/cargo/crates"}`, r.Host)
	})
	for path, content := range packages(t) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if strings.HasSuffix(path, "/") {
				w.Header().Set("Content-Type", "text/html")
			}
			_, _ = w.Write(content)
		})
	}
	return serveWorld(t, world, mux)
}

// serveWorld serves at a port of the loopback with a certificate that world signs.
func serveWorld(t *testing.T, world *certs.Authority, h http.Handler) *origin {
	t.Helper()
	leaf, err := world.Leaf("host.bailey.internal")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{}
	var requests atomic.Int64
	o.came = func() int64 { return requests.Swap(0) }
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		h.ServeHTTP(w, r)
	}))
	o.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}}
	o.EnableHTTP2 = true
	o.Config.ErrorLog = log.New(io.Discard, "", 0)
	o.StartTLS()
	t.Cleanup(o.Close)
	_, o.port, _ = net.SplitHostPort(o.Listener.Addr().String())
	return o
}

// mirror passes requests on to the registry that a command of the machine's names, the first of a list. Real package
// managers need real packages, and where a registry's name leads is this machine's affair.
func mirror(t *testing.T, command string, args ...string) http.Handler {
	out, err := exec.Command(command, args...).Output()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), ",")
	registry, parseErr := url.Parse(first)
	if err != nil || parseErr != nil || registry.Host == "" {
		t.Logf("%s has no registry: %q, %v", command, out, err)
		return http.NotFoundHandler()
	}
	return &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(registry)
		r.Out.Host = registry.Host
	}}
}

// serveGRPC answers each message with itself: once under Say, three times under Stream, with a trailer.
func serveGRPC(w http.ResponseWriter, r *http.Request) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r.Body, head); err != nil {
		return
	}
	message := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(r.Body, message); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Lab-Trailer")
	times := 1
	if strings.HasSuffix(r.URL.Path, "/Stream") {
		times = 3
	}
	for range times {
		_, _ = w.Write(append(head[:5:5], message...))
		_ = http.NewResponseController(w).Flush()
	}
	w.Header().Set("Grpc-Status", "0")
	w.Header().Set("Lab-Trailer", "trailed")
}

// gitRoot makes a bare repository lab.git with one commit in a directory.
func gitRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	script := `set -e
git init -q -b main seed && cd seed && echo REACHED > file && git add file
git -c user.name=ada -c user.email=ada@lab.test commit -qm one && cd ..
git clone -q --bare seed lab.git && git -C lab.git config http.receivepack true && chmod -R a+rwX .`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot make a repository: %v\n%s", err, out)
	}
	return root
}

// serveGit reads each request to its end first: CGI wants to know its length, and answers that come before the end
// of a push confuse the client, with nobody in between too.
func serveGit(t *testing.T) http.Handler {
	backend, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	git := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(backend)), "git-http-backend"), Root: "/git", Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + gitRoot(t), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		git.ServeHTTP(w, r)
	})
}

// packages is what package managers ask for: pip's, apt's and cargo's.
func packages(t *testing.T) map[string][]byte {
	t.Helper()
	wheel := zipped(t, map[string]string{
		"lab.py": "text = 'REACHED'\n", "lab-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n",
		"lab-1.0.dist-info/WHEEL":  "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"lab-1.0.dist-info/RECORD": "lab.py,,\nlab-1.0.dist-info/METADATA,,\nlab-1.0.dist-info/WHEEL,,\nlab-1.0.dist-info/RECORD,,\n"})
	deb := []byte("REACHED\n")
	list := fmt.Sprintf("Package: lab\nVersion: 1.0\nArchitecture: all\nMaintainer: lab <lab@lab.test>\nFilename: ./lab.deb\nSize: %d\nSHA256: %x\nDescription: REACHED\n\n",
		len(deb), sha256.Sum256(deb))
	release := fmt.Sprintf("Origin: lab\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n %x %d Packages\n", sha256.Sum256([]byte(list)), len(list))
	crate := tarred(t, map[string]string{"lab-1.0.0/Cargo.toml": "[package]\nname = \"lab\"\nversion = \"1.0.0\"\n", "lab-1.0.0/src/lib.rs": "// REACHED\n"})
	return map[string][]byte{
		"/pip/simple/lab/":                 []byte(fmt.Sprintf("<a href=\"../../lab-1.0-py3-none-any.whl#sha256=%x\">lab-1.0-py3-none-any.whl</a>\n", sha256.Sum256(wheel))),
		"/pip/lab-1.0-py3-none-any.whl":    wheel,
		"/apt/Release":                     []byte(release),
		"/apt/Packages":                    []byte(list),
		"/apt/lab.deb":                     deb,
		"/cargo/3/l/lab":                   []byte(fmt.Sprintf("{\"name\":\"lab\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"%x\",\"features\":{},\"yanked\":false}\n", sha256.Sum256(crate))),
		"/cargo/crates/lab/1.0.0/download": crate,
	}
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for name, content := range files {
		w, err := zw.Create(name)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for name, content := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
