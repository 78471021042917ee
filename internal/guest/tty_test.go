package guest

import (
	"io"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

func terminal(script string, rows, cols int) guestproto.Command {
	cmd := sh(script)
	cmd.TTY, cmd.Stdin, cmd.Rows, cmd.Cols = true, true, rows, cols
	return cmd
}

func TestTerminalHasItsSizeFromTheStart(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	cmd := terminal("stty size; tty; echo $TERM; echo err >&2; exit 3", 33, 111)
	out, errOut, exit := finish(t, begin(t, c, cmd))
	if !strings.HasPrefix(out, "33 111\r\n/dev/") || !strings.HasSuffix(out, "\r\nxterm-256color\r\nerr\r\n") || errOut != "" || exit.Code != 3 {
		t.Errorf("got %q, %q, %+v", out, errOut, exit)
	}
	cmd.Term = "dumb"
	if out, _, _ := finish(t, begin(t, c, cmd)); !strings.Contains(out, "dumb") {
		t.Errorf("got %q", out)
	}
	cmd.TTY = false
	if out, _, _ := finish(t, begin(t, c, cmd)); !strings.Contains(out, "not a tty") {
		t.Errorf("without a terminal: got %q", out)
	}
}

func TestTerminalIsResized(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, terminal("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done", 24, 80))
	readUntil(t, p, "ready")
	if err := p.Resize(50, 132); err != nil {
		t.Fatal(err)
	}
	if out, _, _ := finish(t, p); !strings.Contains(out, "50 132") {
		t.Errorf("got %q", out)
	}
}

func TestTerminalControlsItsJobs(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, terminal("trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done", 24, 80))
	readUntil(t, p, "ready")
	io.WriteString(p.Stdin, "\x03")
	if out, _, exit := finish(t, p); !strings.Contains(out, "interrupted") || exit.Code != 5 {
		t.Errorf("got %q, %+v", out, exit)
	}
}

func TestEndOfInputOnATerminal(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	p := begin(t, c, terminal("cat; echo end", 24, 80))
	io.WriteString(p.Stdin, "line\n")
	readUntil(t, p, "line\r\nline\r\n")
	p.Stdin.Close()
	if out, _, exit := finish(t, p); !strings.Contains(out, "end") || exit.Code != 0 {
		t.Errorf("got %q, %+v", out, exit)
	}
	// A session's terminal outlives the terminal of its client.
	cmd := terminal("cat; echo end", 24, 80)
	cmd.Session = "a"
	p = begin(t, c, cmd)
	p.Stdin.Close()
	p.Close()
	p = join(t, c, guestproto.Attach{Session: "a", Stdin: true})
	io.WriteString(p.Stdin, "still\n")
	readUntil(t, p, "still\r\nstill\r\n")
}

func TestTheLastClientToJoinOrResizeSetsTheSize(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	cmd := terminal("trap 'echo size $(stty size)' WINCH; echo ready; while :; do sleep 0.02; done", 24, 80)
	cmd.Session = "a"
	first := begin(t, c, cmd)
	readUntil(t, first, "ready")

	second := join(t, c, guestproto.Attach{Session: "a", Stdin: true, Rows: 30, Cols: 100})
	readUntil(t, first, "size 30 100")
	first.Resize(40, 120)
	readUntil(t, second, "size 40 120")
	second.Resize(31, 101)
	readUntil(t, first, "size 31 101")

	watcher := join(t, c, guestproto.Attach{Session: "a", Rows: 5, Cols: 5})
	watcher.Resize(6, 6)
	io.WriteString(watcher.Stdin, "\x03") // which would end the script
	second.Close()
	// What was in force before the client that left.
	if got := readUntil(t, first, "size 40 120"); strings.Contains(got, "size 5 5") || strings.Contains(got, "size 6 6") {
		t.Errorf("a watcher changed the size: %q", got)
	}
}

func TestJoiningForcesARedraw(t *testing.T) {
	c := dial(t, newServer(t, testConfig()))
	// Like a program that paints anew only when it finds another width.
	cmd := terminal(`old=80
		trap 'set -- $(stty size); [ $2 = $old ] || { old=$2; echo "painted $1 $2"; }' WINCH
		echo ready; while :; do sleep 0.01; done`, 24, 80)
	cmd.Session = "a"
	first := begin(t, c, cmd)
	readUntil(t, first, "ready")
	second := join(t, c, guestproto.Attach{Session: "a", Stdin: true, Rows: 24, Cols: 80})
	got := readUntil(t, second, "painted 24 80")
	if !strings.Contains(got, "painted 23 79") {
		t.Errorf("got %q", got)
	}
}
