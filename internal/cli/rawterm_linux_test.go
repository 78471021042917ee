package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bailey-sandbox/bailey/internal/vt"
)

// emulator is the terminal's side: it gives the answers of its table when it is asked.
type emulator struct {
	*os.File
	screen chan string // everything that was shown, once the terminal is closed
}

func newEmulator(t *testing.T, answers map[string]string) (e *emulator, tty *os.File) {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	e = &emulator{ptmx, make(chan string, 1)}
	go func() {
		var all bytes.Buffer
		buf := make([]byte, 1024)
		for {
			n, err := ptmx.Read(buf)
			if err != nil {
				e.screen <- all.String()
				return
			}
			for i := range n {
				all.WriteByte(buf[i])
				for question, answer := range answers {
					if bytes.HasSuffix(all.Bytes(), []byte(question)) {
						_, _ = ptmx.WriteString(answer)
					}
				}
			}
		}
	}()
	t.Cleanup(func() { _ = ptmx.Close() })
	return e, tty
}

// waiting is what a program finds that reads the terminal now, raw.
func waiting(t *testing.T, tty *os.File) string {
	t.Helper()
	state, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer term.Restore(int(tty.Fd()), state)
	var got []byte
	for {
		fds := []unix.PollFd{{Fd: int32(tty.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 200); n == 0 || err != nil {
			return string(got)
		}
		buf := make([]byte, 1024)
		n, err := tty.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
}

func TestAnswersDoNotReachTheShell(t *testing.T) {
	answers := map[string]string{"\x1b[c": "\x1b[?62;c", "\x1b[>0q": "\x1bP>|evil\x1b\\", vt.Fence: vt.Fenced}
	// The control: on a terminal that is just left, the answers wait for the shell.
	_, tty := newEmulator(t, answers)
	saved, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = tty.WriteString("\x1b[c\x1b[>0q")
	if err := term.Restore(int(tty.Fd()), saved); err != nil {
		t.Fatal(err)
	}
	if got := waiting(t, tty); !strings.Contains(got, "evil") {
		t.Fatalf("the control found %q", got)
	}

	e, tty := newEmulator(t, answers)
	raw, err := makeRaw(tty, tty, true)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(raw, "\x1b[?1049h\x1b[c\x1b[>0q")
	raw.restore()
	_, _ = io.WriteString(raw, "\x1b[?1000h late")
	_, _ = e.WriteString("ls")
	if got := waiting(t, tty); got != "ls" {
		t.Errorf("the shell would read %q", got)
	}
	_ = tty.Close()
	if got, want := strings.TrimSuffix(<-e.screen, "ls"), "\x1b[?1049h\x1b[c\x1b[>0q\x1b[?1049l\x1b[0m"+vt.Fence; got != want { // ls is echoed
		t.Errorf("the terminal got %q, want %q", got, want)
	}
}

func TestATerminalIsLeftAsItWas(t *testing.T) {
	for name, text := range map[string]string{
		"nothing happened": "", "a screen was left": "\x1b[?1049h\x1b[?25l",
		"nothing answers": "\x1b[c", "the mouse was left on": "\x1b[?1003h",
	} {
		t.Run(name, func(t *testing.T) {
			_, tty := newEmulator(t, nil)
			before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := makeRaw(tty, tty, true)
			if err != nil {
				t.Fatal(err)
			}
			during, _ := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
			if *before == *during {
				t.Fatal("the control shows no difference in a raw terminal")
			}
			_, _ = io.WriteString(raw, text)
			begun := time.Now()
			raw.restore()
			raw.restore()
			if took := time.Since(begun); took > answerTime+5*time.Second {
				t.Errorf("a silent terminal took %v to leave", took)
			}
			after, _ := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
			if *before != *after {
				t.Errorf("it was %+v and is %+v", before, after)
			}
		})
	}
}

func TestAKeyboardThatIsStoppedLeavesTheKeys(t *testing.T) {
	e, tty := newEmulator(t, nil)
	raw, err := makeRaw(tty, tty, true)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(&detachReader{r: raw.keys, keys: []byte{0x10}})
		read <- string(all)
	}()
	_, _ = e.WriteString("inside")
	got := make([]byte, 0)
	raw.restore()
	got = append(got, <-read...)
	_, _ = e.WriteString("outside")
	if got = append(got, waiting(t, tty)...); string(got) != "insideoutside" {
		t.Errorf("got %q", got)
	}
}

func TestOutputOnATerminalIsFilteredAndElsewhereNot(t *testing.T) {
	const text = "\x1b[31mred\x1b]52;c;aGk=\a\x1b[c"
	e, tty := newEmulator(t, nil)
	out, done := shown(tty)
	_, _ = io.WriteString(out, text)
	if !done() {
		t.Error("the clipboard was not reported")
	}
	_ = tty.Close()
	if got := <-e.screen; got != "\x1b[31mred\x1b[0m" {
		t.Errorf("the terminal got %q", got)
	}
	var file bytes.Buffer
	out, done = shown(&file)
	if _, _ = io.WriteString(out, text); file.String() != text || done() {
		t.Errorf("a file got %q", file.String())
	}
}
