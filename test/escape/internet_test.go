//go:build linux

package escape

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// internet is the running command of that name: a world in namespaces of its own, and a file of what it has seen.
type internet struct {
	t      *testing.T
	pid    int
	dir    string
	asUser bool
	marks  atomic.Int64
}

// startInternet makes the world, for the rest of the test.
func startInternet(t *testing.T, w *world) *internet {
	t.Helper()
	n := &internet{t: t, dir: filepath.Join(w.dir, "internet"), asUser: !w.root}
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(w.tools, "internet"), n.dir, os.Getenv(rootVariable))
	cmd.Env, cmd.Stderr = w.env, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if n.asUser {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, c)
		}
	}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	n.pid = cmd.Process.Pid
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "READY\n" {
		t.Fatalf("the world does not begin: %q, %v", line, err)
	}
	return n
}

// enter makes cmd a program of the near namespace.
func (n *internet) enter(cmd *exec.Cmd) {
	args := []string{"nsenter", "-t", fmt.Sprint(n.pid), "-m", "-n"}
	if n.asUser {
		args = append(args, "-U", "--preserve-credentials")
	}
	path, err := exec.LookPath("nsenter")
	if err != nil {
		machine.Lack(n.t, "nsenter", err.Error())
	}
	cmd.Args = append(append(args, "--", "sh", "-c", `cd "$0" && exec "$@"`, cmd.Dir, cmd.Path), cmd.Args[1:]...)
	cmd.Path = path
}

// near is w with its commands in the near namespace, whose supervisors trust the world's authority.
func (n *internet) near(w *world) *world {
	near := *w
	near.enter = n.enter
	near.env = append(near.env[:len(near.env):len(near.env)], "SSL_CERT_FILE="+filepath.Join(n.dir, "ca.pem"))
	return &near
}

// seen returns what the world has seen since the last call. Whatever was sent before it is in it: a packet of its
// own comes last.
func (n *internet) seen(w *world, p *project) []string {
	n.t.Helper()
	mark := fmt.Sprintf("MARK-%d-", n.marks.Add(1))
	w.outside(n.t, p, "$PROBE send udp 45.90.28.1:9 "+mark)
	var text string
	if !machine.Poll(10*time.Second, func() bool {
		b, _ := os.ReadFile(filepath.Join(n.dir, "events"))
		text = string(b)
		return strings.Contains(text, mark)
	}) {
		n.t.Fatal("the world has not seen its own mark")
	}
	if before := fmt.Sprintf("MARK-%d-", n.marks.Load()-1); strings.Contains(text, before) {
		_, text, _ = strings.Cut(text, before)
	}
	var events []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, "45.90.28.1:9 ") && strings.Contains(line, " ") {
			events = append(events, line)
		}
	}
	return events
}

// netAttack is an attack on the network. The world judges: it is won when the world has seen what it may not see.
// Scripts are sh's and know $E, the attacker's address, and $GET, curl with short limits, beside what others know.
type netAttack struct {
	id     string
	flags  []string // of bailey create
	script string
	weaker string // the control's, where it must be another one
	won    string // a regular expression for events; "" is anything that goes to the attacker
	says   string // one for what the script prints, which counts as well
	works  string // inside: prints WORKS when the ordinary thing beside it does
	// keeps is how a secret is kept for the sandbox (arguments of bailey secret set). Scripts have it in $GH_TOKEN: the
	// placeholder, or in the control the secret itself.
	keeps []string

	documented string
}

// attacker matches what goes to the attacker's addresses or names.
const attacker = `66\.66\.66\.66|2a06:6666|evil`

func (a netAttack) attack() attack {
	group := "network"
	if a.keeps != nil {
		group = "credentials"
	}
	return attack{id: a.id, group: group, documented: a.documented, own: a.try}
}

func (a netAttack) try(tr *trial) verdict {
	t, n := tr.t, tr.w.internet()
	w := n.near(tr.w)
	p := w.newProject(t, a.id, "")
	won := regexp.MustCompile(attacker)
	if a.won != "" {
		won = regexp.MustCompile(a.won)
	}
	const preamble = "E=66.66.66.66; GET=\"curl -sS -k --noproxy * --connect-timeout 3 --max-time 6\"; set -f\n"
	script := a.script
	if a.weaker != "" {
		script = a.weaker
	}
	if a.keeps != nil {
		script = "export GH_TOKEN=" + realToken + "\n" + script
		w.keep(t, p, realToken, a.keeps...)
	}
	v := verdict{control: "held"}
	n.seen(w, p)
	out := w.jail(t, p, nil, preamble+script)
	events := n.seen(w, p)
	t.Logf("the control says:\n%s\nand the world has seen\n%s", out, strings.Join(events, "\n"))
	if first(won, events) != "" || a.says != "" && regexp.MustCompile(a.says).MatchString(out) {
		v.control = "lost"
	} else {
		v.reason = "the control held: the case proves nothing"
	}
	w.start(t, p, a.flags...)
	removed := false
	defer func() {
		if !removed {
			w.remove(t, p)
		}
	}()
	if a.works != "" {
		if out := w.inside(t, p, preamble+a.works); !strings.Contains(out, "WORKS") {
			v.broken = "what must work beside it does not: " + firstLine(out)
		}
	}
	n.seen(w, p)
	out = w.inside(t, p, "echo RAN\n"+preamble+a.script)
	w.remove(t, p)
	removed = true
	events = n.seen(w, p)
	t.Logf("inside it says:\n%s\nand the world has seen\n%s", out, strings.Join(events, "\n"))
	v.ran = strings.HasPrefix(out, "RAN\n")
	if got := first(won, events); got != "" {
		v.won, v.reason = true, "the world has seen: "+got
	}
	if a.says != "" && regexp.MustCompile(a.says).MatchString(out) {
		v.won, v.reason = true, "it was answered: "+regexp.MustCompile(a.says).FindString(out)
	}
	if v.won && a.documented != "" {
		v.reason = a.documented
	}
	return v
}

// first is the first event that matches.
func first(won *regexp.Regexp, events []string) string {
	for _, e := range events {
		if won.MatchString(e) {
			return e
		}
	}
	return ""
}
