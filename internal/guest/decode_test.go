package guest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"argv":["sh","-c","x"],"env":["A=b"],"tty":true,"rows":24,"cols":80,"session":"a"}`))
	f.Add([]byte(`{"session":"a","signal":"TERM"}`))
	f.Add([]byte(`{"argv":["a"],"rows":-1,"cols":99999999}`))
	f.Add(ssh.Marshal(struct{ Name, Value string }{"LANG", "C"}))
	f.Add(ssh.Marshal(struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{"xterm", 80, 1 << 31, 0, 0, ""}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if cmd, err := decodeCommand(b); err == nil {
			all := strings.Join(slices.Concat(cmd.Argv, cmd.Env, []string{cmd.Dir, cmd.Term}), "")
			if len(cmd.Argv) == 0 || strings.Contains(all, "\x00") || cmd.Rows < 0 || cmd.Cols > 65535 {
				t.Errorf("accepted %+v", cmd)
			}
		}
		if a, err := decodeAttach(b); err == nil && (a.Session == "" || strings.ContainsAny(a.Session, "/ \x1b")) {
			t.Errorf("accepted %+v", a)
		}
		decodeKill(b)
		decodePause(b)
		if size, err := decodeWindow(b); err == nil && (size.rows > 65535 || size.cols < 0) {
			t.Errorf("accepted %+v", size)
		}
		if _, size, err := decodePty(b); err == nil && (size.rows > 65535 || size.cols < 0) {
			t.Errorf("accepted %+v", size)
		}
		if entry, err := decodeEnv(b); err == nil && strings.Index(entry, "=") < 1 {
			t.Errorf("accepted %q", entry)
		}
		decodeExec(b)
		decodeSignal(b)
	})
}

func TestUnknownFieldsAreRefused(t *testing.T) {
	if _, err := decodeCommand([]byte(`{"argv":["true"],"sandboxed_twice":true}`)); err == nil {
		t.Error("accepted")
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (sh) S 1 12 11 0 -1 4194560"))
	f.Add([]byte("12 (a) S 9 (b\n) Z 1 12 11"))
	f.Add([]byte(")(1"))
	f.Fuzz(func(t *testing.T, b []byte) { parseStat(b) })
}

func TestProcessNamesDoNotForgeTheirStatus(t *testing.T) {
	m, ended, err := parseStat([]byte("12 (x) R 1 99 99\n(y) Z 1 13 11 0"))
	if err != nil || !ended || m != (member{12, 13, 11}) {
		t.Errorf("got %+v, %v, %v", m, ended, err)
	}
}

func TestRingKeepsTheNewestFrames(t *testing.T) {
	var r ring
	var pushed [][]byte
	var streams []byte
	for i := range 3000 {
		frame := bytes.Repeat([]byte{byte(i)}, i*7919%frameLimit)
		stream := byte(i / 3 % 2)
		pushed, streams = append(pushed, frame), append(streams, stream)
		r.push(stream, frame)
	}
	if len(r.buf) != ringMax || r.end-r.start > ringMax || r.end-r.start < ringMax-frameLimit-frameHead {
		t.Fatalf("ring of %d holds %d", len(r.buf), r.end-r.start)
	}
	for _, trimmed := range []bool{false, true} {
		if trimmed {
			r.trim()
		}
		got := [2][]byte{}
		buf := make([]byte, frameLimit)
		for pos := r.start; pos < r.end; {
			n, stream, next := r.read(pos, buf)
			got[stream] = append(got[stream], buf[:n]...)
			pos = next
		}
		for stream := range got {
			var want []byte
			for i, frame := range pushed {
				if streams[i] == byte(stream) {
					want = append(want, frame...)
				}
			}
			if len(got[stream]) < ringMax/4 || !bytes.HasSuffix(want, got[stream]) {
				t.Errorf("trimmed %v: stream %d differs", trimmed, stream)
			}
		}
	}
}
