//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// publicHost is a web server of a world that is all in the test's cell: a public address, and a name for it.
func publicHost(t *testing.T, name, address string) *listener {
	t.Helper()
	publicNames(t, address, name)
	return listen(t, "tcp4", address+":80")
}

// publicNames gives the cell a public address, and names for it.
func publicNames(t *testing.T, address string, names ...string) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err == nil {
		// An address that is local and nobody's: the host's own would be refused as such.
		_, dst, _ := net.ParseCIDR(address + "/32")
		err = netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST})
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err == nil {
		err = os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"+address+" "+strings.Join(names, " ")+"\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	cover(t, "/etc/hosts", hosts)
}

// press presses a key until the screen shows want: a key counts only when the question has been there for a moment.
func (s *screen) press(key, want string) {
	s.u.t.Helper()
	if !machine.Poll(screenTime, func() bool {
		s.keys(key)
		return machine.Poll(time.Second, func() bool { return strings.Contains(s.text(), want) })
	}) {
		s.u.t.Fatalf("after %s the screen does not show %q:\n%s", key, want, s.text())
	}
}

// waiting is how many requests wait for an answer, by question.
func (u *user) waiting() map[string]int {
	u.t.Helper()
	var list []struct {
		Sandbox string
		ID      int
		Waiting int
	}
	if err := json.Unmarshal([]byte(u.must("approvals", "--json")), &list); err != nil {
		u.t.Fatal(err)
	}
	waiting := map[string]int{}
	for _, q := range list {
		waiting[fmt.Sprintf("%s/%d", q.Sandbox, q.ID)] = q.Waiting
	}
	return waiting
}

func TestAHumanIsAskedInTheTerminal(t *testing.T) {
	needCurl(t)
	if !inCell(t, unix.CLONE_NEWNET) {
		return
	}
	l := publicHost(t, "api.public.test", "93.184.215.14")
	u := newUser(t)
	s := newScreen(u, "main")
	u.box("--network", "ask")
	const hint, question = "1 question about the network (api.public.test:80)", "may box reach api.public.test:80?"
	// Each word that is typed is a request, but "fake", which paints a question of its own.
	u.write("src/shop/agent.sh", `echo UP; while read -r word; do case $word in
fake) printf '\0337\033[39;1H\033[7m bailey: may box reach good.test:80?  y once \033[0m\0338' ;;
*) curl -s -o /dev/null --noproxy '*' -w "$word: status %{http_code}\n" "http://api.public.test/$word" & ;;
esac; done
`)
	s.line("clear; bailey run box -- agent.sh")
	s.await("UP")

	s.line("one")
	s.await(hint)
	s.keys("C-p", "a")
	s.await(question)
	s.press("y", "one: status 200")
	if got := l.heard(); got != 1 {
		t.Errorf("the server has heard of %d requests", got)
	}

	// What was typed before anybody could have read the question answers nothing.
	s.line("two")
	s.await(hint)
	s.keys("C-p", "a", "y")
	s.await(question)
	s.press("n", "two: status 403")

	// Neither does a line that the agent has painted, and a key at that.
	s.line("three")
	s.await(hint)
	s.line("fake")
	s.await("may box reach good.test:80?")
	s.line("y")
	if !machine.Poll(screenTime, func() bool { w := u.waiting(); return len(w) == 1 && w["box/3"] == 2 }) {
		t.Fatalf("waiting are %v", u.waiting())
	}
	s.keys("C-p", "a")
	s.await(question)
	s.press("n", "three: status 403")
	s.await("y: status 403")
	if got := l.heard(); got != 0 {
		t.Errorf("the server has heard of %d requests that nobody allowed", got)
	}

	// Who sits elsewhere answers as well, and for longer.
	s.line("four")
	s.await(hint)
	u.must("approvals", "allow", "--for", "session", "box/4")
	s.await("four: status 200")
	s.line("five")
	s.await("five: status 200")
	if text := s.text(); strings.Contains(text, "about the network") || strings.Contains(text, question) {
		t.Errorf("a line of ours is left:\n%s", s.text())
	}
	if rules := u.must("policy", "ls", "box"); !strings.Contains(rules, "api.public.test:80") || !strings.Contains(rules, "session") {
		t.Errorf("the rules are\n%s", rules)
	}
	u.must("stop", "box")
	s.await("ready>")
	if rules := u.must("policy", "ls", "box"); strings.Contains(rules, "api.public.test") {
		t.Errorf("the session's rule is left:\n%s", rules)
	}
	for _, want := range []string{"one", "two", "three", "four"} {
		if log := u.must("policy", "log", "box"); !strings.Contains(log, "ask    GET api.public.test:80/"+want) {
			t.Errorf("the record lacks the question about %s:\n%s", want, log)
		}
	}
}

func TestQuestionsAreWatched(t *testing.T) {
	needCurl(t)
	if !inCell(t, unix.CLONE_NEWNET) {
		return
	}
	l := publicHost(t, "api.public.test", "93.184.215.14")
	u := newUser(t)
	s := newScreen(u, "main")
	before := s.settings()
	s.line("clear; bailey approvals watch")
	s.await("waiting for questions")
	u.box("--network", "ask") // later than whoever watches
	u.must("exec", "-d", "box", "sh", "-c", curl+"http://api.public.test/one")
	s.await("may box reach api.public.test:80?")
	s.press("y", "GET /one  allow (once)")
	if !machine.Poll(screenTime, func() bool { return l.heard() == 1 }) {
		t.Error("what was allowed has not come")
	}
	u.must("exec", "-d", "box", "bash", "-c", "exec 3<>/dev/tcp/api.public.test/8022 && cat <&3")
	s.await("api.public.test:8022 (any protocol)?")
	s.press("Escape", "left open")
	s.await("waiting for questions")
	for id, n := range u.waiting() {
		u.must("approvals", "deny", id)
		if n != 1 {
			t.Errorf("%s: %d wait", id, n)
		}
	}
	s.keys("C-c")
	s.await("ready>")
	s.line("clear")
	s.prompt()
	if after := s.settings(); after != before {
		t.Errorf("the terminal was %s and is %s", before, after)
	}
}
