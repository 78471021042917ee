package workspace

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/gitconfig"
)

// configs are git's configurations by path, as they were at the start and as they were last found good.
type configs struct{ base, good map[string][]byte }

func (c configs) has(path string) bool { return c.base[path] != nil }

// maxConfig bounds a configuration, in bytes.
const maxConfig = 1 << 20

// keepConfig looks at a configuration that has lost its mount, so that the agent can write it. The user goes on
// using git, which writes settings of its own there; everything else, whoever wrote it, is moved away.
func (g *Guard) keepConfig(dir *os.File, name string, onHit func(Hit)) {
	path := filepath.Join(dir.Name(), name)
	data, err := readConfig(dir, name)
	if os.IsNotExist(err) {
		return
	}
	if err == nil && gitconfig.HarmlessBeyond(g.configs.base[path], data) {
		g.configs.good[path] = data
		return
	}
	hit := g.quarantine.take(dir, name)
	onHit(hit)
	if hit.Kind != HitMoved {
		return
	}
	if err := writeConfig(dir, name, g.configs.good[path]); err != nil {
		onHit(Hit{Kind: HitLeft, Path: path, Err: fmt.Errorf("its last good content cannot be put back: %w", err)})
	}
}

// readConfig reads a plain file with one name: by another one it could be changed unseen.
func readConfig(dir *os.File, name string) ([]byte, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || links(info) != 1 || info.Size() > maxConfig {
		return nil, fmt.Errorf("%s is no plain file", name)
	}
	return io.ReadAll(io.LimitReader(f, maxConfig))
}

// writeConfig makes the file, which nobody else may have made meanwhile, with the directory's owner.
func writeConfig(dir *os.File, name string, data []byte) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	_, err = f.Write(data)
	return err
}
