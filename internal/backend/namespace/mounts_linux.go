package namespace

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// openSources, as root, opens every host tree of the plan as a detached mount whose owners are translated
// to ids of the inside. An ordinary user cannot do this, and need not: the child opens them itself, with
// exactly the user's own rights.
func openSources(spec *sandbox.Spec, d *disk, m mappings) (trees []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(trees)
		}
	}()
	idmaps := idMapper{user: spec.User, ids: m, made: map[string]*os.File{}}
	defer idmaps.close()
	if d != nil {
		fd, err := unix.FcntlInt(d.mount.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		trees = append(trees, os.NewFile(uintptr(fd), diskFile))
	}
	for _, s := range sources(spec) {
		if d != nil && s.state {
			continue
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, s.path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return trees, fmt.Errorf("cannot open %s: %w", s.path, err)
		}
		trees = append(trees, os.NewFile(uintptr(fd), s.path))
		if s.state {
			continue
		}
		ns, err := idmaps.forTree(s, fd)
		if err != nil {
			return trees, err
		}
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr); err != nil {
			return trees, sandbox.WithHint(
				fmt.Errorf("cannot translate the owners of %s (id-mapped mount): %w", s.path, err),
				"as root, the file system must support id-mapped mounts (ext4, xfs, btrfs, tmpfs …); or run bailey as the directory's owner")
		}
	}
	return trees, nil
}

// idMapper makes the user namespaces that id-mapped mounts are made of, each once.
type idMapper struct {
	user sandbox.User
	ids  mappings
	made map[string]*os.File
}

// forTree: a system tree keeps its ids, so that inside root owns /usr; any other tree's owner becomes the
// sandbox's user, and everybody else's files there belong to nobody.
func (im idMapper) forTree(s source, fd int) (*os.File, error) {
	if s.system {
		return im.get("system", im.ids.uids, im.ids.gids)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	key := fmt.Sprintf("%d:%d", st.Uid, st.Gid)
	return im.get(key,
		[]syscall.SysProcIDMap{{ContainerID: int(st.Uid), HostID: hostID(im.ids.uids, im.user.UID), Size: 1}},
		[]syscall.SysProcIDMap{{ContainerID: int(st.Gid), HostID: hostID(im.ids.gids, im.user.GID), Size: 1}})
}

func (im idMapper) get(key string, uids, gids []syscall.SysProcIDMap) (*os.File, error) {
	if f := im.made[key]; f != nil {
		return f, nil
	}
	f, err := userNamespace(uids, gids)
	if err == nil {
		im.made[key] = f
	}
	return f, err
}

func (im idMapper) close() {
	for _, f := range im.made {
		f.Close()
	}
}

// prepareDirs makes the machine's own directories in dir, with the owners that they have inside.
func prepareDirs(dir string, spec *sandbox.Spec, m mappings) error {
	uid, gid := hostID(m.uids, spec.User.UID), hostID(m.gids, spec.User.GID)
	for _, s := range sources(spec) {
		if !s.state {
			continue
		}
		path := dir + strings.TrimPrefix(s.path, spec.Dir)
		switch err := os.Mkdir(path, 0o700); {
		case errors.Is(err, os.ErrExist):
		case err != nil:
			return fmt.Errorf("cannot make %s: %w", path, err)
		default:
			if err := os.Chown(path, uid, gid); err != nil {
				return fmt.Errorf("cannot give %s to the sandbox: %w", path, err)
			}
		}
	}
	return nil
}
