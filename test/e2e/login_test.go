//go:build linux

package e2e

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/test/idp"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// anthropic is Anthropic as it is in the test's cell: the provider of logins and the model, at their own names.
type anthropic struct {
	*idp.Server
	model *modelapi.Server
}

// userInCell is a user who has Claude Code, in a cell of the test's own; nil outside of it.
func userInCell(t *testing.T) *user {
	t.Helper()
	if !insideCell() {
		newUser(t).needAgent("claude") // fetched where there is a network
	}
	if !inCell(t, unix.CLONE_NEWNET) {
		return nil
	}
	u := newUser(t)
	u.ownData("claude")
	return u
}

func serveAnthropic(u *user, turns ...modelapi.Turn) *anthropic {
	u.t.Helper()
	const address = "93.184.215.15"
	publicNames(u.t, address, "api.anthropic.com", "platform.claude.com")
	world, roots := newWorld(u.t)
	u.env = append(u.env, "SSL_CERT_FILE="+roots)
	a := &anthropic{Server: &idp.Server{}, model: &modelapi.Server{Turns: turns}}
	l, err := net.Listen("tcp4", address+":443")
	if err != nil {
		u.t.Fatal(err)
	}
	server := &http.Server{Handler: a, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return world.Leaf(hello.ServerName) }}}
	go server.ServeTLS(l, "", "")
	u.t.Cleanup(func() { _ = server.Close() })
	return a
}

func (a *anthropic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Host == "platform.claude.com":
		a.Server.ServeHTTP(w, r)
	case !a.Good(token):
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"authentication_error","message":"no good token"}}`)
	default:
		a.model.ServeHTTP(w, r)
	}
}

// challengeOf is a verifier's challenge (RFC 7636, section 4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// login logs in on the host, as a user does who opens the page and pastes what it shows.
func (u *user) login(a *anthropic) {
	u.t.Helper()
	cmd := u.command("login", "claude")
	in, err := cmd.StdinPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		u.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		page, err := url.Parse(lines.Text())
		if err == nil && page.Query().Get("code_challenge") != "" {
			fmt.Fprintf(in, "%s#%s\n", a.Code(page.Query().Get("code_challenge")), page.Query().Get("state"))
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		u.t.Fatalf("bailey login: %v", err)
	}
}

// TestTheRealClaudeWithALogin: Claude Code works with an account whose tokens it never sees, across an expiry that the
// host takes care of, and is told what to do when the login has ended.
func TestTheRealClaudeWithALogin(t *testing.T) {
	u := userInCell(t)
	if u == nil {
		return
	}
	a := serveAnthropic(u, modelapi.Run("cat ~/.claude/.credentials.json > seen.txt; env >> seen.txt"), modelapi.Say("FINISHED-ALL"))
	a.Lasts = time.Minute // which is about to end when it begins
	u.login(a)
	if list := u.must("secret", "ls"); !strings.Contains(list, "claude-login") {
		t.Fatalf("the login is not kept: %s", list)
	}
	a.Lasts = 8 * time.Hour
	u.must("create", "--name", "box", "claude", ".")
	u.must("start", "box")
	ask := func() result { return u.bailey("run", "box", "--", "-p", "hi") }
	if out := ask(); out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") || a.Refreshes() != 1 {
		t.Fatalf("%d renewals, %+v", a.Refreshes(), out)
	}
	if seen := u.read("seen.txt"); !strings.Contains(seen, "sk-ant-oat01-") || !strings.Contains(seen, "sk-ant-ort01-") {
		t.Errorf("inside there is nothing that looks like a login: %s", seen)
	}
	for _, token := range a.Issued() {
		if places := u.sweep("box", token); len(places) > 0 {
			t.Errorf("a token is in %s", strings.Join(places, ", "))
		}
	}
	u.must("restart", "box")
	if out := ask(); out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") {
		t.Errorf("after a restart: %+v", out)
	}
	a.Lasts = time.Second
	u.login(a) // logging in again replaces the login under the running sandbox
	a.Lasts = 8 * time.Hour
	if out := ask(); out.code != 0 {
		t.Errorf("after another login: %+v", out)
	}
	a.Lasts = time.Second
	u.login(a)
	a.Revoke()
	time.Sleep(1100 * time.Millisecond)
	if out := ask(); out.code == 0 || !strings.Contains(out.stdout+out.stderr, "bailey login claude") {
		t.Errorf("when the login has ended: %+v", out)
	}
	u.must("rm", "-f", "box")
}

// TestSandboxesRenewALoginOnce: eight of them use a login that has ended, at the same time.
func TestSandboxesRenewALoginOnce(t *testing.T) {
	needCurl(t)
	u := userInCell(t)
	if u == nil {
		return
	}
	a := serveAnthropic(u)
	a.Lasts = time.Second
	u.login(a)
	a.Lasts = 8 * time.Hour
	const many = 8
	const use = `curl -s -o /dev/null -w '%{http_code}' -I -H "Authorization: Bearer $(grep -o 'sk-ant-oat01-[A-Za-z0-9]*' ~/.claude/.credentials.json)" https://api.anthropic.com/v1/models`
	for i := range many {
		name := fmt.Sprint("box", i)
		u.must("create", "--name", name, "claude", ".")
		u.must("start", name)
	}
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if out := u.bailey("exec", fmt.Sprint("box", i), "sh", "-c", use); out.stdout != "200" {
				t.Errorf("%+v", out)
			}
		})
	}
	all.Wait()
	if n := a.Refreshes(); n != 1 {
		t.Errorf("the login was renewed %d times", n)
	}
	for i := range many {
		u.must("rm", "-f", fmt.Sprint("box", i))
	}
}

