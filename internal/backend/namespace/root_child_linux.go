package namespace

import (
	"fmt"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// The stage is a tmpfs over the host's /tmp, in the child's mount namespace only. Nothing of it is left
// when the root has changed, but what was mounted from it.
const (
	stage     = "/tmp"
	newRoot   = stage + "/root"
	baseTree  = stage + "/base"   // the root's own lower layer: synthesised files and mount points
	layerTree = stage + "/layers" // the machine's layers directory
	emptyFile = stage + "/empty"
	emptyDir  = stage + "/emptydir"
)

// buildRoot puts the sandbox's file system together below newRoot.
func (c *child) buildRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return hintNamespaces(fmt.Errorf("cannot make mounts private: %w", err))
	}
	if err := c.openTrees(); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return hintNamespaces(fmt.Errorf("cannot mount a tmpfs: %w", err))
	}
	for _, d := range []string{newRoot, baseTree, layerTree, emptyDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(emptyFile, nil, 0o444); err != nil {
		return err
	}
	spec := &c.plan.Spec
	n := len(spec.Root.Lowers)
	if err := attach(c.trees[len(c.trees)-1], layerTree, 0); err != nil {
		return fmt.Errorf("cannot mount the machine's layers: %w", err)
	}
	if err := c.fillBase(); err != nil {
		return fmt.Errorf("cannot lay out the root: %w", err)
	}
	if err := c.mountRoot(); err != nil {
		return err
	}
	for i, l := range byTarget(spec.Root.Lowers) {
		if err := c.mountLower(l, i); err != nil {
			return fmt.Errorf("cannot mount %s: %w", l.Target, err)
		}
	}
	if err := mountKernelTrees(); err != nil {
		return err
	}
	if err := c.mountBinds(c.trees[n:]); err != nil {
		return err
	}
	if spec.Root.ReadOnly {
		return setFlags(newRoot, unix.MOUNT_ATTR_RDONLY, false)
	}
	return nil
}

// openTrees opens, as an ordinary user, what root opens beforehand (openSources). Everything below a source
// comes along: the kernel does not let a user uncover what is mounted over.
func (c *child) openTrees() error {
	if c.plan.Opened {
		return nil
	}
	for _, s := range sources(&c.plan.Spec) {
		fd, err := unix.OpenTree(unix.AT_FDCWD, s.path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return hintNamespaces(fmt.Errorf("cannot open %s: %w", s.path, err))
		}
		c.trees = append(c.trees, os.NewFile(uintptr(fd), s.path))
	}
	return nil
}

// attach mounts a detached tree at target with the given MOUNT_ATTR flags on top of nosuid and nodev.
func attach(tree *os.File, target string, flags uint64) error {
	if err := harden(int(tree.Fd()), flags); err != nil {
		return err
	}
	return unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func harden(fd int, flags uint64) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | flags}
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr)
}

func setFlags(target string, flags uint64, recursive bool) error {
	how := uint(0)
	if recursive {
		how = unix.AT_RECURSIVE
	}
	return unix.MountSetattr(unix.AT_FDCWD, target, how, &unix.MountAttr{Attr_set: flags})
}

// byTarget orders lowers so that a nested one is mounted after the one around it.
func byTarget(lowers []sandbox.Lower) []sandbox.Lower {
	sorted := append([]sandbox.Lower(nil), lowers...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Target < sorted[j].Target })
	return sorted
}

// fillBase writes the root's lower layer: synthesised files, links, and a place for every mount. It is a
// fresh tmpfs, so nothing that an agent left behind can be met here.
func (c *child) fillBase() error {
	spec := &c.plan.Spec
	base, err := os.OpenRoot(baseTree)
	if err != nil {
		return err
	}
	defer base.Close()
	dir := func(target string, mode os.FileMode) error {
		if err := base.MkdirAll(rel(target), 0o755); err != nil {
			return err
		}
		return base.Chmod(rel(target), mode)
	}
	for _, d := range []string{"/dev", "/proc", "/sys", "/tmp", "/run"} {
		if err := dir(d, 0o755); err != nil {
			return err
		}
	}
	for _, d := range spec.Root.Dirs {
		if under(spec.Root.Lowers, d.Target) >= 0 {
			continue // made in that lower's upper layer
		}
		if err := dir(d.Target, modeOf(d.Mode)); err != nil {
			return err
		}
		if err := c.own(base.Chown, rel(d.Target), d.Own); err != nil {
			return err
		}
	}
	for _, l := range spec.Root.Lowers {
		if err := dir(l.Target, 0o755); err != nil {
			return err
		}
	}
	for _, f := range spec.Root.Files {
		if err := base.MkdirAll(path.Dir(rel(f.Target)), 0o755); err != nil {
			return err
		}
		if err := base.WriteFile(rel(f.Target), f.Content, os.FileMode(f.Mode)); err != nil {
			return err
		}
	}
	for _, l := range spec.Root.Links {
		if err := base.MkdirAll(path.Dir(rel(l.Target)), 0o755); err != nil {
			return err
		}
		if err := base.Symlink(l.Text, rel(l.Target)); err != nil {
			return err
		}
	}
	return c.own(base.Chown, ".", false)
}

