package namespace

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// What a layer of the machine's own has in it: what was written, and what the kernel needs beside that.
const (
	upperDir = "upper"
	workDir  = "work"
)

// mountOverlay shows a host directory at target, and has what is written there go to layer. Links in the
// layer are the agent's and are not followed.
func (c *child) mountOverlay(lower, layer *os.File, target, number string) error {
	at, err := c.mountPoint(target, true)
	if err != nil {
		return err
	}
	defer at.Close()
	below, own := stage+"/below"+number, stage+"/layer"+number
	if err := errors.Join(os.Mkdir(below, 0o755), os.Mkdir(own, 0o755)); err != nil {
		return err
	}
	if err := attach(lower, below, unix.MOUNT_ATTR_RDONLY); err != nil {
		return err
	}
	if err := attach(layer, own, 0); err != nil {
		return err
	}
	if err := makeLayer(own, below); err != nil {
		return fmt.Errorf("cannot make its layer: %w", err)
	}
	options := fmt.Sprintf("lowerdir=%s,userxattr,upperdir=%s/%s,workdir=%s/%s", below, own, upperDir, own, workDir)
	if err := unix.Mount("overlay", "/proc/self/fd/"+strconv.Itoa(int(at.Fd())), "overlay", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
		return sandbox.WithHint(fmt.Errorf("cannot mount an overlay: %w", err),
			"overlays in user namespaces need linux 5.11 (5.19 when root runs bailey), a state directory on ext4, xfs, btrfs or tmpfs, and a project without other file systems mounted in it; without --review the project needs none")
	}
	return nil
}

// makeLayer makes the two directories in own where they are missing. The merged root has the owner and mode of
// upper, so those are the project's.
func makeLayer(own, below string) error {
	var st unix.Stat_t
	if err := unix.Stat(below, &st); err != nil {
		return err
	}
	root, err := os.OpenRoot(own)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range []string{upperDir, workDir} {
		err := root.Mkdir(dir, 0o700)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil && dir == upperDir {
			// Who is nobody here, because no id inside stands for them, owns nothing here.
			if err = root.Lchown(dir, int(st.Uid), int(st.Gid)); errors.Is(err, unix.EINVAL) {
				err = nil
			}
			if err == nil {
				err = root.Chmod(dir, os.FileMode(st.Mode&0o777))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
