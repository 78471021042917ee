package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// signalNumber finds a signal by its name without SIG.
func signalNumber(name string) (syscall.Signal, error) {
	sig := unix.SignalNum("SIG" + name)
	if sig == 0 {
		return 0, fmt.Errorf("no signal is called %q", name)
	}
	return sig, nil
}

// exitOf says how a process ended, in the words of the protocol.
func exitOf(status syscall.WaitStatus) guestproto.Exit {
	if !status.Signaled() {
		return guestproto.Exit{Code: status.ExitStatus()}
	}
	name := strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
	return guestproto.Exit{Code: 128 + int(status.Signal()), Signal: name}
}

// signalSession signals every process of the POSIX session sid: the process group of its leader, and
// what a job-controlling shell put into other groups. A process that called setsid has left the session
// and is not found.
func signalSession(sid int, sig syscall.Signal) {
	if sid <= 1 {
		return // kill(-1) is everybody
	}
	_ = syscall.Kill(-sid, sig)
	for _, p := range sessionMembers(sid) {
		if p.group != sid {
			_ = syscall.Kill(p.pid, sig)
		}
	}
}

// pause stops everybody but the first process, which is this one, or lets them go on. Somebody who forks meanwhile may be
// missed once.
func pause(stop bool) error {
	if os.Getpid() != 1 {
		return errors.New("this guest does not own everything that runs here")
	}
	signals := []syscall.Signal{syscall.SIGSTOP, syscall.SIGSTOP} // again, for what has been forked meanwhile
	if !stop {
		signals = []syscall.Signal{syscall.SIGCONT}
	}
	for _, s := range signals {
		if err := syscall.Kill(-1, s); err != nil && !errors.Is(err, syscall.ESRCH) { // there may be nobody
			return err
		}
	}
	return nil
}

// killSession kills until nobody is left, because processes can fork faster than they are listed.
func killSession(sid int) {
	for range 100 {
		signalSession(sid, syscall.SIGKILL)
		if len(sessionMembers(sid)) == 0 {
			return
		}
	}
}

// member is a living process, from /proc/PID/stat.
type member struct{ pid, group, session int }

// parseStat reads proc_pid_stat(5). The command's name may hold any byte, parentheses and newlines
// included, so fields count from the last parenthesis. ended is true for a zombie.
func parseStat(stat []byte) (m member, ended bool, err error) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 1 || end < open {
		return member{}, false, errors.New("not a process status")
	}
	fields := bytes.Fields(stat[end+1:]) // state, ppid, pgrp, session, …
	if len(fields) < 4 {
		return member{}, false, errors.New("not a process status")
	}
	numbers := [][]byte{bytes.TrimSpace(stat[:open]), fields[2], fields[3]}
	for i, into := range []*int{&m.pid, &m.group, &m.session} {
		if *into, err = strconv.Atoi(string(numbers[i])); err != nil {
			return member{}, false, errors.New("not a process status")
		}
	}
	state := string(fields[0])
	return m, state == "Z" || state == "X", nil
}
