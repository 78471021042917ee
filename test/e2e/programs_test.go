//go:build linux

package e2e

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// TestFullScreenProgramsLookAsOutside draws the same inside and outside, and compares the screens with their
// colours: what keeps the terminal safe must not be seen.
func TestFullScreenProgramsLookAsOutside(t *testing.T) {
	u := newUser(t)
	s := newScreen(u, "main")
	u.box()
	u.write("src/shop/shop.c", "#include <stdio.h>\n\n/* größer — 漢字 */\nint main(void) {\n\treturn printf(\"%d\\n\", 6 * 7);\n}\n"+strings.Repeat("\nint x;", 100))
	u.write("src/shop/tmux.conf", "set -g status off\nset -g default-command \"exec sleep 1000\"\nbind -n F5 kill-server\n")
	for _, c := range []struct {
		program, run, shows string
		keys                []string // that change the screen
		quit                []string
	}{
		{"vim", `vim -u NONE -i NONE -n -c "syntax on" -c "set mouse=a number hlsearch" shop.c`, "printf", []string{"/", "m", "a", "i", "n", "Enter", "v", "5", "j"}, []string{"Escape", ":", "q", "!", "Enter"}},
		{"less", `less -N shop.c`, "printf", []string{"/", "x", "Enter"}, []string{"q"}},
		{"tmux", `env -u TMUX tmux -L shop -f tmux.conf new-session "head -20 shop.c; exec sleep 1000" \; split-window -h "tail -20 shop.c; exec sleep 1000"`,
			"printf", []string{"C-b", "Left", "C-b", "%"}, []string{"F5"}},
	} {
		if _, err := exec.LookPath(c.program); err != nil {
			machine.Lack(t, c.program, err.Error())
		}
		look := func(prefix string) string {
			s.command("true", "")
			s.line("clear; " + prefix + c.run + "; echo closed")
			s.await(c.shows)
			s.keys(c.keys...)
			picture := s.still()
			s.keys(c.quit...)
			s.await("closed")
			s.prompt()
			return picture
		}
		outside := look("")
		if inside := look("bailey exec -it box "); inside != outside {
			t.Errorf("%s shows outside\n%s\nand inside\n%s", c.program, outside, inside)
		}
	}
}

// still waits until the screen does not change any more, and returns it with its colours.
func (s *screen) still() string {
	s.u.t.Helper()
	picture := func() string { return s.tmux("capture-pane", "-e", "-p", "-t", s.pane()) }
	last, since := picture(), time.Now()
	if !machine.Poll(screenTime, func() bool {
		if now := picture(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	}) {
		s.u.t.Fatalf("the screen does not come to rest:\n%s", last)
	}
	return last
}
