package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spaces are the kinds of namespaces; CLONE_NEWTIME is unshare's alone.
func spaces() []uintptr {
	return []uintptr{
		unix.CLONE_NEWUSER, unix.CLONE_NEWUSER | unix.CLONE_NEWNS, unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET,
		unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWCGROUP,
	}
}

// fork makes a process with the given clone flags, which ends at once.
//
//go:norace
func fork(number, a, b uintptr) error {
	pid, _, errno := syscall.RawSyscall6(number, a, b, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		for {
			_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	if errno != 0 {
		return errno
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

// cloneSpaces tries every kind, plainly and with a bit that clone(2) does not look at.
func cloneSpaces([]string) error {
	var errs []error
	for _, kind := range spaces() {
		for _, extra := range []uintptr{0, 1 << 40} {
			errs = append(errs, fork(unix.SYS_CLONE, kind|extra|uintptr(unix.SIGCHLD), 0))
		}
	}
	return anyOf(errs...)
}

func clone3Spaces([]string) error {
	var errs []error
	for _, kind := range spaces() {
		args := [11]uint64{0: uint64(kind), 4: uint64(unix.SIGCHLD)}
		errs = append(errs, fork(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args)))
	}
	return anyOf(errs...)
}

// unshareSpaces leaves namespaces in a child, since a process with threads may not leave all of them.
func unshareSpaces([]string) error {
	var errs []error
	for _, kind := range append(spaces(), unix.CLONE_NEWTIME) {
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: kind}
		errs = append(errs, cmd.Run())
	}
	_, _, errno := unix.Syscall(unix.SYS_UNSHARE, unix.CLONE_NEWUSER|unix.CLONE_FILES, 0, 0)
	return anyOf(append(errs, errnoOrNil(errno))...)
}

func errnoOrNil(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// setnsOwn asks to enter what the process is in already, which the kernel answers with other errors.
func setnsOwn([]string) error {
	var errs []error
	for _, kind := range []string{"user", "mnt", "net", "pid", "ipc", "uts", "cgroup"} {
		fd, err := unix.Open("/proc/self/ns/"+kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, _, errno := unix.Syscall(unix.SYS_SETNS, uintptr(fd), 0, 0)
		errs = append(errs, reached(errno))
	}
	_, _, errno := unix.Syscall(unix.SYS_SETNS, junk, unix.CLONE_NEWUSER, 0)
	return anyOf(append(errs, reached(errno))...)
}

// strip DIR NEW OLD renames NEW over OLD in DIR from a mount namespace in which nothing is mounted on OLD.
func strip(args []string) error {
	dir, err := unix.Open(args[0], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "strip-child", args[1], args[2])
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(dir), args[0])}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		return err
	}
	return errAsked
}

func stripChild(args []string) error {
	const stage = "/tmp"
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("stage", stage, "tmpfs", 0, "") },
		func() error { return os.Mkdir(stage+"/old", 0o700) },
		func() error { return unix.PivotRoot(stage, stage+"/old") },
		func() error { return os.Chdir("/") },
		func() error { return unix.Unmount("/old", unix.MNT_DETACH) },
		func() error { return unix.Renameat(3, args[0], 3, args[1]) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

// unmount PATH takes away what is mounted there.
func unmount(args []string) error {
	return anyOf(unix.Unmount(args[0], 0x8 /* UMOUNT_NOFOLLOW */), unix.Unmount(args[0], unix.MNT_DETACH))
}

// remount PATH makes the mount there writable, in the old way and in the new one.
func remount(args []string) error {
	return anyOf(
		unix.Mount("", args[0], "", unix.MS_REMOUNT|unix.MS_BIND, ""),
		unix.MountSetattr(unix.AT_FDCWD, args[0], 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))
}

// uncover PATH writes to what lies below the mount at PATH, by a copy of the mount above without it.
func uncover(args []string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Dir(args[0]), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	file, err := unix.Openat(fd, filepath.Base(args[0]), unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
	if err != nil {
		return errors.Join(errors.New("cloned, but"), err)
	}
	_, err = unix.Write(file, []byte("# UNCOVERED\n"))
	return err
}
