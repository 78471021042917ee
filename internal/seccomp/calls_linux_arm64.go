package seccomp

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

func legacySetIDCalls() []checked { return nil }

// legacyCalls: arm64 was born with the current calls.
func legacyCalls() []uint32 {
	return nil
}
