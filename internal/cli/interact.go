package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// interaction is one client at one process inside.
type interaction struct {
	Streams
	process *guestproto.Process
	tty     bool   // the process has a terminal: ours becomes raw
	stdin   bool   // whether our input is sent
	detach  []byte // keys that leave; only with tty

	questions questions // shown where the process has a terminal and the user's keys
}

// end is how an interaction ended: the process did, or we left it.
type end struct {
	exit      guestproto.Exit
	detached  bool
	signal    syscall.Signal // that told us to leave, 0 otherwise
	clipboard bool           // something inside tried to use the user's clipboard
}

// run connects the streams and returns when the process has ended, when the detach keys were pressed, or
// when a signal said to leave. The terminal is as before then. Errors of output are returned after the
// process has been let go: whoever cannot be shown anything is not there.
func (x *interaction) run() (end, error) {
	if x.tty {
		return x.runTTY()
	}
	defer x.process.Close()
	defer x.forwardSignals()()
	if x.stdin {
		go func() {
			_, _ = io.Copy(x.process.Stdin, x.In)
			_ = x.process.Stdin.Close()
		}()
	}
	stdout, outDone := shown(x.Out)
	stderr, errDone := shown(x.Err)
	exit, err := x.copyOut(stdout, stderr)
	used := outDone()
	return end{exit: exit, clipboard: errDone() || used}, err
}

// forwardSignals passes on what a shell or a job scheduler sends, as a program in the foreground gets it.
func (x *interaction) forwardSignals() (stop func()) {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-ch:
				_ = x.process.Signal(signalName(s))
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}

// copyOut copies both outputs to their end and then asks how the process ended.
func (x *interaction) copyOut(stdout, stderr io.Writer) (guestproto.Exit, error) {
	var wg sync.WaitGroup
	var errOut, errErr error
	copyTo := func(w io.Writer, r io.Reader, err *error) {
		if _, *err = io.Copy(w, r); *err != nil {
			_ = x.process.Close() // the reader is gone: let the process know as a pipe would
			_, _ = io.Copy(io.Discard, r)
		}
	}
	wg.Go(func() { copyTo(stderr, x.process.Stderr, &errErr) })
	copyTo(stdout, x.process.Stdout, &errOut)
	wg.Wait()
	if err := errors.Join(errOut, errErr); err != nil {
		return guestproto.Exit{}, fmt.Errorf("cannot pass output on: %w", err)
	}
	return x.process.Wait()
}

// noteClipboard tells why a copy inside did not arrive, or what was tried.
func (a *app) noteClipboard(e end) {
	if e.clipboard {
		a.note("what runs inside tried to use your clipboard; that is not passed on")
	}
}

func (x *interaction) runTTY() (end, error) {
	in, _ := terminal(x.In)
	out, _ := terminal(x.Out)
	if in == nil || out == nil {
		return end{}, errors.New("a terminal is needed on both stdin and stdout")
	}
	raw, err := makeRaw(in, out, x.stdin)
	if err != nil {
		return end{}, err
	}
	e, err := x.carry(raw)
	_ = x.process.Close()
	raw.restore()
	e.clipboard = raw.filter.Clipboard()
	return e, err
}

// carry moves keys and output until there is a reason to leave.
func (x *interaction) carry(raw *rawTerminal) (end, error) {
	defer raw.restoreOnPanic()
	left := make(chan end, 3) // one from each goroutine below at most
	if x.stdin {
		go func() {
			defer raw.restoreOnPanic()
			if x.passKeys(raw) {
				left <- end{detached: true}
			}
		}()
		defer x.showQuestions(raw)()
	}
	leave, stopSignals := x.terminalSignals(raw)
	defer stopSignals()
	ended := make(chan error, 1)
	var exit guestproto.Exit
	go func() {
		defer raw.restoreOnPanic()
		var err error
		exit, err = x.copyOut(raw, raw)
		ended <- err
	}()
	select {
	case e := <-left:
		return e, nil
	case s := <-leave:
		return end{signal: s}, nil
	case err := <-ended:
		return end{exit: exit}, err
	}
}

// terminalSignals follows the window's size, and reports the signals that mean that our terminal or our
// session is going. Ctrl-C is no signal here: it is a key.
func (x *interaction) terminalSignals(raw *rawTerminal) (leave chan syscall.Signal, stop func()) {
	resized, ending := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGINT)
	leave = make(chan syscall.Signal, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer raw.restoreOnPanic()
		for {
			select {
			case <-ctx.Done():
				return
			case <-resized:
				_ = x.process.Resize(x.size())
			case s := <-ending:
				leave <- s.(syscall.Signal)
				return
			}
		}
	}()
	return leave, func() {
		signal.Stop(resized)
		signal.Stop(ending)
		cancel()
	}
}

func signalName(s os.Signal) string {
	switch s {
	case syscall.SIGINT:
		return "INT"
	case syscall.SIGHUP:
		return "HUP"
	case syscall.SIGQUIT:
		return "QUIT"
	case syscall.SIGUSR1:
		return "USR1"
	case syscall.SIGUSR2:
		return "USR2"
	}
	return "TERM"
}
