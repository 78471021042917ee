package seccomp

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// legacySetIDCalls are those of them that take a mode.
func legacySetIDCalls() []checked {
	return []checked{
		{unix.SYS_CHMOD, plainMode(1)}, {unix.SYS_MKNOD, plainMode(1)}, {unix.SYS_CREAT, plainMode(1)},
		{unix.SYS_OPEN, plainModeIfCreating(1, 2)},
	}
}

// legacyCalls are calls of amd64 that newer architectures were born without.
func legacyCalls() []uint32 {
	return []uint32{
		unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_DUP2, unix.SYS_GETDENTS,
		unix.SYS_RENAME, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_LINK, unix.SYS_UNLINK, unix.SYS_SYMLINK,
		unix.SYS_READLINK, unix.SYS_MKNOD, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME,
		unix.SYS_UTIMES, unix.SYS_FUTIMESAT, unix.SYS_INOTIFY_INIT, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_GETPGRP,
		unix.SYS_ARCH_PRCTL, unix.SYS_PAUSE, unix.SYS_ALARM, unix.SYS_SIGNALFD, unix.SYS_EVENTFD, unix.SYS_TIME,
		unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_CTL_OLD, unix.SYS_EPOLL_WAIT,
		unix.SYS_EPOLL_WAIT_OLD, unix.SYS_PIPE,
	}
}
