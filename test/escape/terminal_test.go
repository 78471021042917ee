//go:build linux

package escape

import (
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// typeOutside runs the typist in a terminal that the host has open, and looks what has then been typed there.
func typeOutside(tr *trial) verdict {
	w := tr.w
	v := verdict{control: "held"}
	typed := func(argv ...string) (input, output string) {
		master, slave, err := pty.Open()
		if err != nil {
			tr.t.Fatal(err)
		}
		defer master.Close()
		defer slave.Close()
		// Without echo, so that what comes out was printed.
		state, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			tr.t.Fatal(err)
		}
		state.Lflag &^= unix.ECHO
		if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, state); err != nil {
			tr.t.Fatal(err)
		}
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = w.shared.dir, w.env
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		printed := make(chan string, 1)
		go func() {
			var all strings.Builder
			buf := make([]byte, 4096)
			for {
				n, err := master.Read(buf)
				all.Write(buf[:n])
				if err != nil || strings.Contains(all.String(), "HELD") || strings.Contains(all.String(), "WON") {
					printed <- all.String()
					return
				}
			}
		}()
		if err := cmd.Run(); err != nil {
			tr.t.Log(argv, err)
		}
		waiting, err := unix.IoctlGetInt(int(slave.Fd()), unix.TIOCINQ)
		if err == nil && waiting > 0 {
			buf := make([]byte, waiting)
			n, _ := slave.Read(buf)
			input = string(buf[:n])
		}
		select {
		case output = <-printed:
		case <-time.After(w.patience()):
		}
		return input, output
	}
	probe := w.tools + "/probe"
	input, output := typed("bwrap", "--dev-bind", "/", "/", probe, "type")
	tr.t.Logf("the control typed %q and printed %q", input, output)
	if strings.Contains(input, "INJECTED") {
		v.control = "lost"
	}
	input, output = typed(w.bailey, "exec", "-it", w.shared.box, "sh", "-c", "echo RAN; exec "+probe+" type")
	tr.t.Logf("inside it typed %q and printed %q", input, output)
	v.ran, v.won = strings.Contains(output, "RAN"), strings.Contains(input, "INJECTED")
	v.reason = tr.explain(v, strings.ReplaceAll(output, "\r", ""))
	if v.control == "held" && strings.Contains(output, "EIO") {
		v.na = "this kernel lets nobody type into terminals (dev.tty.legacy_tiocsti=0)"
	}
	return v
}
