// Command probe is what test/escape runs inside a sandbox, and outside as the control, for attacks that a
// shell cannot make: raw system calls, descriptors, terminals, sockets. It knows nothing of bailey and has
// no part in the verdicts but for calls that leave no trace outside; those are aimed so that the error
// tells who refused: the kernel answers a call that reaches it with something other than EPERM or ENOSYS.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// errAsked ends a probe that has printed its own verdict.
var errAsked = errors.New("asked")

// probe is one attack. It returns nil when it worked.
type probe func(args []string) error

func probes() map[string]probe {
	all := map[string]probe{
		"call": call, "socket": socket,
		"clone": cloneSpaces, "clone3": clone3Spaces, "unshare": unshareSpaces, "setns": setnsOwn,
		"strip": strip, "strip-child": stripChild, "unmount": unmount, "remount": remount, "uncover": uncover,
		"descriptors": descriptors, "executables": executables, "memfd": memfd, "link": link, "exchange": exchange, "hammer": hammer,
		"unix": connectUnix, "unixgram": sendUnix, "abstract": connectAbstract, "sysv": sysv,
		"type": typeInto, "paste": paste, "innermost": typeIntoOwn, "innermost-child": typeInto,
		"supervisor": supervisor, "threads": threads, "map": mapMemory,
		"fill": fill, "watches": watches, "forks": forks, "children": children, "open": openMany,
		"send": send, "repeat": repeat, "lookup": lookup, "packets": packets, "rewire": rewire, "stall": stall, "half": half,
	}
	return all
}

func main() {
	if len(os.Args) < 2 || probes()[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: probe NAME [ARG...]")
		os.Exit(2)
	}
	fmt.Println("PROBED", strings.Join(os.Args[1:], " "))
	switch err := probes()[os.Args[1]](os.Args[2:]); {
	case err == nil:
		fmt.Println("WON")
	case !errors.Is(err, errAsked):
		fmt.Println("HELD:", describe(err))
	}
}

// describe names an errno, for the table.
func describe(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno) + " (" + err.Error() + ")"
	}
	return err.Error()
}

// reached turns the answer to a call into a verdict: only EPERM and ENOSYS say that it was refused as such.
func reached(errno unix.Errno) error {
	if errno == unix.EPERM || errno == unix.ENOSYS {
		return errno
	}
	return nil
}

// any returns nil when one of the attempts worked, and otherwise all of their errors.
func anyOf(attempts ...error) error {
	for _, err := range attempts {
		if err == nil {
			return nil
		}
	}
	return errors.Join(attempts...)
}
