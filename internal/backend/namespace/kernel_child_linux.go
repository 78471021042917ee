package namespace

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// mountKernelTrees mounts what the kernel shows: /proc with its revealing parts masked, a /dev of a few
// harmless devices, and of /sys only what tools read to count processors. /tmp and /run are the sandbox's.
// Files there are memory that no killing frees, so with a memory limit they have only a part of it: at the
// limit the kernel would otherwise end one process after the other, the first one too.
func mountKernelTrees(memory int64) error {
	if err := mountProc(); err != nil {
		return err
	}
	if err := mountDev(memory); err != nil {
		return fmt.Errorf("cannot set up /dev: %w", err)
	}
	if err := mountSys(); err != nil {
		return fmt.Errorf("cannot set up /sys: %w", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if err := unix.Mount("tmpfs", newRoot+"/tmp", "tmpfs", flags, "mode=1777"+part(memory, 2)); err != nil {
		return fmt.Errorf("cannot mount /tmp: %w", err)
	}
	if err := unix.Mount("tmpfs", newRoot+"/run", "tmpfs", flags, "mode=0755,size=64m"+part(min(memory, 512<<20), 8)); err != nil {
		return fmt.Errorf("cannot mount /run: %w", err)
	}
	return nil
}

// part is the size option for that part of a memory limit, if there is one. The last size option counts.
func part(memory, of int64) string {
	if memory == 0 {
		return ""
	}
	return fmt.Sprintf(",size=%d", memory/of)
}

func mountProc() error {
	proc := newRoot + "/proc"
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return hintNamespaces(fmt.Errorf("cannot mount /proc: %w", err))
	}
	// Host-wide facts and switches. Whatever this kernel does not have needs no mask.
	for _, name := range []string{
		"cmdline", "config.gz", "diskstats", "interrupts", "iomem", "ioports", "kallsyms", "kcore", "keys",
		"key-users", "kmsg", "kpagecount", "kpageflags", "kpagecgroup", "latency_stats", "modules", "partitions", "sched_debug", "schedstat",
		"slabinfo", "softirqs", "sysrq-trigger", "timer_list", "vmallocinfo", "zoneinfo",
		"acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "sysvipc",
	} {
		if err := mask(path.Join(proc, name)); err != nil {
			return fmt.Errorf("cannot mask /proc/%s: %w", name, err)
		}
	}
	return remount("/proc/sys", unix.MOUNT_ATTR_RDONLY)
}

// mask covers a path of /proc, if it is there, with nothing.
func mask(name string) error {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	at := os.NewFile(uintptr(fd), name)
	defer at.Close()
	st, err := at.Stat()
	if err != nil {
		return err
	}
	if st.IsDir() {
		return cover(emptyDir, at)
	}
	return cover(emptyFile, at)
}

func mountDev(memory int64) error {
	dev := newRoot + "/dev"
	flags := uintptr(unix.MS_NOSUID | unix.MS_NOEXEC)
	if err := unix.Mount("tmpfs", dev, "tmpfs", flags, "mode=0755,size=1m"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := os.WriteFile(dev+"/"+name, nil, 0o666); err != nil {
			return err
		}
		// A plain bind: these, and only these, are usable devices.
		if err := unix.Mount("/dev/"+name, dev+"/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := setFlags(dev+"/"+name, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, text := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(text, dev+"/"+name); err != nil {
			return err
		}
	}
	for _, d := range []string{"pts", "shm"} {
		if err := os.Mkdir(dev+"/"+d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", dev+"/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("pts: %w", err)
	}
	if err := unix.Mount("tmpfs", dev+"/shm", "tmpfs", flags|unix.MS_NODEV, "mode=1777"+part(memory, 4)); err != nil {
		return fmt.Errorf("shm: %w", err)
	}
	return setFlags(dev, unix.MOUNT_ATTR_RDONLY)
}

func mountSys() error {
	sys := newRoot + "/sys"
	if err := unix.Mount("tmpfs", sys, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755,size=1m"); err != nil {
		return err
	}
	for _, name := range []string{"/devices/system/cpu", "/devices/system/node", "/kernel/mm/transparent_hugepage"} {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/sys"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tree := os.NewFile(uintptr(fd), name)
		err = os.MkdirAll(sys+name, 0o755)
		if err == nil {
			err = attach(tree, sys+name, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOEXEC)
		}
		tree.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return setFlags(sys, unix.MOUNT_ATTR_RDONLY)
}
