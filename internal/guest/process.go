package guest

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

const (
	stdoutStream = 0
	stderrStream = 1

	// A background process may keep a command's output open after the command. What it writes is passed
	// on while it comes within quiet of the last, and up to lateMax, which is more than any pipe holds.
	quiet   = 250 * time.Millisecond
	lateMax = 2 << 20
)

// process is a running command, leader of a POSIX session of its own, with our ends of its streams.
type process struct {
	child *child
	stdin io.Writer  // where its input goes; io.Discard when it reads /dev/null
	out   []*os.File // by stream; one entry with a terminal
	tty   *os.File   // the terminal's master, or nil
	files []*os.File // all of ours, to close

	endOnce sync.Once
	woken   chan struct{} // closed when the reads that began before the end have been interrupted
}

// start runs cmd, with back-pressure on its output until somebody reads it. The caller releases what
// start returns.
func (s *Server) start(cmd guestproto.Command) (*process, error) {
	who, err := s.identify(cmd.User)
	if err != nil {
		return nil, err
	}
	l, err := s.plan(cmd, who)
	if err != nil {
		return nil, err
	}
	p := &process{stdin: io.Discard, woken: make(chan struct{})}
	theirs, err := p.openStreams(cmd)
	defer closeAll(theirs)
	if err != nil {
		closeAll(p.files)
		return nil, err
	}
	attr := &syscall.ProcAttr{
		Dir: l.dir,
		Env: l.env,
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: cmd.TTY, Credential: who.credential()},
	}
	for i := range 3 {
		f := theirs[min(i, len(theirs)-1)]
		if attr.Sys.Credential != nil && f.Name() != os.DevNull {
			_ = f.Chown(who.UID, who.GID) // so that /dev/stdout and its like can be opened anew
		}
		attr.Files = append(attr.Files, f.Fd())
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		closeAll(p.files)
		return nil, errors.New("the sandbox is stopping")
	}
	p.child, err = s.spawn.start(l.path, cmd.Argv, attr)
	if err != nil {
		closeAll(p.files)
		return nil, l.explain(err)
	}
	s.running[p] = struct{}{}
	_ = failpoint.Hit("guest.started")
	s.log.Debug("started", "pid", p.child.pid, "program", l.path, "session", cmd.Session)
	go p.wake()
	return p, nil
}

// release frees what is left of a command that has ended.
func (s *Server) release(p *process) {
	<-p.child.done
	s.mu.Lock()
	delete(s.running, p)
	s.mu.Unlock()
	<-p.woken
	closeAll(p.files)
	s.log.Debug("ended", "pid", p.child.pid, "exit", p.exit())
}

// openStreams makes a terminal, or pipes, and returns the command's ends: one for all, or three.
func (p *process) openStreams(cmd guestproto.Command) (theirs []*os.File, err error) {
	if cmd.TTY {
		master, slave, err := openTerminal(cmd.Rows, cmd.Cols)
		if err != nil {
			return nil, err
		}
		p.tty, p.stdin, p.out, p.files = master, master, []*os.File{master}, []*os.File{master}
		return []*os.File{slave}, nil
	}
	if cmd.Stdin {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		p.stdin, p.files, theirs = w, []*os.File{w}, []*os.File{r}
	} else {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		theirs = []*os.File{null}
	}
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		p.out, p.files, theirs = append(p.out, r), append(p.files, r), append(theirs, w)
	}
	return theirs, nil
}

// openTerminal opens a pseudo terminal that already has its size.
func openTerminal(rows, cols int) (master, slave *os.File, err error) {
	m, slave, err := pty.Open()
	if err != nil {
		return nil, nil, errors.New("cannot open a terminal: " + err.Error())
	}
	defer m.Close()
	// The pty package leaves its file blocking; reads must end when the command does.
	fd, err := unix.FcntlInt(m.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = slave.Close()
		return nil, nil, errors.New("cannot open a terminal: " + err.Error())
	}
	master = os.NewFile(uintptr(fd), m.Name())
	setSize(master, rows, cols)
	return master, slave, nil
}

// setSize changes a terminal's size; 0 leaves it alone. The foreground process group gets SIGWINCH when
// the size is another than before.
func setSize(tty *os.File, rows, cols int) {
	if tty == nil || rows <= 0 || cols <= 0 {
		return
	}
	if c, err := tty.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) {
			_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)})
		})
	}
}

func (p *process) resize(rows, cols int) { setSize(p.tty, rows, cols) }

// endInput passes the end of input on; on a terminal as the character that stands for it.
func (p *process) endInput() {
	p.endOnce.Do(func() {
		if p.tty != nil {
			_, _ = p.tty.Write([]byte{4})
		} else if w, ok := p.stdin.(io.Closer); ok {
			_ = w.Close()
		}
	})
}

// wake interrupts reads that would otherwise wait for background processes.
func (p *process) wake() {
	<-p.child.done
	for _, f := range p.out {
		_ = f.SetReadDeadline(time.Now())
	}
	close(p.woken)
}

// copyOutput gives everything that the command writes to sink, which must not keep the bytes, until the
// end of the output or an error of sink. sink is called from one goroutine for each stream.
func (p *process) copyOutput(sink func(stream byte, b []byte) error) {
	var streams sync.WaitGroup
	for i, f := range p.out {
		streams.Go(func() { p.copyStream(f, func(b []byte) error { return sink(byte(i), b) }) })
	}
	streams.Wait()
}

func (p *process) copyStream(f *os.File, sink func([]byte) error) {
	buf := make([]byte, 32<<10) // one SSH packet
	ended, late := false, 0
	for late < lateMax {
		select {
		case <-p.woken:
			ended = true
			_ = f.SetReadDeadline(time.Now().Add(quiet))
		default:
		}
		n, err := f.Read(buf)
		if n > 0 && sink(buf[:n]) != nil {
			return
		}
		if ended {
			late += n
		}
		if err != nil && (ended || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return
		}
	}
}

// exit says how the command ended; it has ended.
func (p *process) exit() guestproto.Exit { return exitOf(p.child.status) }

func (p *process) ended() bool {
	select {
	case <-p.child.done:
		return true
	default:
		return false
	}
}

// signalGroup signals the command's process group, unless the command has ended. (Between the check and
// the kill its pid could only be used anew after the kernel had gone through all pids.)
func (p *process) signalGroup(sig syscall.Signal) error {
	if p.ended() {
		return errors.New("the command has ended")
	}
	return syscall.Kill(-p.child.pid, sig)
}

// hangUp ends a command whose client is gone, and everything in its session. A command that has ended by
// itself may have left processes in the background on purpose: they are let be.
func (p *process) hangUp() { p.end(syscall.SIGHUP) }

// terminate ends a command because the sandbox stops. An interactive shell ignores SIGTERM, and a daemon
// may ignore SIGHUP, so it gets both.
func (p *process) terminate() { p.end(syscall.SIGHUP, syscall.SIGTERM) }

func (p *process) end(asks ...syscall.Signal) {
	if p.ended() {
		return
	}
	sid := p.child.pid
	for _, sig := range append(asks, syscall.SIGCONT) { // a stopped process hears nothing else
		signalSession(sid, sig)
	}
	timeout := time.After(grace)
	select {
	case <-timeout:
	case <-p.child.done:
		if len(sessionMembers(sid)) > 0 {
			<-timeout
		}
	}
	killSession(sid)
	<-p.child.done
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
