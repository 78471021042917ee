package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// Copy copies both ways between the sandbox and its upstream until both have ended their side, one
// fails, or ctx ends; then it closes both. An end is passed on as an end and the other way stays open;
// a reset is passed on as a reset. It returns the bytes that passed, from the sandbox and to it.
func Copy(ctx context.Context, inside, outside net.Conn) (out, in int64, err error) {
	stop := context.AfterFunc(ctx, func() {
		_ = Flow{Conn: inside}.Reset()
		_ = Flow{Conn: outside}.Reset()
	})
	defer func() {
		stop()
		_ = inside.Close()
		_ = outside.Close()
	}()
	var outErr, inErr error
	var wg sync.WaitGroup
	wg.Go(func() { in, inErr = oneWay(inside, outside) })
	out, outErr = oneWay(outside, inside)
	wg.Wait()
	if ctx.Err() != nil {
		return out, in, context.Cause(ctx)
	}
	// The second error only says that the first one's side closed both.
	if outErr == nil || errors.Is(outErr, net.ErrClosed) {
		return out, in, inErr
	}
	return out, in, outErr
}

func oneWay(dst, src net.Conn) (int64, error) {
	n, err := io.Copy(dst, src)
	if err == nil {
		err = Flow{Conn: dst}.CloseWrite()
	}
	if err != nil {
		_ = Flow{Conn: dst}.Reset()
		_ = Flow{Conn: src}.Reset()
	}
	return n, err
}
