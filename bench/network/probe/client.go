package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	bulks       = 5    // in each direction
	connections = 1000 // one after the other, and again by several clients at once
	clients     = 8
	trips       = 5000 // requests and responses of one byte on an open connection
)

// patience bounds the bulk bytes. A road that loses some and stalls took at least that long.
const patience = 5 * time.Second

// measure prints, in the order of the benchmark's figures: the median of the bulk bytes up, and down; all
// connections by several clients; the median and the 99th hundredth of connections and of round trips.
func measure(name string) error {
	resolved, err := net.ResolveTCPAddr("tcp", name) // once: asking for the name is no part of a connection
	if err != nil {
		return err
	}
	address := resolved.String()
	up, err := repeat(bulks, func() error { return throughput(address, askUp) })
	if err != nil {
		return err
	}
	down, err := repeat(bulks, func() error { return throughput(address, askDown) })
	if err != nil {
		return err
	}
	crowd, err := together(func() error { return connection(address) })
	if err != nil {
		return err
	}
	single, err := repeat(connections, func() error { return connection(address) })
	if err != nil {
		return err
	}
	conn, err := ask(address, askEcho)
	if err != nil {
		return err
	}
	defer conn.Close()
	trip, err := repeat(trips, func() error { return roundTrip(conn) })
	if err != nil {
		return err
	}
	for _, d := range []time.Duration{hundredth(up, 50), hundredth(down, 50), crowd, hundredth(single, 50), hundredth(single, 99), hundredth(trip, 50), hundredth(trip, 99)} {
		fmt.Println(float64(d.Nanoseconds()) / 1e6)
	}
	return nil
}

// throughput passes the bulk bytes in one direction, on a connection of their own. It does not wait for the
// connection's end, which some roads do not pass on.
func throughput(address string, direction byte) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := transfer(conn, direction); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

func transfer(conn net.Conn, direction byte) error {
	if _, err := conn.Write([]byte{direction}); err != nil {
		return err
	}
	if direction == askDown {
		return drain(conn)
	}
	if err := fill(conn); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// together times as many as there are connections, which several clients share.
func together(do func() error) (time.Duration, error) {
	errs := make([]error, clients)
	var all sync.WaitGroup
	began := time.Now()
	for i := range errs {
		all.Go(func() { _, errs[i] = repeat(connections/clients, do) })
	}
	all.Wait()
	return time.Since(began), errors.Join(errs...)
}

// connection opens a connection, of which a byte has come back, and closes it: a proxy accepts before it has
// connected.
func connection(address string) error {
	conn, err := ask(address, askEcho)
	if err != nil {
		return err
	}
	return conn.Close()
}

// ask opens a connection, sends its first byte and awaits the answer.
func ask(address string, first byte) (net.Conn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	answer := []byte{first}
	if _, err = conn.Write(answer); err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func roundTrip(conn net.Conn) error {
	b := []byte{0}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, b)
	return err
}

// repeat does it n times and returns how long each took, the shortest first.
func repeat(n int, do func() error) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if err := do(); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took, nil
}

// hundredth is the time that n of a hundred do not exceed.
func hundredth(sorted []time.Duration, n int) time.Duration { return sorted[(len(sorted)*n+99)/100-1] }

// reach waits for a road that is still being made.
func reach(address string) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := connection(address)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
