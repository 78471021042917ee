//go:build linux

package e2e

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/test/idp"
	"github.com/bailey-sandbox/bailey/test/machine"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// provider is an agent's as it is in the test's cell: the logins and the model, at their own names.
type provider struct {
	*idp.Server
	agent, tokens string // the host of the logins
	model         *modelapi.Server
}

// userInCell is a user who has the agent, in a cell of the test's own; nil outside of it.
func userInCell(t *testing.T, agent string) *user {
	t.Helper()
	if !insideCell() {
		newUser(t).needAgent(agent) // fetched where there is a network
	}
	if !inCell(t, unix.CLONE_NEWNET) {
		return nil
	}
	u := newUser(t)
	u.ownData(agent)
	return u
}

// serveProvider is the agent's provider, with the model at the other names.
func serveProvider(u *user, agent, tokens string, names []string, turns ...modelapi.Turn) *provider {
	u.t.Helper()
	const address = "93.184.215.15"
	publicNames(u.t, address, append(names, tokens)...)
	world, roots := newWorld(u.t)
	u.env = append(u.env, "SSL_CERT_FILE="+roots)
	p := &provider{Server: &idp.Server{}, agent: agent, tokens: tokens, model: &modelapi.Server{Turns: turns}}
	l, err := net.Listen("tcp4", address+":443")
	if err != nil {
		u.t.Fatal(err)
	}
	server := &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return world.Leaf(hello.ServerName) }}}
	go server.ServeTLS(l, "", "")
	u.t.Cleanup(func() { _ = server.Close() })
	return p
}

func serveAnthropic(u *user, turns ...modelapi.Turn) *provider {
	u.t.Helper()
	return serveProvider(u, "claude", "platform.claude.com", []string{"api.anthropic.com"}, turns...)
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Host == p.tokens && r.URL.Path != "/tokeninfo":
		p.Server.ServeHTTP(w, r)
	case !p.Good(token):
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"authentication_error","message":"no good token"}}`)
	case r.URL.Path == "/tokeninfo": // Google's
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"expires_in":3600,"scope":"a b"}`)
	case strings.HasSuffix(r.URL.Path, "/accounts/check"): // ChatGPT's, which says where an account's workspace is
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"accounts":[{"id":"account-of-the-shop","name":"shop","structure":"personal","plan_type":"pro","is_deactivated":false,"workspace_backend_origin":"https://chatgpt.com","account_routing_override":"NO_CONSTRAINT"}],`+
			`"default_account_id":"account-of-the-shop","account_ordering":["account-of-the-shop"]}`)
	default:
		p.model.ServeHTTP(w, r)
	}
}

// asked is what the model was asked for.
func (p *provider) asked() string {
	var all []string
	for _, r := range p.model.Requests() {
		all = append(all, r.Method+" "+r.Path)
	}
	return strings.Join(all, ", ")
}

// challengeOf is a verifier's challenge (RFC 7636, section 4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// login logs in on the host, as a user does who opens the page, and pastes what it shows or is sent back.
func (u *user) login(p *provider) {
	u.t.Helper()
	cmd := u.command("login", p.agent)
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
		if err != nil || page.Query().Get("code_challenge") == "" {
			continue
		}
		code, state := p.Code(page.Query().Get("code_challenge")), page.Query().Get("state")
		back, err := url.Parse(page.Query().Get("redirect_uri"))
		switch {
		case err != nil:
			u.t.Fatal(err)
		case back.Scheme == "http":
			back.RawQuery = url.Values{"code": {code}, "state": {state}}.Encode()
			if !machine.Poll(10*time.Second, func() bool { return visit(back.String()) == http.StatusOK }) {
				u.t.Error("nothing waits for the browser")
			}
		case p.agent == "gemini":
			fmt.Fprintln(in, code)
		default:
			fmt.Fprintf(in, "%s#%s\n", code, state)
		}
		break
	}
	if err := cmd.Wait(); err != nil {
		u.t.Fatalf("bailey login: %v", err)
	}
}

// visit is the answer's status, 0 for none.
func visit(page string) int {
	response, err := http.Get(page)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

// TestTheRealClaudeWithALogin: Claude Code works with an account whose tokens it never sees, across an expiry that the
// host takes care of, and is told what to do when the login has ended.
func TestTheRealClaudeWithALogin(t *testing.T) {
	u := userInCell(t, "claude")
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
	u := userInCell(t, "claude")
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
	u := userInCell(t, "claude")
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

// TestTheRealCodexWithALogin: Codex works with a ChatGPT account whose tokens it never sees.
func TestTheRealCodexWithALogin(t *testing.T) {
	u := userInCell(t, "codex")
	if u == nil {
		return
	}
	p := serveProvider(u, "codex", "auth.openai.com", []string{"chatgpt.com"}, modelapi.Run("cat ~/.codex/auth.json > seen.txt; env >> seen.txt"), modelapi.Say("FINISHED-ALL"))
	p.Claims = chatGPTClaims()
	p.Lasts = time.Minute
	u.login(p)
	p.Lasts = 8 * time.Hour
	out := u.bailey("run", "--name", "box", "codex", ".", "--", "-c", "features.enable_request_compression=false", "-m", "mock-1", "exec", "--skip-git-repo-check", "hi")
	if out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") || p.Refreshes() != 1 {
		t.Fatalf("%d renewals, asked for %s, %+v", p.Refreshes(), p.asked(), out)
	}
	account := ""
	for _, r := range p.model.Requests() {
		account += r.Header.Get("Chatgpt-Account-Id")
	}
	if !strings.Contains(account, "account-of-the-shop") {
		t.Errorf("the model was asked for the account %q", account)
	}
	u.noTokenInside(p, u.read("seen.txt"), `"refresh_token": "rt_`)
}

