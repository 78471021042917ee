//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Variable holds NAME=ACTION: at the first Hit of NAME the action happens. Its kinds:
//
//	kill    the process dies as by SIGKILL
//	stop    the process stops as by SIGSTOP, and goes on when it is continued
//	error   Hit returns an error
const Variable = "BAILEY_FAILPOINT"

// LogVariable holds the path of an existing file. A line there says that the failpoint has struck, and keeps
// it from doing so again. Where the path leads nowhere, as inside a sandbox, the line goes to stderr and the
// failpoint strikes each time.
const LogVariable = "BAILEY_FAILPOINT_LOG"

// Hit: see the other form of this file.
func Hit(name string) error {
	want, action, _ := strings.Cut(os.Getenv(Variable), "=")
	if want != name || !first(name+"="+action+"\n") {
		return nil
	}
	switch action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		// The first process of a namespace is immune against itself. Ending without another word is the same.
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 137, 0, 0)
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		return nil
	}
	return fmt.Errorf("failpoint %s", name)
}

// first writes line to the log, and reports whether the log was empty before.
func first(line string) bool {
	f, err := os.OpenFile(os.Getenv(LogVariable), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		_, _ = os.Stderr.WriteString(line)
		return true
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > 0 {
		return false
	}
	_, err = f.WriteString(line)
	return err == nil
}

// Environ hands the failpoint on.
func Environ() []string {
	return []string{Variable + "=" + os.Getenv(Variable), LogVariable + "=" + os.Getenv(LogVariable)}
}
