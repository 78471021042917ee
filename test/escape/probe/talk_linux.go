package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// connectUnix PATH connects to a stream socket and says a word.
func connectUnix(args []string) error { return say("unix", args[0]) }

// sendUnix PATH sends a datagram, with sendto and with sendmsg.
func sendUnix(args []string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	to := &unix.SockaddrUnix{Name: args[0]}
	return anyOf(unix.Sendto(fd, []byte("INTRUDER"), 0, to), unix.Sendmsg(fd, []byte("INTRUDER"), nil, to, 0))
}

// connectAbstract NAME connects to an abstract socket, a stream's or a datagram's.
func connectAbstract(args []string) error {
	return anyOf(say("unix", "@"+args[0]), say("unixgram", "@"+args[0]))
}

func say(network, name string) error {
	c, err := net.Dial(network, name)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("INTRUDER"))
	return err
}

// sysv KEY looks for a shared memory segment of the System V kind.
func sysv(args []string) error {
	var key int
	if _, err := fmt.Sscan(args[0], &key); err != nil {
		return err
	}
	_, err := unix.SysvShmGet(key, 0, 0)
	return err
}

// typeInto pushes a line into the terminal on its input, with the plain number and with high bits set, which the
// kernel does not look at.
func typeInto([]string) error {
	put := func(request uintptr) error {
		for _, c := range []byte("echo INJECTED\n") {
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, request, uintptr(unsafe.Pointer(&c))); errno != 0 {
				return errno
			}
		}
		return nil
	}
	return anyOf(put(unix.TIOCSTI), put(unix.TIOCSTI|1<<32), put(unix.TIOCSTI|0xdeadbeef<<32))
}

// paste asks a virtual terminal to paste its selection; other terminals do not know the request (ENOTTY).
func paste([]string) error {
	const tiocLinux, pasteSelection = 0x541c, 3
	in, out, err := pty.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	defer out.Close()
	arg := byte(pasteSelection)
	for _, request := range []uintptr{tiocLinux, tiocLinux | 1<<32} {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, out.Fd(), request, uintptr(unsafe.Pointer(&arg)))
		if err = reached(errno); err == nil {
			return nil
		}
	}
	return err
}

// typeIntoOwn types into a terminal that the process made itself.
func typeIntoOwn([]string) error {
	in, out, err := pty.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	defer out.Close()
	cmd := exec.Command("/proc/self/exe", "innermost-child")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = out, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		return err
	}
	return errors.Join(errAsked)
}
