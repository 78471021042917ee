package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Listen makes the socket in dir, which must be the caller's own and private (0700), and removes a stale
// one first: the caller holds the sandbox's lock. Closing the listener leaves the file; see Remove.
//
// The path goes through /proc/self/fd because sun_path holds 108 bytes and state directories may be longer.
func Listen(dir string) (net.Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the sandbox's directory: %w", err)
	}
	defer d.Close()
	if err := Remove(dir); err != nil {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: short(d), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", filepath.Join(dir, Socket), err)
	}
	ln.SetUnlinkOnClose(false) // its path holds a descriptor that is closed by then
	if err := os.Chmod(short(d), 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("cannot protect the socket: %w", err)
	}
	return ln, nil
}

func connect(ctx context.Context, dir string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var nd net.Dialer
	return nd.DialContext(ctx, "unix", short(d))
}

func short(dir *os.File) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), Socket) }

func peerUID(c net.Conn) (int, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Uid), nil
}
