package namespace

import (
	"fmt"
	"io/fs"
	"os"
	"path"
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
	diskTree  = stage + "/disk"   // the machine's disk, if it has one
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
	for _, d := range []string{newRoot, baseTree, layerTree, diskTree, emptyDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(emptyFile, nil, 0o444); err != nil {
		return err
	}
	spec := &c.plan.Spec
	if err := c.openDisk(); err != nil {
		return fmt.Errorf("cannot open the machine's disk: %w", err)
	}
	if err := c.fillBase(); err != nil {
		return fmt.Errorf("cannot lay out the root: %w", err)
	}
	if err := attach(c.next(), layerTree, 0); err != nil {
		return fmt.Errorf("cannot mount the machine's layers: %w", err)
	}
	if err := c.mountRoot(); err != nil {
		return fmt.Errorf("cannot mount the root: %w", err)
	}
	for i, l := range spec.Root.Lowers {
		if err := c.mountLower(l, i); err != nil {
			return fmt.Errorf("cannot mount %s: %w", l.Target, err)
		}
	}
	if err := mountKernelTrees(spec.Limits.Memory); err != nil {
		return err
	}
	return c.mountBinds()
}

// openTrees opens, as an ordinary user, what root opens beforehand (openSources). Everything below a source
// comes along: the kernel does not let a user uncover what is mounted over.
func (c *child) openTrees() error {
	if c.plan.Trees > 0 {
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

// openDisk attaches the machine's disk and opens what lies on it, each tree in its place among the others.
func (c *child) openDisk() error {
	spec := &c.plan.Spec
	if !hasDisk(spec) {
		return nil
	}
	if err := attach(c.next(), diskTree, 0); err != nil {
		return err
	}
	others := c.trees
	c.trees = nil
	for _, s := range sources(spec) {
		if !s.state {
			c.trees, others = append(c.trees, others[0]), others[1:]
			continue
		}
		path := diskTree + strings.TrimPrefix(s.path, spec.Dir)
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
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

func setFlags(target string, flags uint64) error {
	return unix.MountSetattr(unix.AT_FDCWD, target, 0, &unix.MountAttr{Attr_set: flags})
}

// fillBase writes the root's topmost lower layer: synthesised files, links, and a place for every mount. It
// is a fresh tmpfs, so nothing that an agent left behind can be met here.
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
	}
	for _, l := range spec.Root.Lowers {
		if err := dir(l.Target, 0o755); err != nil {
			return err
		}
	}
	if err := c.placeMounts(base); err != nil {
		return err
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
	return c.ownBase(base)
}

// ownBase gives the base to inside root, where there is one, but for the user's own directories.
func (c *child) ownBase(base *os.Root) error {
	err := fs.WalkDir(base.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return c.own(base.Lchown, name, false)
	})
	for _, d := range c.plan.Spec.Root.Dirs {
		if err == nil && d.Own && under(c.plan.Spec.Root.Lowers, d.Target) < 0 {
			err = c.own(base.Chown, rel(d.Target), true)
		}
	}
	return err
}

// own gives a path to the sandbox's user or, where other ids exist, to inside root.
func (c *child) own(chown func(string, int, int) error, name string, user bool) error {
	if user || !c.plan.Users {
		return chown(name, c.plan.Spec.User.UID, c.plan.Spec.User.GID)
	}
	return chown(name, 0, 0)
}

// placeMounts makes the places of binds that lie in no other tree: a read-only root has none but these.
func (c *child) placeMounts(base *os.Root) error {
	root := &c.plan.Spec.Root
	trees := c.trees[1+len(root.Layers)+len(root.Lowers):]
	var covered []string
	for _, m := range append(append([]sandbox.Mount(nil), root.Binds...), c.plan.Spec.Mounts...) {
		n := treesOf(m.Kind)
		if n == 0 {
			continue
		}
		tree := trees[0]
		trees = trees[n:]
		if under(root.Lowers, m.Target) >= 0 || inside(covered, m.Target) {
			continue
		}
		covered = append(covered, m.Target)
		st, err := tree.Stat()
		if err != nil {
			return err
		}
		if st.IsDir() {
			err = base.MkdirAll(rel(m.Target), 0o755)
		} else if err = base.MkdirAll(path.Dir(rel(m.Target)), 0o755); err == nil {
			err = base.WriteFile(rel(m.Target), nil, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// treesOf says how many host trees a mount takes: what it shows and, of an overlay, the layer above that.
func treesOf(kind sandbox.MountKind) int {
	switch kind {
	case sandbox.MountBind, sandbox.MountState:
		return 1
	case sandbox.MountOverlay:
		return 2
	default:
		return 0
	}
}

func inside(dirs []string, target string) bool {
	for _, d := range dirs {
		if strings.HasPrefix(target, d+"/") {
			return true
		}
	}
	return false
}

// mountRoot mounts the root itself: the base and the layers below it, and on top, unless the root is
// read-only, an upper layer that keeps what is written.
func (c *child) mountRoot() error {
	lower := baseTree
	for i := range c.plan.Spec.Root.Layers {
		at := stage + "/under" + strconv.Itoa(i)
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		if err := attach(c.next(), at, unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
		lower += ":" + at
	}
	if !c.plan.Spec.Root.ReadOnly {
		if err := c.upper("root"); err != nil {
			return err
		}
	}
	return c.overlay("root", lower, newRoot)
}

// mountLower shows a host directory at its place. It is below an overlay if somebody inside could write
// there: inside root, or the user in a directory of its own. Overlays cost ten times what binds do.
func (c *child) mountLower(l sandbox.Lower, number int) error {
	tree := c.next()
	target, err := c.mountPoint(l.Target, true)
	if err != nil {
		return err
	}
	defer target.Close()
	own := c.dirsIn(l)
	if c.plan.Spec.Root.ReadOnly || !c.plan.Users && len(own) == 0 {
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
	for _, d := range own {
		if err := c.ownDir(upper, strings.TrimPrefix(d.Target, l.Target+"/"), d); err != nil {
			return err
		}
	}
	return c.overlay(name, lower, "/proc/self/fd/"+strconv.Itoa(int(target.Fd())))
}

// dirsIn lists the sandbox's own directories that lie in l and in no lower below it.
func (c *child) dirsIn(l sandbox.Lower) []sandbox.Dir {
	var list []sandbox.Dir
	lowers := c.plan.Spec.Root.Lowers
	for _, d := range c.plan.Spec.Root.Dirs {
		if i := under(lowers, d.Target); i >= 0 && lowers[i] == l {
			list = append(list, d)
		}
	}
	return list
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

// overlay mounts the lower trees at target, with the upper layer of that name, which upper has made, unless
// the root is read-only.
func (c *child) overlay(name, lower, target string) error {
	options := "lowerdir=" + lower + ",userxattr"
	switch {
	case !c.plan.Spec.Root.ReadOnly:
		options += fmt.Sprintf(",upperdir=%s/upper/%s,workdir=%s/work/%s", layerTree, name, layerTree, name)
	case !strings.Contains(lower, ":"):
		// A single tree is no overlay.
		if err := unix.Mount(lower, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return setFlags(target, unix.MOUNT_ATTR_RDONLY)
	}
	if err := unix.Mount("overlay", target, "overlay", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
		return sandbox.WithHint(fmt.Errorf("cannot mount an overlay: %w", err),
			"overlays in user namespaces need linux 5.11 (5.19 when root runs bailey) and a state directory on ext4, xfs, btrfs or tmpfs; --read-only needs no such directory")
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
