package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// count reads a probe's bound: no bomb is larger than its caller said.
func count(args []string) int {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return 0
	}
	return n
}

// fill MIB touches memory.
func fill(args []string) error {
	n := count(args) << 20
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	if len(args) > 1 {
		fmt.Println("FILLED")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until all have theirs
	}
	return nil
}

// children N MIB has N processes hold memory at once, and counts those that could.
func children(args []string) error {
	type child struct {
		cmd *exec.Cmd
		in  io.Closer
		out io.Reader
	}
	var all []child
	for range count(args) {
		cmd := exec.Command("/proc/self/exe", "fill", args[1], "wait")
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if cmd.Start() == nil {
			all = append(all, child{cmd, in, out})
		}
	}
	held := 0
	for _, c := range all {
		if text := make([]byte, 512); scan(c.out, text) {
			held++
		}
	}
	for _, c := range all {
		c.in.Close()
		_ = c.cmd.Wait()
	}
	if held < count(args) {
		return fmt.Errorf("%d of %d had room", held, count(args))
	}
	return nil
}

// scan reads until a child says that it has filled its memory; one that was killed never does.
func scan(r io.Reader, buf []byte) bool {
	text := ""
	for {
		n, err := r.Read(buf)
		if text += string(buf[:n]); strings.Contains(text, "FILLED") {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// forks N starts N processes that wait, and says how many there could be.
func forks(args []string) error {
	n := 0
	var last error
	for range count(args) {
		cmd := exec.Command("/bin/sleep", "2")
		if last = cmd.Start(); last != nil {
			break
		}
		n++
	}
	fmt.Println("started", n)
	return last
}

// watches N makes N inotify instances.
func watches(args []string) error {
	for i := range count(args) {
		if _, err := unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
			fmt.Println("made", i)
			return errors.Join(hold(), err)
		}
	}
	return hold()
}

// openMany N opens N descriptors.
func openMany(args []string) error {
	for i := range count(args) {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			fmt.Println("opened", i)
			return err
		}
	}
	return nil
}

// hold keeps what was made for as long as the caller said, so that somebody outside can look.
func hold() error {
	if d, err := time.ParseDuration(os.Getenv("HOLD")); err == nil {
		fmt.Println("HOLDING")
		time.Sleep(d)
	}
	return nil
}
