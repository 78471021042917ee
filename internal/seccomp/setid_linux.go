package seccomp

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// setIDCalls refuses the mode bits that would make a program run as its owner, wherever a call takes them
// in a register. openat2 takes them in memory and is missing, so that libraries use openat.
func setIDCalls() []checked {
	calls := []checked{
		{unix.SYS_FCHMOD, plainMode(1)}, {unix.SYS_FCHMODAT, plainMode(2)}, {unix.SYS_FCHMODAT2, plainMode(2)},
		{unix.SYS_MKNODAT, plainMode(2)}, {unix.SYS_OPENAT, plainModeIfCreating(2, 3)},
		{unix.SYS_OPENAT2, []bpf.Instruction{deny(unix.ENOSYS)}},
	}
	return append(calls, legacySetIDCalls()...)
}

// plainMode refuses set-id bits in argument n.
func plainMode(n int) []bpf.Instruction {
	const setID = unix.S_ISUID | unix.S_ISGID
	return []bpf.Instruction{arg(n), bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: setID, SkipFalse: 1}, deny(unix.EPERM), allow()}
}

// plainModeIfCreating does so only where the flags make a file: else the mode is whatever the register had.
func plainModeIfCreating(flags, mode int) []bpf.Instruction {
	const creates = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY
	check := []bpf.Instruction{arg(flags), bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: creates, SkipTrue: 1}, allow()}
	return append(check, plainMode(mode)...)
}