// own gives a path to the sandbox's user or, where other ids exist, to inside root.
func (c *child) own(chown func(string, int, int) error, name string, user bool) error {
	if user || !c.plan.Users {
		return chown(name, c.plan.Spec.User.UID, c.plan.Spec.User.GID)
	}
	return chown(name, 0, 0)
}

// mountRoot mounts the root itself: the base under an overlay that keeps what is written at the top, or
// the bare base when the root is read-only.
func (c *child) mountRoot() error {
	if c.plan.Spec.Root.ReadOnly {
		return unix.Mount(baseTree, newRoot, "", unix.MS_BIND, "")
	}
	return c.overlay("root", baseTree, newRoot)
}

// mountLower shows a host directory at its place, below an overlay unless the root is read-only.
func (c *child) mountLower(l sandbox.Lower, number int) error {
	tree := c.trees[indexOf(c.plan.Spec.Root.Lowers, l)]
	target, err := c.mountPoint(l.Target, true)
	if err != nil {
		return err
	}
	defer target.Close()
	if c.plan.Spec.Root.ReadOnly {
		return moveOnto(tree, target, unix.MOUNT_ATTR_RDONLY)
	}
	lower := stage + "/lower" + strconv.Itoa(number)
	if err := os.Mkdir(lower, 0o755); err != nil {
		return err
	}
	if err := attach(tree, lower, unix.MOUNT_ATTR_RDONLY); err != nil {
		return err
	}
	name := strings.ReplaceAll(strings.Trim(l.Target, "/"), "/", "-")
	if err := c.upper(name); err != nil {
		return err
	}
	upper, err := os.OpenRoot(layerTree + "/upper/" + name)
	if err != nil {
		return err
	}
	defer upper.Close()
	for _, d := range c.plan.Spec.Root.Dirs {
		if i := under(c.plan.Spec.Root.Lowers, d.Target); i < 0 || c.plan.Spec.Root.Lowers[i] != l {
			continue
		}
		if err := c.ownDir(upper, strings.TrimPrefix(d.Target, l.Target+"/"), d); err != nil {
			return err
		}
	}
	return c.overlay(name, lower, "/proc/self/fd/"+strconv.Itoa(int(target.Fd())))
}

// ownDir makes a directory in an upper layer, so that the merged one has its owner and mode. Its parents
// are merged with the host's and keep the owner that the layer has. An agent may have changed the layer
// since: what is there already is left as it is.
func (c *child) ownDir(upper *os.Root, name string, d sandbox.Dir) error {
	parent := "."
	for _, element := range strings.Split(name, "/") {
		parent = path.Join(parent, element)
		err := upper.Mkdir(parent, 0o755)
		if os.IsExist(err) {
			continue
		}
		if err == nil {
			err = c.own(upper.Chown, parent, d.Own && parent == path.Clean(name))
		}
		if err == nil && parent == path.Clean(name) {
			err = upper.Chmod(parent, modeOf(d.Mode))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// upper makes the directories of one overlay in the machine's layers.
func (c *child) upper(name string) error {
	layers, err := os.OpenRoot(layerTree)
	if err != nil {
		return err
	}
	defer layers.Close()
	for _, d := range []string{"upper", "work", "upper/" + name, "work/" + name} {
		switch err := layers.Mkdir(d, 0o755); {
		case os.IsExist(err):
		case err != nil:
			return err
		case d == "upper/"+name:
			if err := c.own(layers.Chown, d, false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *child) overlay(name, lower, target string) error {
	if err := c.upper(name); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper/%s,workdir=%s/work/%s,userxattr", lower, layerTree, name, layerTree, name)
	if err := unix.Mount("overlay", target, "overlay", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
		return sandbox.WithHint(fmt.Errorf("cannot mount an overlay: %w", err),
			"overlays in user namespaces need linux 5.11 and a state directory on ext4, xfs, btrfs or tmpfs; --read-only needs none")
	}
	return nil
}

// under returns the index of the innermost lower that target lies in, or -1.
func under(lowers []sandbox.Lower, target string) int {
	best := -1
	for i, l := range lowers {
		if strings.HasPrefix(target, l.Target+"/") && (best < 0 || len(l.Target) > len(lowers[best].Target)) {
			best = i
		}
	}
	return best
}

func indexOf(lowers []sandbox.Lower, l sandbox.Lower) int {
	for i := range lowers {
		if lowers[i] == l {
			return i
		}
	}
	return -1
}

func rel(target string) string {
	if target == "/" {
		return "."
	}
	return strings.TrimPrefix(path.Clean(target), "/")
}

// modeOf translates permission bits with the sticky bit, as in 01777.
func modeOf(mode uint32) os.FileMode {
	m := os.FileMode(mode & 0o777)
	if mode&unix.S_ISVTX != 0 {
		m |= os.ModeSticky
	}
	return m
}