// TestTheRealGeminiWithALogin is the same for Gemini CLI and a Google account.
func TestTheRealGeminiWithALogin(t *testing.T) {
	u := userInCell(t, "gemini")
	if u == nil {
		return
	}
	p := serveProvider(u, "gemini", "oauth2.googleapis.com", []string{"cloudcode-pa.googleapis.com"}, modelapi.Run("cat ~/.gemini/oauth_creds.json > seen.txt; env >> seen.txt"), modelapi.Say("FINISHED-ALL"))
	p.Lasts = time.Minute
	u.login(p)
	p.Lasts = 8 * time.Hour
	out := u.bailey("run", "--name", "box", "gemini", ".", "--", "-p", "hi")
	if out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") || p.Refreshes() != 1 {
		t.Fatalf("%d renewals, asked for %s, %+v", p.Refreshes(), p.asked(), out)
	}
	u.noTokenInside(p, u.read("seen.txt"), "ya29.a0")
}

// noTokenInside sweeps box, in which the agent saw what stands for its login.
func (u *user) noTokenInside(p *provider, seen, stands string) {
	u.t.Helper()
	if !strings.Contains(seen, stands) {
		u.t.Errorf("inside there is nothing that looks like a login: %s", seen)
	}
	u.must("start", "box")
	for _, token := range p.Issued() {
		if places := u.sweep("box", token); len(places) > 0 {
			u.t.Errorf("a token is in %s", strings.Join(places, ", "))
		}
	}
	u.must("rm", "-f", "box")
}

// TestLoggingInOnClaudesScreen: who types /login inside gets a login that is kept outside, without a port of anybody's:
// the page shows a code to paste.
func TestLoggingInOnClaudesScreen(t *testing.T) {
	u := userInCell(t, "claude")
	if u == nil {
		return
	}
	a := serveAnthropic(u, modelapi.Say("FINISHED-ALL"))
	s := newScreen(u, "login")
	s.line("clear; bailey run --name box -e CLAUDE_CODE_FULL_SIGN_IN_LINK=1 claude .")
	s.await("Not logged in")
	raw := filepath.Join(u.project, "raw")
	s.tmux("pipe-pane", "-t", s.pane(), "cat > "+shell(raw)) // on the screen the address has more lines than one
	s.line("/login")
	s.await("Select login method")
	s.keys("Enter")
	s.await("Paste code here")
	address := regexp.MustCompile(`https://[^\s\x07\x1b]*code_challenge=[^\s\x07\x1b]*`).FindString(u.read("raw"))
	page, err := url.Parse(address)
	if err != nil || page.Query().Get("state") == "" {
		t.Fatalf("the page is %q, %v", address, err)
	}
	s.paste(a.Code(page.Query().Get("code_challenge")) + "#" + page.Query().Get("state"))
	s.keys("Enter")
	s.await("Login successful. Press Enter")
	s.keys("Enter")
	s.await("/login\n")
	s.line("work, please")
	s.await("FINISHED-ALL")
	for _, token := range a.Issued() {
		if places := u.sweep("box", token); len(places) > 0 {
			t.Errorf("a token is in %s", strings.Join(places, ", "))
		}
	}
	if list := u.must("secret", "ls"); !strings.Contains(list, "claude-login") {
		t.Errorf("the login is not kept: %s", list)
	}
	s.leaveClaude()
}

