//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// used is what bailey usage says, as a whole.
type used struct {
	Calls    int
	Input    int64
	Output   int64
	Cost     float64
	Unpriced int
}

func (u *user) usage(args ...string) used {
	u.t.Helper()
	var v struct{ Total used }
	if err := json.Unmarshal([]byte(u.must(append([]string{"usage", "--json"}, args...)...)), &v); err != nil {
		u.t.Fatal(err)
	}
	return v.Total
}

// told is what the provider's answers have said: it counts a request's bytes, and 25 tokens for each answer.
func (m *model) told() (v used) {
	for _, r := range m.Requests() {
		if strings.HasSuffix(r.Path, "/messages") || strings.HasSuffix(r.Path, "/responses") && r.Method == "POST" {
			v.Calls, v.Input, v.Output = v.Calls+1, v.Input+int64(len(r.Body)/4), v.Output+25
		}
	}
	return v
}

// TestTheTitleSaysWhatWasSpent: while the agent works, and not any more when the terminal is left.
func TestTheTitleSaysWhatWasSpent(t *testing.T) {
	u := newUser(t)
	s := startClaude(u)
	title := func() string {
		return strings.TrimSpace(s.tmux("display-message", "-p", "-t", s.pane(), "#{pane_title}"))
	}
	s.line("the question")
	s.await("FIRST-ANSWER")
	if !machine.Poll(screenTime, func() bool { return strings.HasPrefix(title(), "$") && strings.Contains(title(), " · ") }) {
		t.Errorf("the title is %q", title())
	}
	s.keys("C-p", "C-q")
	s.prompt()
	if got := title(); strings.Contains(got, "$") {
		t.Errorf("after leaving, the title is %q", got)
	}
	u.must("rm", "-f", "main")
}

// TestTheLedgerIsWhatTheProviderSays, and what the agent itself has logged.
func TestTheLedgerIsWhatTheProviderSays(t *testing.T) {
	u := newUser(t)
	u.needAgent("claude")
	u.ownData("claude")
	m := serveModelTLS(u, modelapi.Run("echo one"), modelapi.Run("echo two"), modelapi.Say("FINISHED-ALL"))
	if out := u.bailey(m.run("--name", "main", "claude", ".", "--", "-p", "count")...); out.code != 0 {
		t.Fatalf("%+v", out)
	}
	want, got := m.told(), u.usage()
	if got.Calls != want.Calls || got.Input != want.Input || got.Output != want.Output || got.Unpriced != 0 || got.Cost <= 0 || want.Calls < 3 {
		t.Errorf("the ledger has %+v, the provider said %+v", got, want)
	}
	if main := u.usage("main"); main != got {
		t.Errorf("the sandbox has %+v of %+v", main, got)
	}
	// The agent logs its conversation, which is all but what it asks on the side.
	u.env = append(u.env, "CLAUDE_CONFIG_DIR="+filepath.Join(u.sandboxDir("main"), "home", ".claude"))
	logged := u.usage("--import")
	if logged.Calls == 0 || logged.Calls > got.Calls || logged.Input > got.Input || logged.Input < got.Input/2 {
		t.Errorf("the agent has logged %+v of %+v", logged, got)
	}
	if out := u.bailey("logs", "main"); !strings.Contains(out.stderr, "note: main has used $") || strings.Contains(out.stdout, "has used") {
		t.Errorf("logs: %+v", out)
	}
	u.must("rm", "-f", "main")
	if after := u.usage(); after != got {
		t.Errorf("with the sandbox went some of what it used: %+v", after)
	}
}

// TestTheLedgerOfTheRealCodex is the same for another agent, and another provider's shape.
func TestTheLedgerOfTheRealCodex(t *testing.T) {
	u := newUser(t)
	u.needAgent("codex")
	u.ownData("codex")
	m := serveModelTLS(u, modelapi.Run("echo one"), modelapi.Say("FINISHED-ALL"))
	out := u.bailey("run", "--name", "main", "--allow", "host.bailey.internal:"+m.port, "-e", "OPENAI_API_KEY="+modelKey, "-e", "OPENAI_BASE_URL="+m.url(), "codex", ".", "--",
		"-c", "model_provider=mock", "-c", `model_providers.mock={name="mock",base_url="`+m.url()+`/v1",wire_api="responses",env_key="OPENAI_API_KEY"}`, "-m", "gpt-5", "exec", "--skip-git-repo-check", "hi")
	if out.code != 0 {
		t.Fatalf("%+v", out)
	}
	want, got := m.told(), u.usage()
	if got.Calls != want.Calls || got.Input != want.Input || got.Output != want.Output || got.Unpriced != 0 || got.Cost <= 0 || want.Calls < 2 {
		t.Errorf("the ledger has %+v, the provider said %+v", got, want)
	}
	// Codex logs every call of its conversation.
	u.env = append(u.env, "CODEX_HOME="+filepath.Join(u.sandboxDir("main"), "home", ".codex"))
	if logged := u.usage("--import"); logged.Calls == 0 || logged.Calls > got.Calls || logged.Input > got.Input {
		t.Errorf("the agent has logged %+v of %+v", logged, got)
	}
}