// TestALoginMadeInside: what a program inside gets from the token endpoint stands for tokens that are outside, and other
// sandboxes have the login too.
func TestALoginMadeInside(t *testing.T) {
	needCurl(t)
	u := userInCell(t)
	if u == nil {
		return
	}
	a := serveAnthropic(u)
	u.must("create", "--name", "box", "claude", ".")
	u.must("start", "box")
	const verifier = "a-verifier-of-the-test"
	code := a.Code("Ck5Y8l8xD3dCw9oQCYbMsMR4Cw1S8yQCmsJ1qHn7bXU")
	token := `curl -s -H 'Content-Type: application/json' -d '{"grant_type":"authorization_code","code":"` + code + `","code_verifier":"` + verifier + `"}' https://platform.claude.com/v1/oauth/token`
	if got := u.inside("box", token); !strings.Contains(got, "invalid_grant") {
		t.Fatalf("a code with a challenge that does not fit: %s", got)
	}
	code = a.Code(challengeOf(verifier))
	token = strings.Replace(token, token[strings.Index(token, `"code":"`)+8:strings.Index(token, `","code_verifier`)], code, 1)
	got := u.inside("box", token)
	if !strings.Contains(got, `"access_token":"sk-ant-oat01-`) || !strings.Contains(got, "ann@shop.test") {
		t.Fatalf("the answer inside: %s", got)
	}
	for _, real := range a.Issued() {
		if strings.Contains(got, real) {
			t.Error("a token is inside")
		}
	}
	const use = `curl -s -o /dev/null -w '%{http_code}' -I -H "Authorization: Bearer TOKEN" https://api.anthropic.com/v1/models`
	_, rest, _ := strings.Cut(got, `"access_token":"`)
	stands, _, _ := strings.Cut(rest, `"`)
	if got := u.inside("box", strings.Replace(use, "TOKEN", stands, 1)); !strings.HasPrefix(got, "200") {
		t.Errorf("what stands for the token: %s", got)
	}
	u.must("create", "--name", "other", "claude", ".")
	u.must("start", "other")
	if got := u.inside("other", strings.Replace(use, "TOKEN", "$(grep -o 'sk-ant-oat01-[A-Za-z0-9]*' ~/.claude/.credentials.json)", 1)); !strings.HasPrefix(got, "200") {
		t.Errorf("in another sandbox: %s", got)
	}
	// One sandbox's placeholder is worth nothing in another.
	if got := u.inside("other", strings.Replace(use, "TOKEN", stands, 1)); !strings.HasPrefix(got, "403") {
		t.Errorf("another sandbox's placeholder: %s", got)
	}
	u.must("rm", "-f", "box", "other")
}