// chatGPTClaims are those of an id_token of OpenAI's that Codex reads.
func chatGPTClaims() map[string]any {
	return map[string]any{"email": "ann@shop.test", "sub": "user-1", "exp": time.Now().Add(time.Hour).Unix(),
		"https://api.openai.com/auth": map[string]any{"chatgpt_account_id": "account-of-the-shop", "chatgpt_plan_type": "pro", "chatgpt_user_id": "user-1"}}
}

// TestLoggingInWithCodexInside: by a short code that is typed elsewhere, which needs no port of anybody's.
func TestLoggingInWithCodexInside(t *testing.T) {
	u := userInCell(t, "codex")
	if u == nil {
		return
	}
	p := serveProvider(u, "codex", "auth.openai.com", []string{"chatgpt.com"}, modelapi.Run("cat ~/.codex/auth.json > seen.txt"), modelapi.Say("FINISHED-ALL"))
	p.Claims = chatGPTClaims()
	if out := u.bailey("run", "--name", "box", "codex", ".", "--", "login", "--device-auth"); out.code != 0 || !strings.Contains(out.stdout+out.stderr, "ABCD-1234") {
		t.Fatalf("%+v", out)
	}
	out := u.bailey("run", "box", "--", "-c", "features.enable_request_compression=false", "-m", "mock-1", "exec", "--skip-git-repo-check", "hi")
	if out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") {
		t.Fatalf("asked for %s, %+v", p.asked(), out)
	}
	if list := u.must("secret", "ls"); !strings.Contains(list, "codex-login") {
		t.Errorf("the login is not kept: %s", list)
	}
	u.noTokenInside(p, u.read("seen.txt"), `"refresh_token": "rt_`)
}

// TestLoggingInOnGeminisScreen: by a page that shows a code to paste.
func TestLoggingInOnGeminisScreen(t *testing.T) {
	u := userInCell(t, "gemini")
	if u == nil {
		return
	}
	p := serveProvider(u, "gemini", "oauth2.googleapis.com", []string{"cloudcode-pa.googleapis.com"}, modelapi.Say("FINISHED-ALL"))
	s := newScreen(u, "login")
	s.line("clear; bailey run --name box gemini .")
	s.await("Sign in with Google")
	s.tmux("pipe-pane", "-t", s.pane(), "cat > "+shell(filepath.Join(u.project, "raw")))
	s.keys("Enter")
	s.await("Enter the authorization code")
	s.line(p.Code(u.challengeShown()))
	s.await("Type your message")
	s.line("work, please")
	// While it starts anew after the login it may not take an Enter.
	if !machine.Poll(screenTime, func() bool {
		s.keys("Enter")
		return machine.Poll(3*time.Second, func() bool { return strings.Contains(s.text(), "FINISHED-ALL") })
	}) {
		t.Errorf("the model does not answer:\n%s", s.text())
	}
	if list := u.must("secret", "ls"); !strings.Contains(list, "gemini-login") {
		t.Errorf("the login is not kept: %s", list)
	}
	for _, token := range p.Issued() {
		if places := u.sweep("box", token); len(places) > 0 {
			t.Errorf("a token is in %s", strings.Join(places, ", "))
		}
	}
	u.must("rm", "-f", "box")
}

// challengeShown is that of the page whose address is in the file raw, which has what a screen was sent.
func (u *user) challengeShown() string {
	u.t.Helper()
	found := regexp.MustCompile(`code_challenge=([A-Za-z0-9_-]{43})`).FindStringSubmatch(u.read("raw"))
	if found == nil {
		u.t.Fatalf("no page is shown: %q", u.read("raw"))
	}
	return found[1]
}

// TestALoginCanBeLeft: who thinks better of it presses ctrl-c, while the terminal is still read.
func TestALoginCanBeLeft(t *testing.T) {
	u := newUser(t)
	u.ownStore()
	for _, agent := range []string{"claude", "codex"} {
		cmd := u.command("login", agent)
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		if lines := bufio.NewScanner(out); !lines.Scan() {
			t.Fatal("nothing is said")
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(10*time.Second, func() { _ = in.Close() })
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		if !late.Stop() || cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("%s: it ends with %d, or only when its input does", agent, cmd.ProcessState.ExitCode())
		}
	}
	if list := u.must("secret", "ls", "-q"); list != "" {
		t.Errorf("kept is %s", list)
	}
}
