//go:build linux

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/test/machine"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

const realToken = "the-real-token-of-the-test-0123456789"

// keepSecret keeps realToken, as a user does.
func (u *user) keepSecret(args ...string) {
	u.t.Helper()
	cmd := u.command(append([]string{"secret", "set", "--source", "age"}, args...)...)
	cmd.Stdin = strings.NewReader(realToken)
	if out := u.run(cmd); out.code != 0 {
		u.t.Fatalf("%+v", out)
	}
}

// ownStore gives the user secrets of their own, where no agent is needed.
func (u *user) ownStore() { u.env = append(u.env, "XDG_DATA_HOME="+u.home+"/.local/share") }

// TestGitPushesWithoutTheToken: git's own helper has what stands for the token, and the server sees the token. Without
// it the server lets nobody in, which is the control.
func TestGitPushesWithoutTheToken(t *testing.T) {
	backend := serveGit(t)
	port, roots := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != realToken {
			w.Header().Set("WWW-Authenticate", "Basic realm=git")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	})
	u := newUser(t)
	u.ownStore()
	u.env = append(u.env, "SSL_CERT_FILE="+roots)
	script := "export GIT_TERMINAL_PROMPT=0; rm -rf tree && git clone -q https://host.bailey.internal:" + port + "/git/lab.git tree && cd tree && cat file && git checkout -qb two && " +
		"git -c user.name=ada -c user.email=ada@lab.test commit -q --allow-empty -m two && git -c http.version=HTTP/1.1 push -q origin HEAD && git ls-remote --heads origin"
	u.box("--allow", "host.bailey.internal:"+port)
	u.must("allow", "--sandbox", "box", "--push", "git/lab:two", "host.bailey.internal:"+port)
	if got := u.inside("box", script); strings.Contains(got, "refs/heads/two") || strings.Contains(got, "REACHED") {
		t.Fatalf("without the secret: %s", got)
	}
	u.must("rm", "-f", "box")
	u.keepSecret("--host", "host.bailey.internal:"+port, "--as", "basic", "server")
	u.box("--allow", "host.bailey.internal:"+port)
	u.must("allow", "--sandbox", "box", "--push", "git/lab:two", "host.bailey.internal:"+port)
	if got := u.inside("box", script); !strings.Contains(got, "refs/heads/two") || !strings.Contains(got, "REACHED") {
		t.Errorf("with the secret: %s", got)
	}
	fill := fmt.Sprintf("printf 'protocol=https\\nhost=host.bailey.internal:%s\\n\\n' | git credential fill; printf 'protocol=https\\nhost=evil.test\\n\\n' | GIT_TERMINAL_PROMPT=0 git credential fill", port)
	if got := u.inside("box", fill); !strings.Contains(got, "password=") || strings.Contains(got, realToken) || strings.Count(got, "password=") != 1 {
		t.Errorf("git's helper says %s", got)
	}
	if places := u.sweep("box", realToken); len(places) > 0 {
		t.Errorf("the token is in %v", places)
	}
	if list := u.must("secret", "ls"); strings.Contains(list, "never") {
		t.Errorf("its use is not noted: %s", list)
	}
}

