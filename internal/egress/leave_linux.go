package egress

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitLeave returns when conn's read deadline has passed or, and then it is true, when the other end has ended its
// side. It reads nothing: bytes that came before do not hide the end. Of what is no socket it knows nothing.
func awaitLeave(conn net.Conn) (left bool) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(fds, 0); err == nil {
			left = fds[0].Revents != 0
		}
		return left
	})
	return left
}
