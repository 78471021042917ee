package namespace

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/seccomp"
)

// lockIn gives up, for good, what the set-up needed, on the calling thread; the execve that follows makes
// it the only one. After that the process holds no capability, unless users is set: then it is root of its
// own user namespace, with those capabilities that it needs to start sessions of other users, over its own
// ids only. A session of the sandbox's user has none in any case. rootOwned is the system call filter's.
func lockIn(users, rootOwned bool) error {
	// Sessions must not leave memory images on the host.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("cannot forbid core dumps: %w", err)
	}
	unix.Umask(0o022)
	if err := dropCapabilities(users); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot set no_new_privs: %w", err)
	}
	return seccomp.Install(rootOwned)
}

// forbidNamespaces makes the kernel itself refuse namespaces inside, whatever a system call filter may
// overlook. The limits belong to this process's user namespace; they are set through the host's /proc,
// while that is still there, because the sandbox's own is read-only.
func forbidNamespaces() error {
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
		name := "/proc/sys/user/max_" + kind + "_namespaces"
		err := os.WriteFile(name, []byte("0"), 0)
		if err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("cannot forbid %s namespaces: %w", kind, err)
		}
	}
	return nil
}

// keptForUsers is what starting another user's session, and being root in it, takes: Docker's default set
// without the rights to make devices, open raw sockets and change roots.
func keptForUsers() []uintptr {
	return []uintptr{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
		unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_NET_BIND_SERVICE,
	}
}

func dropCapabilities(users bool) error {
	var keep uint64
	if users {
		for _, c := range keptForUsers() {
			keep |= 1 << c
		}
		// Root keeps its capabilities over an execve, within the bounding set; nobody else does.
		if err := becomeRoot(); err != nil {
			return fmt.Errorf("cannot become root inside: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot clear ambient capabilities: %w", err)
	}
	for c := uintptr(0); c < 64; c++ {
		if keep&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			if err == unix.EINVAL {
				break // the kernel's last capability was the one before
			}
			return fmt.Errorf("cannot drop capability %d: %w", c, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(keep), Permitted: uint32(keep)},
		{Effective: uint32(keep >> 32), Permitted: uint32(keep >> 32)},
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("cannot drop capabilities: %w", err)
	}
	return nil
}

// shareWatches leaves half of the inotify instances and watches that the host lets one user have to the host:
// those of all processes in this user namespace are counted to who made it. Set as in forbidNamespaces.
func shareWatches() error {
	for _, what := range []string{"instances", "watches"} {
		text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_" + what)
		if err != nil {
			return fmt.Errorf("cannot limit inotify: %w", err)
		}
		limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return fmt.Errorf("cannot limit inotify: %w", err)
		}
		if err := os.WriteFile("/proc/sys/user/max_inotify_"+what, []byte(strconv.Itoa(limit/2)), 0); err != nil {
			return fmt.Errorf("cannot limit inotify: %w", err)
		}
	}
	return nil
}

// becomeRoot changes the calling thread's ids only, unlike the functions of package syscall.
func becomeRoot() error {
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, errno := unix.RawSyscall(call, 0, 0, 0); errno != 0 {
			return errno
		}
	}
	return nil
}
