//go:build !linux

package api

import (
	"context"
	"fmt"
	"net"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Listen needs SO_PEERCRED, which only Linux has under that name: without the peer's uid nobody is served.
func Listen(string) (net.Listener, error) {
	return nil, fmt.Errorf("cannot serve a sandbox's socket: %w", sandbox.ErrUnsupported)
}

func connect(context.Context, string) (net.Conn, error) {
	return nil, fmt.Errorf("cannot reach a sandbox's socket: %w", sandbox.ErrUnsupported)
}

func peerUID(net.Conn) (int, error) { return 0, sandbox.ErrUnsupported }