// TestNPMPublishesWithoutTheToken publishes to a registry that takes the real token only.
func TestNPMPublishesWithoutTheToken(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		machine.Lack(t, "node", err.Error())
	}
	var published, refused atomic.Int64
	port, roots := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+realToken {
			refused.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodPut {
			var body struct{ Name string }
			if json.NewDecoder(r.Body).Decode(&body) == nil && body.Name == "lab-package" {
				published.Add(1)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"ok":true}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{}`)
	})
	u := newUser(t)
	u.ownStore()
	u.env = append(u.env, "SSL_CERT_FILE="+roots)
	u.write("src/shop/package.json", `{"name":"lab-package","version":"1.0.0"}`)
	publish := "npm publish --registry https://host.bailey.internal:" + port + "/ 2>&1; cat /etc/bailey.npmrc"
	u.box("--allow", "host.bailey.internal:"+port)
	if got := u.inside("box", publish); published.Load() != 0 {
		t.Fatalf("without the secret: %s", got)
	}
	u.must("rm", "-f", "box")
	u.keepSecret("--host", "host.bailey.internal:"+port, "npm")
	u.box("--allow", "host.bailey.internal:"+port)
	if got := u.inside("box", publish); published.Load() != 1 || strings.Contains(got, realToken) || !strings.Contains(got, "_authToken=npm_") {
		t.Errorf("with the secret, %d refused: %s", refused.Load(), got)
	}
}

// TestGitHubsCommandWithoutTheToken: gh talks to api.github.com, which is in the test's cell.
func TestGitHubsCommandWithoutTheToken(t *testing.T) {
	if _, err := exec.LookPath("gh"); err != nil {
		machine.Lack(t, "gh", err.Error())
	}
	if !inCell(t, unix.CLONE_NEWNET) {
		return
	}
	u := newUser(t)
	u.ownStore()
	const address = "93.184.215.16"
	publicNames(t, address, "api.github.com")
	world, roots := newWorld(t)
	u.env = append(u.env, "SSL_CERT_FILE="+roots)
	leaf, err := world.Leaf("api.github.com")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", address+":443")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{*leaf}}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "token "+realToken {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"login":"ann-of-the-shop"}`)
	})}
	go server.ServeTLS(l, "", "")
	t.Cleanup(func() { _ = server.Close() })
	u.keepSecret("github")
	u.box("--allow", "api.github.com")
	if got := u.inside("box", "gh api user; echo $GH_TOKEN"); !strings.Contains(got, "ann-of-the-shop") || !strings.Contains(got, "ghp_") || strings.Contains(got, realToken) {
		t.Errorf("gh says %s", got)
	}
	if got := u.inside("box", "GH_TOKEN=ghp_attackersOwnTokenOfTheRightLength00 gh api user"); strings.Contains(got, "ann-of-the-shop") || !strings.Contains(got, "403") {
		t.Errorf("with another token gh says %s", got)
	}
}

// TestTheKeyOfTheRealCodexStaysOutside is the same for Codex, whose key lies in a file as well.
func TestTheKeyOfTheRealCodexStaysOutside(t *testing.T) {
	u := newUser(t)
	u.ownData("codex")
	m := serveModelTLS(u, modelapi.Run("cat ~/.codex/auth.json > seen.txt; env >> seen.txt"), modelapi.Say("FINISHED-ALL"))
	u.env = append(u.env, "OPENAI_API_KEY="+modelKey)
	provider := fmt.Sprintf(`model_providers.mock={name="mock",base_url="%s/v1",wire_api="responses",env_key="OPENAI_API_KEY"}`, m.url())
	out := u.bailey("run", "--name", "box", "--allow", "host.bailey.internal:"+m.port, "-e", "OPENAI_BASE_URL="+m.url(), "codex", ".", "--",
		"-c", "model_provider=mock", "-c", provider, "-m", "mock-1", "exec", "--skip-git-repo-check", "hi")
	if out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") {
		t.Fatalf("%+v", out)
	}
	if seen := u.read("seen.txt"); strings.Contains(seen, modelKey) || strings.Count(seen, "sk-proj-") < 2 {
		t.Errorf("inside is %s", seen)
	}
	if places := u.sweep("box", modelKey); len(places) > 0 {
		t.Errorf("the key is in %v", places)
	}
}

