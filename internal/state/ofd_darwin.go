package state

// Commands of fcntl(2) for locks of open file descriptions, from XNU's bsd/sys/fcntl.h.
const (
	ofdSetLock     = 90
	ofdSetLockWait = 91
	ofdGetLock     = 92
)
