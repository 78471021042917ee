package api

import (
	"context"
	"net"
)

// peerID is who is at the other end of a connection, by the kernel's word. The zero value is nobody.
type peerID struct {
	uid   int
	known bool
}

type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	uid, err := peerUID(c)
	return context.WithValue(ctx, peerKey{}, peerID{uid: uid, known: err == nil})
}

func peer(ctx context.Context) peerID {
	p, _ := ctx.Value(peerKey{}).(peerID)
	return p
}
