package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// junk is a pointer that no call may read, and a set of flags that none knows.
const junk = ^uintptr(0)

// calls are aimed so that they change nothing even where nothing refuses them.
func calls() map[string]func() unix.Errno {
	raw := func(number uintptr, args ...uintptr) func() unix.Errno {
		var a [6]uintptr
		copy(a[:], args)
		return func() unix.Errno {
			_, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
			return errno
		}
	}
	missing, _ := unix.BytePtrFromString("/nonexistent/escape")
	user, _ := unix.BytePtrFromString("user")
	name, _ := unix.BytePtrFromString("escape-probe")
	ptr := func(p *byte) uintptr { return uintptr(unsafe.Pointer(p)) }
	ring := make([]byte, 256)
	return map[string]func() unix.Errno{
		"io_uring_setup":    raw(unix.SYS_IO_URING_SETUP, 1, ptr(&ring[0])),
		"io_uring_enter":    raw(unix.SYS_IO_URING_ENTER, junk),
		"io_uring_register": raw(unix.SYS_IO_URING_REGISTER, junk),
		"userfaultfd":       raw(unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC),
		"bpf":               raw(unix.SYS_BPF, 0, junk, 1<<20),
		"perf_event_open":   raw(unix.SYS_PERF_EVENT_OPEN, junk, 0, 0, junk, junk),
		"add_key":           raw(unix.SYS_ADD_KEY, ptr(user), ptr(name), ptr(name), 4, junk-1), // KEY_SPEC_PROCESS_KEYRING
		"request_key":       raw(unix.SYS_REQUEST_KEY, junk, 0, 0, 0),
		"keyctl":            raw(unix.SYS_KEYCTL, 0, junk-2, 0), // the session keyring's number
		"ptrace":            tracing,
		"process_vm_readv":  raw(unix.SYS_PROCESS_VM_READV, uintptr(os.Getpid())),
		"process_vm_writev": raw(unix.SYS_PROCESS_VM_WRITEV, uintptr(os.Getpid())),
		"pidfd_getfd":       raw(unix.SYS_PIDFD_GETFD, junk),
		"kcmp":              raw(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(os.Getpid()), 0, 0, 0),
		"open_by_handle_at": raw(unix.SYS_OPEN_BY_HANDLE_AT, junk, junk, 0),
		"fanotify_init":     raw(unix.SYS_FANOTIFY_INIT, junk),
		"kexec_load":        raw(unix.SYS_KEXEC_LOAD, 0, 0, 0, junk),
		"init_module":       raw(unix.SYS_INIT_MODULE, junk, 1, junk),
		"finit_module":      raw(unix.SYS_FINIT_MODULE, junk, junk, junk),
		"delete_module":     raw(unix.SYS_DELETE_MODULE, junk),
		"acct":              raw(unix.SYS_ACCT, ptr(missing)),
		"clock_settime":     raw(unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, junk),
		"settimeofday":      raw(unix.SYS_SETTIMEOFDAY, junk),
		"clock_adjtime":     raw(unix.SYS_CLOCK_ADJTIME, unix.CLOCK_REALTIME, junk),
		"quotactl":          raw(unix.SYS_QUOTACTL, 0xff, 0, 0, 0),
		"personality":       raw(unix.SYS_PERSONALITY, 0x0040000), // no address randomisation
		"syslog":            raw(unix.SYS_SYSLOG, 10),             // the size of the kernel's log
		"swapon":            raw(unix.SYS_SWAPON, ptr(missing)),
		"reboot":            raw(unix.SYS_REBOOT, 0, 0, 0),
		"mount":             raw(unix.SYS_MOUNT, 0, ptr(missing), 0, unix.MS_BIND, 0),
		"umount2":           raw(unix.SYS_UMOUNT2, ptr(missing)),
		"pivot_root":        raw(unix.SYS_PIVOT_ROOT, ptr(missing), ptr(missing)),
		"chroot":            raw(unix.SYS_CHROOT, ptr(missing)),
		"mount_setattr":     raw(unix.SYS_MOUNT_SETATTR, junk, ptr(missing), junk),
		"open_tree":         raw(unix.SYS_OPEN_TREE, junk, ptr(missing), junk),
		"move_mount":        raw(unix.SYS_MOVE_MOUNT, junk, ptr(missing), junk, ptr(missing), junk),
		"fsopen":            raw(unix.SYS_FSOPEN, ptr(missing), junk),
		"fsmount":           raw(unix.SYS_FSMOUNT, junk, junk, junk),
		"fspick":            raw(unix.SYS_FSPICK, junk, ptr(missing), junk),
		"sethostname":       raw(unix.SYS_SETHOSTNAME, junk, 0xffff),
		"lookup_dcookie":    raw(unix.SYS_LOOKUP_DCOOKIE, 0, 0, 0),
		"vhangup_by_number": raw(unix.SYS_VHANGUP),
		"later_than_known":  raw(600),
	}
}

// call makes the named one.
func call(args []string) error {
	f := calls()[args[0]]
	if f == nil {
		return fmt.Errorf("no such call")
	}
	return reached(f())
}

// tracing attaches to a child of its own, which any process may outside.
func tracing() unix.Errno {
	cmd := exec.Command("sleep", "5")
	if cmd.Start() != nil {
		return unix.EPERM
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	runtime.LockOSThread()
	const seize = 0x4206
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, seize, uintptr(cmd.Process.Pid), 0, 0, 0, 0)
	return errno
}

// socket asks for a kind of socket: family, type and protocol by number.
func socket(args []string) error {
	var n [3]int
	for i := range n {
		v, err := strconv.Atoi(args[i])
		if err != nil {
			return err
		}
		n[i] = v
	}
	fd, err := unix.Socket(n[0], n[1], n[2])
	if err == nil {
		unix.Close(fd)
	}
	return err
}
