package main

import (
	"fmt"
	"io"
	"net"
)

// What a client asks for with a connection's first byte.
const (
	askEcho = 'e' // that every byte, this one included, comes back at once
	askUp   = 'u' // an answer of one byte when all that it sends has arrived
	askDown = 'd' // bulk bytes
)

// bulk is how much a throughput is measured with.
const bulk = 256 << 20

// listen serves connections on a port of loopback's until the process is killed.
func listen(serve func(*net.TCPConn)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			serve(conn.(*net.TCPConn))
		}()
	}
}

func serve(conn *net.TCPConn) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return
	}
	switch first[0] {
	case askEcho:
		for err := error(nil); err == nil; _, err = io.ReadFull(conn, first) {
			if _, err := conn.Write(first); err != nil {
				return
			}
		}
	case askUp:
		if drain(conn) == nil {
			_, _ = conn.Write(first)
		}
	case askDown:
		_ = fill(conn)
	}
}

// Larger than io.Copy's, so that the ends are not what is measured.
func chunk() []byte { return make([]byte, 1<<18) }

// drain reads bulk bytes.
func drain(conn io.Reader) error {
	buffer := chunk()
	for left := bulk; left > 0; {
		n, err := conn.Read(buffer[:min(left, len(buffer))])
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// fill writes bulk bytes.
func fill(conn io.Writer) error {
	buffer := chunk()
	for range bulk / len(buffer) {
		if _, err := conn.Write(buffer); err != nil {
			return err
		}
	}
	return nil
}

// splice is the simplest proxy there is: a connection to target for every one that comes, and io.Copy, which
// is splice(2) between TCP connections.
func splice(target string) func(*net.TCPConn) {
	return func(client *net.TCPConn) {
		conn, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		upstream := conn.(*net.TCPConn)
		defer upstream.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(client, upstream)
			_ = client.CloseWrite()
		}()
		_, _ = io.Copy(upstream, client)
		_ = upstream.CloseWrite()
		<-done
	}
}