// TestAProjectedFileOfVariables: a program inside finds its variables in .env, and what stands for one of them becomes the
// secret on its way to the host that the user has named. The rest opens nothing, and nothing of it is inside.
func TestAProjectedFileOfVariables(t *testing.T) {
	needCurl(t)
	var seen atomic.Pointer[string]
	port, roots := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Get("Authorization")
		seen.Store(&h)
	})
	u := newUser(t)
	u.ownStore()
	u.env = append(u.env, "SSL_CERT_FILE="+roots)
	const first, second, other = "sk_live_first0first0first0first0", "sk_live_second0second0second0sec", "not-to-be-seen-by-anybody"
	file := func(key string) {
		u.write("src/shop/.env", "# the shop's\nexport SHOP_KEY=\""+key+"\"\nPORT=3000 # where it listens\nPASSWORD='"+other+"'\n")
	}
	file(first)
	host := "host.bailey.internal:" + port
	use := ". ./.env && curl -s -o /dev/null -w '%{http_code} ' -H \"Authorization: Bearer $SHOP_KEY\" https://" + host + "/ && curl -s -o /dev/null -w '%{http_code} ' -H \"Authorization: Bearer $PASSWORD\" https://" + host + "/; cat .env"
	u.box("--allow", host)
	if got := u.inside("box", "cat .env; echo; echo x > .env"); strings.Contains(got, "SHOP_KEY") {
		t.Fatalf("hidden, the file says %q", got)
	}
	u.must("rm", "-f", "box")
	if got := u.must("secret", "project", "--host", "SHOP_KEY="+host, "--plain", "PORT", ".env"); got != "shop.shop_key\n" {
		t.Errorf("bailey secret project: %q", got)
	}
	u.box("--allow", host)
	got := u.inside("box", use)
	if h := seen.Load(); h == nil || *h != "Bearer "+first || !strings.HasPrefix(got, "200 403 ") {
		t.Errorf("the server has seen %v, inside it says %s", h, got)
	}
	if !strings.Contains(got, `SHOP_KEY="sk_live_`) || !strings.Contains(got, "PORT=3000") || strings.Contains(got, first) || strings.Contains(got, other) {
		t.Errorf("the file says %s", got)
	}
	file(second)
	if got := u.inside("box", use); *seen.Load() != "Bearer "+second {
		t.Errorf("after a change outside the server has seen %s, inside it says %s", *seen.Load(), got)
	}
	if got := u.inside("box", "echo x > .env; rm -f .env; mv .env away; grep -c SHOP_KEY .env"); !strings.HasSuffix(strings.TrimSpace(got), "1") {
		t.Errorf("the agent has changed it: %s", got)
	}
	for _, secret := range []string{first, second, other} {
		places := slices.DeleteFunc(u.sweep("box", secret), func(place string) bool { return place == u.project+"/.env" })
		if len(places) > 0 {
			t.Errorf("%s is in %v", secret, places)
		}
	}
	u.must("restart", "box")
	if got := u.inside("box", use); !strings.HasPrefix(got, "200 403 ") {
		t.Errorf("after a restart: %s", got)
	}
	// What most editors do uncovers the file, which is told.
	u.write("src/shop/.env.new", "SHOP_KEY="+second+"\n")
	if err := os.Rename(filepath.Join(u.project, ".env.new"), filepath.Join(u.project, ".env")); err != nil {
		t.Fatal(err)
	}
	if !machine.Poll(5*time.Second, func() bool { return strings.Contains(u.must("inspect", "box"), "bailey restart box") }) {
		t.Error("that the file was replaced is not told")
	}
	file(second)
	// Any file will do, and what is projected is hidden from who may use no secrets.
	u.write("src/shop/settings", "TOKEN="+other+"\n")
	u.must("secret", "project", "--host", "TOKEN="+host, "settings")
	u.must("restart", "box")
	if got := u.inside("box", "cat settings"); !strings.Contains(got, "TOKEN=") || strings.Contains(got, other) {
		t.Errorf("another file says %s", got)
	}
	if out := u.bailey("run", "--rm", "--credentials", "none", "shell", ".", "--", "-c", "cat settings .env"); strings.Contains(out.stdout, "TOKEN") || strings.Contains(out.stdout, "SHOP_KEY") {
		t.Errorf("without credentials: %+v", out)
	}
	u.must("secret", "project", "--rm", "settings")
	u.must("secret", "project", "--rm", ".env")
	u.must("restart", "box")
	if got := u.inside("box", "cat .env"); strings.Contains(got, "SHOP_KEY") {
		t.Errorf("taken back, the file says %q", got)
	}
	if list := u.must("secret", "ls", "-q"); list != "" {
		t.Errorf("left is %s", list)
	}
}
