//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Clients that insist on a proxy find one, which is no way around anything.
func TestClientsThroughTheProxy(t *testing.T) {
	needCurl(t)
	const proxy = "http://bailey.internal:3128"
	repository := filepath.Join(t.TempDir(), "shop.git")
	for _, args := range [][]string{{"init", "-q", "--bare", "-b", "main", repository}, {"-C", repository, "update-server-info"}} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git: %v\n%s", err, out)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "REACHED by "+r.Method+"\n") })
	mux.HandleFunc("/left", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, `{"name":"left","dist-tags":{"latest":"1.2.3"},"versions":{"1.2.3":{"name":"left","version":"1.2.3"}}}`)
	})
	mux.Handle("/shop.git/", http.StripPrefix("/shop.git/", http.FileServer(http.Dir(repository))))
	port, roots := serveTLS(t, mux.ServeHTTP)
	plain := listen(t, "tcp4", "127.0.0.1:0")
	url := "https://host.bailey.internal:" + port
	u := newUser(t)
	u.env = append(u.env, "SSL_CERT_FILE="+roots) // the host's, for the supervisor
	u.box("--allow", "host.bailey.internal:"+port, "--allow", "host.bailey.internal:"+plain.port())
	through := strings.Replace(curl, "--noproxy '*'", "-x "+proxy, 1)
	npm := "npm view left version --registry=" + url + "/ --cafile=/etc/ssl/certs/bailey.pem --fetch-retries=0 --proxy=" + proxy + " --https-proxy=" + proxy
	for _, c := range []struct{ name, script, want string }{
		{"curl, HTTP/1", through + "--http1.1 " + url, "REACHED by GET\n"},
		{"curl, HTTP/2", through + "--http2 " + url, "REACHED by GET\n"},
		{"curl, in the clear", through + "http://host.bailey.internal:" + plain.port(), "REACHED\n"},
		{"curl, CONNECT for what is in the clear", through + "-p http://host.bailey.internal:" + plain.port(), "REACHED\n"},
		{"curl, variables", "https_proxy=" + proxy + " curl -sS " + url, "REACHED by GET\n"},
		{"python", "https_proxy=" + proxy + ` python3 -c "import urllib.request; print(urllib.request.urlopen('` + url + `').read().decode(), end='')"`, "REACHED by GET\n"},
		{"git", "git -c http.proxy=" + proxy + " clone -q " + url + "/shop.git && ls -d shop/.git", "shop/.git\n"},
		{"npm", npm, "1.2.3\n"},
		{"a refused host", through + "https://evil.example.com/", "bailey allow --sandbox box --method GET evil.example.com\n"},
		{"a refused host in the clear", through + "http://evil.example.com/", "bailey allow --sandbox box --method GET evil.example.com\n"},
		{"a refused host, npm", strings.ReplaceAll(npm, url, "https://evil.example.com"), "403 Forbidden"},
		{"the loopback", through + "-p http://127.0.0.1:" + plain.port(), "CONNECT tunnel failed, response 400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := strings.Fields(c.script)
			for strings.Contains(fields[0], "=") {
				fields = fields[1:]
			}
			if strings.TrimSpace(u.inside("box", "command -v "+fields[0])) == "" {
				t.Skipf("%s is missing inside", fields[0])
			}
			if got := u.inside("box", c.script); !strings.Contains(got, c.want) {
				t.Errorf("%q is not in %q", c.want, got)
			}
		})
	}
}
