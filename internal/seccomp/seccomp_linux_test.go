package seccomp

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// judge runs the filter on one call, as the kernel would.
func judge(t *testing.T, vm *bpf.VM, arch, number uint32, args ...uint32) unix.Errno {
	t.Helper()
	data := make([]byte, 64)
	// The virtual machine loads words in network order.
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], a)
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], 0xdeadbeef) // the high half must not matter
	}
	verdict, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	if uint32(verdict) == unix.SECCOMP_RET_ALLOW {
		return 0
	}
	return unix.Errno(uint32(verdict) & unix.SECCOMP_RET_DATA)
}

func TestSystemCallFilter(t *testing.T) {
	program := Filter(false)
	if len(program) > 4096 {
		t.Fatalf("the kernel takes 4096 instructions, these are %d", len(program))
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	const tcp, udp = unix.IPPROTO_TCP, unix.IPPROTO_UDP
	stream := uint32(unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK)
	dgram := uint32(unix.SOCK_DGRAM | unix.SOCK_CLOEXEC)
	cases := []struct {
		name   string
		number uint32
		args   []uint32
		want   unix.Errno
	}{
		{"an ordinary call passes", unix.SYS_OPENAT, nil, 0},
		{"a thread may be made", unix.SYS_CLONE, []uint32{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}, 0},
		{"a fork passes", unix.SYS_CLONE, []uint32{uint32(unix.SIGCHLD)}, 0},
		{"clone makes no user namespace", unix.SYS_CLONE, []uint32{unix.CLONE_NEWUSER | uint32(unix.SIGCHLD)}, unix.EPERM},
		{"clone makes no network namespace", unix.SYS_CLONE, []uint32{unix.CLONE_NEWNET}, unix.EPERM},
		{"clone3 is missing, so that clone is used", unix.SYS_CLONE3, nil, unix.ENOSYS},
		{"unshare of files passes", unix.SYS_UNSHARE, []uint32{unix.CLONE_FILES}, 0},
		{"unshare makes no user namespace", unix.SYS_UNSHARE, []uint32{unix.CLONE_NEWUSER}, unix.EPERM},
		{"unshare makes no mount namespace beside other flags", unix.SYS_UNSHARE, []uint32{unix.CLONE_NEWNS | unix.CLONE_FS}, unix.EPERM},
		{"unshare makes no time namespace", unix.SYS_UNSHARE, []uint32{unix.CLONE_NEWTIME}, unix.EPERM},
		{"setns is refused", unix.SYS_SETNS, nil, unix.EPERM},
		{"mount is refused", unix.SYS_MOUNT, nil, unix.EPERM},
		{"umount is refused", unix.SYS_UMOUNT2, nil, unix.EPERM},
		{"pivot_root is refused", unix.SYS_PIVOT_ROOT, nil, unix.EPERM},
		{"mount_setattr is refused", unix.SYS_MOUNT_SETATTR, nil, unix.EPERM},
		{"open_tree is refused", unix.SYS_OPEN_TREE, nil, unix.EPERM},
		{"move_mount is refused", unix.SYS_MOVE_MOUNT, nil, unix.EPERM},
		{"fsopen is refused", unix.SYS_FSOPEN, nil, unix.EPERM},
		{"io_uring is missing", unix.SYS_IO_URING_SETUP, nil, unix.ENOSYS},
		{"userfaultfd is refused", unix.SYS_USERFAULTFD, nil, unix.EPERM},
		{"bpf is refused", unix.SYS_BPF, nil, unix.EPERM},
		{"perf_event_open is refused", unix.SYS_PERF_EVENT_OPEN, nil, unix.EPERM},
		{"keys are refused", unix.SYS_ADD_KEY, nil, unix.EPERM},
		{"keyctl is refused", unix.SYS_KEYCTL, nil, unix.EPERM},
		{"ptrace is refused", unix.SYS_PTRACE, nil, unix.EPERM},
		{"process_vm_readv is refused", unix.SYS_PROCESS_VM_READV, nil, unix.EPERM},
		{"pidfd_getfd is refused", unix.SYS_PIDFD_GETFD, nil, unix.EPERM},
		{"open_by_handle_at is refused", unix.SYS_OPEN_BY_HANDLE_AT, nil, unix.EPERM},
		{"kexec_load is refused", unix.SYS_KEXEC_LOAD, nil, unix.EPERM},
		{"init_module is refused", unix.SYS_INIT_MODULE, nil, unix.EPERM},
		{"acct is refused", unix.SYS_ACCT, nil, unix.EPERM},
		{"clock_settime is refused", unix.SYS_CLOCK_SETTIME, nil, unix.EPERM},
		{"quotactl is refused", unix.SYS_QUOTACTL, nil, unix.EPERM},
		{"chroot is refused", unix.SYS_CHROOT, nil, unix.EPERM},
		{"the usual personality passes", unix.SYS_PERSONALITY, []uint32{0xffffffff}, 0},
		{"a personality without address randomisation is refused", unix.SYS_PERSONALITY, []uint32{0x0040000}, unix.EPERM},
		{"a terminal's size may be read", unix.SYS_IOCTL, []uint32{0, unix.TIOCGWINSZ}, 0},
		{"nothing is typed into a terminal", unix.SYS_IOCTL, []uint32{0, unix.TIOCSTI}, unix.EPERM},
		{"nothing is pasted into a console", unix.SYS_IOCTL, []uint32{0, tiocLinux}, unix.EPERM},
		{"a TCP socket", unix.SYS_SOCKET, []uint32{unix.AF_INET, stream, 0}, 0},
		{"a TCP socket by protocol", unix.SYS_SOCKET, []uint32{unix.AF_INET6, stream, tcp}, 0},
		{"a UDP socket", unix.SYS_SOCKET, []uint32{unix.AF_INET6, dgram, udp}, 0},
		{"a unix socket of any type", unix.SYS_SOCKET, []uint32{unix.AF_UNIX, unix.SOCK_SEQPACKET, 0}, 0},
		{"routes may be read", unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW | unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE}, 0},
		{"no raw socket", unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_RAW, udp}, unix.EPERM},
		{"no raw ICMP socket", unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, unix.EPROTONOSUPPORT},
		{"no ping socket", unix.SYS_SOCKET, []uint32{unix.AF_INET, dgram, unix.IPPROTO_ICMP}, unix.EPROTONOSUPPORT},
		{"no multipath TCP", unix.SYS_SOCKET, []uint32{unix.AF_INET, stream, unix.IPPROTO_MPTCP}, unix.EPROTONOSUPPORT},
		{"no packet filter rules", unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, unix.EPERM},
		{"no audit socket", unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, unix.EPERM},
		{"no packet socket", unix.SYS_SOCKET, []uint32{unix.AF_PACKET, unix.SOCK_RAW, 0}, unix.EAFNOSUPPORT},
		{"no kernel crypto", unix.SYS_SOCKET, []uint32{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, unix.EAFNOSUPPORT},
		{"no vsock", unix.SYS_SOCKET, []uint32{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, unix.EAFNOSUPPORT},
		{"no XDP", unix.SYS_SOCKET, []uint32{unix.AF_XDP, unix.SOCK_RAW, 0}, unix.EAFNOSUPPORT},
		{"no Bluetooth", unix.SYS_SOCKET, []uint32{unix.AF_BLUETOOTH, unix.SOCK_RAW, 0}, unix.EAFNOSUPPORT},
		{"a call newer than the list is missing", lastCall + 1, nil, unix.ENOSYS},
		{"x32 calls are missing", 0x40000000 + unix.SYS_OPENAT, nil, unix.ENOSYS},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := judge(t, vm, auditArch, c.number, c.args...); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if got := judge(t, vm, auditArch, unix.SYS_FCHMODAT, 0, 0, 0o4755); got != 0 {
		t.Errorf("set-user-id is refused in an ordinary user's project: %v", got)
	}
	if got := judge(t, vm, unix.AUDIT_ARCH_I386, unix.SYS_OPENAT); got != unix.ENOSYS {
		t.Errorf("32-bit calls: got %v, want ENOSYS", got)
	}
}

func TestRootOwnedFilesAreNeverSetID(t *testing.T) {
	vm, err := bpf.NewVM(Filter(true))
	if err != nil {
		t.Fatal(err)
	}
	const write, create, tmpfile = unix.O_WRONLY, unix.O_WRONLY | unix.O_CREAT, unix.O_WRONLY | unix.O_TMPFILE
	for _, c := range []struct {
		name   string
		number uint32
		args   []uint32
		want   unix.Errno
	}{
		{"an ordinary mode", unix.SYS_FCHMODAT, []uint32{0, 0, 0o1755}, 0},
		{"set-user-id by name", unix.SYS_FCHMODAT, []uint32{0, 0, 0o4755}, unix.EPERM},
		{"set-group-id by name", unix.SYS_FCHMODAT2, []uint32{0, 0, 0o2755}, unix.EPERM},
		{"set-user-id by descriptor", unix.SYS_FCHMOD, []uint32{3, 0o6755}, unix.EPERM},
		{"a new file", unix.SYS_OPENAT, []uint32{0, 0, create, 0o755}, 0},
		{"a new set-user-id file", unix.SYS_OPENAT, []uint32{0, 0, create, 0o4755}, unix.EPERM},
		{"a nameless set-user-id file", unix.SYS_OPENAT, []uint32{0, 0, tmpfile, 0o4755}, unix.EPERM},
		{"an old file, with rubbish in the mode's register", unix.SYS_OPENAT, []uint32{0, 0, write, 0xffffffff}, 0},
		{"a directory", unix.SYS_OPENAT, []uint32{0, 0, unix.O_DIRECTORY, 0xffffffff}, 0},
		{"a set-user-id node", unix.SYS_MKNODAT, []uint32{0, 0, unix.S_IFREG | 0o4755}, unix.EPERM},
		{"a call that hides the mode in memory", unix.SYS_OPENAT2, nil, unix.ENOSYS},
		{"mounting is refused as ever", unix.SYS_MOUNT, nil, unix.EPERM},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := judge(t, vm, auditArch, c.number, c.args...); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
