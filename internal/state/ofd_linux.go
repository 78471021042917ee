package state

import "golang.org/x/sys/unix"

// Commands of fcntl(2) for locks of open file descriptions.
const (
	ofdSetLock     = unix.F_OFD_SETLK
	ofdSetLockWait = unix.F_OFD_SETLKW
	ofdGetLock     = unix.F_OFD_GETLK
)
