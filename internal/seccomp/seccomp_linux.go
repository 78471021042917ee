// Package seccomp holds the list of system calls that a sandbox may make, as a filter program for the kernel
// (seccomp(2)), for amd64 and arm64. It decides about calls and their register arguments and nothing else;
// who installs it, and when, is a backend's business.
package seccomp

import (
	"fmt"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Install puts the filter on the calling thread. It cannot be taken off again, and every program that is
// started from there on has it too. The thread needs no_new_privs. rootOwned is Filter's.
func Install(rootOwned bool) error {
	program, err := bpf.Assemble(Filter(rootOwned))
	if err != nil {
		return fmt.Errorf("cannot assemble the system call filter: %w", err)
	}
	raw := make([]unix.SockFilter, len(program))
	for i, in := range program {
		raw[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return fmt.Errorf("cannot install the system call filter: %w", errno)
	}
	return nil
}

// Offsets in struct seccomp_data (seccomp(2)); arguments are little-endian 64-bit words, of which the
// checks look at the low half, as the kernel does for flags, families and commands.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// Filter allows what ordinary programs use and refuses everything else: EPERM for what the
// kernel has and a sandbox must not use, ENOSYS for what is newer than this list, so that libraries fall
// back to what they did before. With rootOwned, what the agent creates in its project belongs to root on
// the host, so no file may be made set-user-id or set-group-id.
func Filter(rootOwned bool) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		deny(unix.ENOSYS), // 32-bit programs and their differently numbered calls
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	// Above the last known call; on amd64 also the x32 calls, which have bit 30 set.
	p = append(p, bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: lastCall, SkipTrue: 1}, deny(unix.ENOSYS))
	calls := checkedCalls()
	if rootOwned {
		calls = append(calls, setIDCalls()...)
	}
	for _, c := range calls {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: c.number, SkipFalse: uint8(len(c.check))})
		p = append(p, c.check...)
	}
	for _, n := range refusedAsMissing() {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: n, SkipFalse: 1}, deny(unix.ENOSYS))
	}
	for _, n := range allowedCalls() {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: n, SkipFalse: 1}, allow())
	}
	return append(p, deny(unix.EPERM))
}

func allow() bpf.Instruction { return bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW} }

func deny(errno unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

// arg loads the low half of argument n.
func arg(n int) bpf.Instruction { return bpf.LoadAbsolute{Off: uint32(offArgs + 8*n), Size: 4} }

// checked is a call that is judged by an argument. Its check ends in a return on every path.
type checked struct {
	number uint32
	check  []bpf.Instruction
}

// refusedAsMissing are known calls that answer ENOSYS, because libraries then use an older one that the
// filter can judge: clone3 passes its flags in memory.
func refusedAsMissing() []uint32 {
	return []uint32{unix.SYS_CLONE3, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER}
}

func checkedCalls() []checked {
	// without allows the call when none of the bits is set in argument n.
	without := func(n int, bits uint32) []bpf.Instruction {
		return []bpf.Instruction{arg(n), bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: bits, SkipFalse: 1}, deny(unix.EPERM), allow()}
	}
	// except allows the call unless argument n is one of the values.
	except := func(n int, values ...uint32) []bpf.Instruction {
		check := []bpf.Instruction{arg(n)}
		for _, v := range values {
			check = append(check, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipFalse: 1}, deny(unix.EPERM))
		}
		return append(check, allow())
	}
	// only refuses the call unless argument n is one of the values.
	only := func(n int, values ...uint32) []bpf.Instruction {
		check := []bpf.Instruction{arg(n)}
		for _, v := range values {
			check = append(check, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipFalse: 1}, allow())
		}
		return append(check, deny(unix.EPERM))
	}
	const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
		unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME
	return []checked{
		// CLONE_NEWTIME shares its bit with clone's exit signal: only unshare knows it.
		{unix.SYS_CLONE, without(0, namespaces&^unix.CLONE_NEWTIME)},
		{unix.SYS_UNSHARE, without(0, namespaces)},
		// Bytes pushed into a terminal's input would be typed to whoever reads it next; CVE-2017-5226.
		{unix.SYS_IOCTL, except(1, unix.TIOCSTI, tiocLinux, unix.TIOCSETD, unix.TIOCCONS)},
		// As in Docker: the execution domains that change nothing about memory protection.
		{unix.SYS_PERSONALITY, only(0, 0x0, 0x8, 0x20000, 0x20008, 0xffffffff)},
		{unix.SYS_SOCKET, socketCheck()},
		{unix.SYS_SOCKETPAIR, only(0, unix.AF_UNIX)},
	}
}

// tiocLinux is TIOCLINUX (ioctl_console(2)): paste into a virtual terminal; CVE-2023-28100.
const tiocLinux = 0x541c

// socketCheck allows unix sockets, TCP and UDP, and reading of routes. No raw or packet sockets, no
// kernel crypto, vsock, Bluetooth or other families that load modules on demand.
func socketCheck() []bpf.Instruction {
	const typeMask = 0xf // without SOCK_NONBLOCK and SOCK_CLOEXEC
	inet := []bpf.Instruction{
		arg(2), // 0, TCP or UDP: an ICMP "ping socket" is a datagram socket too
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_UDP, SkipTrue: 1},
		deny(unix.EPROTONOSUPPORT), // such as MPTCP, which Go then does without
		arg(1),
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: typeMask},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_STREAM, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_DGRAM, SkipTrue: 1},
		deny(unix.EPERM),
		allow(),
	}
	netlink := []bpf.Instruction{
		arg(2),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NETLINK_ROUTE, SkipTrue: 1},
		deny(unix.EPERM),
		allow(),
	}
	check := []bpf.Instruction{
		arg(0),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipFalse: 1},
		allow(),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipFalse: uint8(len(inet))},
	}
	check = append(check, inet...)
	check = append(check, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_NETLINK, SkipFalse: uint8(len(netlink))})
	check = append(check, netlink...)
	return append(check, deny(unix.EAFNOSUPPORT))
}