// TestABudgetStopsTheRealClaude, which goes round in circles, at most one call late, until a person raises it.
func TestABudgetStopsTheRealClaude(t *testing.T) {
	u := newUser(t)
	u.needAgent("claude")
	u.ownData("claude")
	var turns []modelapi.Turn
	for range 12 {
		turns = append(turns, modelapi.Run("echo again"))
	}
	m := serveModelTLS(u, append(turns, modelapi.Say("FINISHED-ALL"))...)
	args := m.run("--name", "main", "--budget", "150Ktok", "claude", ".", "--", "-p", "go round in circles")
	out := u.bailey(args...)
	if out.code != 121 || !strings.Contains(out.stdout+out.stderr, "the budget of 150Ktok for sandbox:main is used up") || !strings.Contains(out.stderr, "bailey budget raise sandbox:main AMOUNT") {
		t.Fatalf("%+v", out)
	}
	if !strings.Contains(out.stdout, "budget of 150Ktok") {
		t.Errorf("the agent does not say why it stopped: %q", out.stdout)
	}
	at := u.usage()
	most := int64(0)
	for _, r := range m.Requests() {
		most = max(most, int64(len(r.Body)/4)+25)
	}
	if total := at.Input + at.Output; total < 150_000 || total >= 150_000+most {
		t.Errorf("used are %d tokens of 150000, by calls of at most %d", total, most)
	}
	refused := strings.Count(u.must("policy", "log", "--json", "main"), "is used up")
	if refused == 0 || refused > 10 {
		t.Errorf("%d calls were refused: it tries again and again", refused)
	}
	if list := u.must("budget", "ls"); !strings.Contains(list, "sandbox:main   150Ktok") {
		t.Errorf("%s", list)
	}
	// Without more it stays held; raised, it goes on.
	if out := u.bailey("run", "main", "--", "-c", "-p", "go on"); out.code != 121 {
		t.Errorf("still: %+v", out)
	}
	u.must("budget", "raise", "sandbox:main", "5Mtok")
	if out := u.bailey("run", "main", "--", "-c", "-p", "go on"); out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") {
		t.Errorf("after it was raised: %+v", out)
	}
}

// TestABudgetIsShared has several real agents go round in circles on one budget: it is passed by one call at most.
// BAILEY_BUDGET_BOXES says how many.
func TestABudgetIsShared(t *testing.T) {
	boxes := 3
	if text, ok := os.LookupEnv("BAILEY_BUDGET_BOXES"); ok {
		var err error
		if boxes, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	u := newUser(t)
	u.needAgent("claude")
	u.ownData("claude")
	var turns []modelapi.Turn
	for range 200 {
		turns = append(turns, modelapi.Run("echo again"))
	}
	m := serveModelTLS(u, turns...)
	limit := int64(100_000 * boxes)
	u.must("budget", "set", "day", strconv.FormatInt(limit, 10)+"tok")
	var all sync.WaitGroup
	for i := range boxes {
		all.Go(func() {
			out := u.bailey(m.run("--name", "box-"+strconv.Itoa(i), "claude", ".", "--", "-p", "go round in circles")...)
			if out.code != 121 {
				t.Errorf("box-%d: %+v", i, out)
			}
		})
	}
	all.Wait()
	most := int64(0)
	for _, r := range m.Requests() {
		most = max(most, int64(len(r.Body)/4)+25)
	}
	got := u.usage()
	if total := got.Input + got.Output; total < limit || total >= limit+most {
		t.Errorf("used are %d tokens of %d, by calls of at most %d", total, limit, most)
	}
	refused := 0
	for i := range boxes {
		refused += strings.Count(u.must("policy", "log", "--json", "box-"+strconv.Itoa(i)), "is used up")
	}
	t.Logf("%d sandboxes used %d tokens of %d in %d calls of at most %d; %d more were refused", boxes, got.Input+got.Output, limit, got.Calls, most, refused)
	if refused > 10*boxes {
		t.Errorf("%d calls were refused: they try again and again", refused)
	}
}
