package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// diskFile, in the directory of a machine whose disk use is limited, is the image of an ext4 file system that
// its layers and state directories lie in. It is sparse: it takes what is in it, and at most its size.
const diskFile = "disk"

// disk is a mounted image. It is mounted nowhere: only whoever has the descriptor sees it, and when the last one
// of machine and supervisor is gone, killed or not, the kernel unmounts it and frees the loop device.
type disk struct {
	mount *os.File
	image string
}

// diskSupport says whether machines can have disks of their own here.
func diskSupport() sandbox.Support {
	if !privileged() {
		return sandbox.No("only root can mount a file system of limited size")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return sandbox.No("no loop devices (modprobe loop)")
	}
	if _, err := makeFileSystem(); err != nil {
		return sandbox.No(err.Error())
	}
	return sandbox.Yes()
}

// makeFileSystem finds the program, which lies where a user's PATH may not lead.
func makeFileSystem() (string, error) {
	for _, path := range []string{"mkfs.ext4", "/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", errors.New("mkfs.ext4 is missing (Debian, Ubuntu, Fedora: e2fsprogs)")
}

// openDisk mounts the disk of the machine in dir, which is made with size bytes when it is not there.
func openDisk(ctx context.Context, dir string, size int64) (*disk, error) {
	path := filepath.Join(dir, diskFile)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeDisk(ctx, path, size); err != nil {
			return nil, fmt.Errorf("cannot make a disk of %d bytes: %w", size, err)
		}
	}
	// A file system must never be mounted from two devices. The loop device keeps the file open, and with it the
	// lock, for as long as it is mounted.
	image, err := lockFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	loop, err := attachLoop(image)
	if err != nil {
		return nil, fmt.Errorf("cannot attach the machine's disk to a loop device: %w", err)
	}
	defer loop.Close() // the mount keeps it
	if err := failpoint.Hit("disk.attached"); err != nil {
		return nil, err
	}
	mount, err := mountDetached(loop.Name())
	if err != nil {
		return nil, fmt.Errorf("cannot mount the machine's disk: %w", err)
	}
	return &disk{mount: mount, image: path}, failpoint.Hit("disk.mounted")
}

// makeDisk makes the image under another name first, so that a half-made one is never mounted.
func makeDisk(ctx context.Context, path string, size int64) error {
	program, err := makeFileSystem()
	if err != nil {
		return err
	}
	half := path + ".new"
	f, err := os.OpenFile(half, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-q", "-F", "-m", "0", "-E", "root_owner=0:0", half)
	cmd.Env = []string{}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	if err := errors.Join(f.Sync(), failpoint.Hit("disk.made")); err != nil {
		return err
	}
	return os.Rename(half, path)
}

// attachLoop makes a free loop device show the image. The device is freed when nobody has it open or mounted.
func attachLoop(image *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(image.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		if err = unix.IoctlLoopConfigure(int(loop.Fd()), &config); err == nil {
			return loop, nil
		}
		loop.Close()
		if err != unix.EBUSY { // else somebody was faster
			return nil, err
		}
	}
}

// mountDetached mounts the ext4 file system on device without a place. What is deleted in it is given back to the
// host ("discard").
func mountDetached(device string) (*os.File, error) {
	fs, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	err = errors.Join(unix.FsconfigSetString(fs, "source", device), unix.FsconfigSetFlag(fs, "discard"), unix.FsconfigCreate(fs))
	if err != nil {
		return nil, err
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), diskFile), nil
}

// path is the disk's root for this process, while it has the disk open.
func (d *disk) path() string { return fmt.Sprintf("/proc/self/fd/%d", d.mount.Fd()) }

// close gives the disk up and waits until it is unmounted, which the kernel does a moment after a machine's end.
func (d *disk) close(ctx context.Context) error {
	d.mount.Close()
	image, err := lockFile(ctx, d.image)
	if err != nil {
		return err
	}
	return image.Close()
}
