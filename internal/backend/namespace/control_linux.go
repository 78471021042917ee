package namespace

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// maxReport bounds one message on the control socket; maxFiles is the kernel's own bound for one message.
const (
	maxReport = 64 << 10
	maxFiles  = 253
)

// controlPair makes the socket between a supervisor and its machine's first process: datagrams in order,
// and an end of file when either side dies. Descriptors ride along: sources and streams to the child,
// the gateway's sockets back.
func controlPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(fds[1]), "control")
	defer unix.Close(fds[0])
	ours, err = controlConn(fds[0])
	if err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// controlConn makes a connection of a duplicate of fd, which stays open.
func controlConn(fd int) (*net.UnixConn, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "control")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// memoryFile holds v as JSON, to be handed to another process.
func memoryFile(name string, v any) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if err := json.NewEncoder(f).Encode(v); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readMemoryFile closes f.
func readMemoryFile(f *os.File, v any) error {
	defer f.Close()
	return json.NewDecoder(f).Decode(v)
}

func send(c *net.UnixConn, message []byte, files ...*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix(message, rights, nil)
	return err
}

// receive returns io.EOF when the other side is gone.
func receive(c *net.UnixConn) ([]byte, []*os.File, error) {
	message := make([]byte, maxReport)
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, rn, flags, _, err := c.ReadMsgUnix(message, rights)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 && rn == 0 {
		return nil, nil, io.EOF
	}
	files, err := descriptors(rights[:rn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("message on the control socket is too long")
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return message[:n], files, nil
}

func descriptors(rights []byte) ([]*os.File, error) {
	var files []*os.File
	messages, err := unix.ParseSocketControlMessage(rights)
	for _, m := range messages {
		fds, e := unix.ParseUnixRights(&m)
		if e != nil {
			return files, e
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
