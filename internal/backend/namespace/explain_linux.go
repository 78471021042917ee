package namespace

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// hintNamespaces looks for the switches that are known to forbid user namespaces, or mounts in them.
func hintNamespaces(err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	hint := forbidden()
	switch {
	case hint != "":
	case setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		// Ubuntu 23.10 and later: a program needs a profile that allows user namespaces.
		hint = "AppArmor restricts user namespaces here; load bailey's profile: bailey doctor --apparmor | sudo tee /etc/apparmor.d/bailey | sudo apparmor_parser -r"
	case errors.Is(err, unix.ENOSPC):
		hint = "a limit on namespaces is reached: see /proc/sys/user/max_*_namespaces"
	default:
		hint = "bailey needs user namespaces and, inside a container, a /proc that is not masked: see bailey doctor"
	}
	return sandbox.WithHint(err, hint)
}

// forbidden names the switch that forbids user namespaces to ordinary users, as the command that turns it;
// "" when none does.
func forbidden() string {
	switch {
	case setting("/proc/sys/kernel/unprivileged_userns_clone") == "0": // Debian's and Arch's patch
		return "switch user namespaces on: sudo sysctl -w kernel.unprivileged_userns_clone=1"
	case setting("/proc/sys/user/max_user_namespaces") == "0": // RHEL's default of old
		return "switch user namespaces on: sudo sysctl -w user.max_user_namespaces=15000"
	}
	return ""
}

func setting(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
