package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// maxSeeded bounds a file that is read back from the sandbox's home.
const maxSeeded = 32 << 20

// SeedInput is what the files in the sandbox's home depend on.
type SeedInput struct {
	Workspaces []string          // absolute paths inside, which the agent may trust
	Env        map[string]string // the agent's environment inside; a key in it counts as approved
	Login      *Login            // nil for none
	Canaries   map[string]string // by CanaryKeyID and CanaryKey; nil for none
	// Tokens stand for the secrets of services whose programs look for them in files, by the service's name.
	Tokens map[string]string
}

// Login is what stands for the tokens of a login that is kept outside.
type Login struct {
	Access, Refresh string
	Identity        string // an OpenID Connect id_token; "" for none
	Account         string // that it names, for ChatGPT's
	Scopes          []string
}

// seed is one file: its path below home, and its new content from its old one (nil when there is none).
// The same old content is returned for "leave it as it is".
type seed struct {
	path  string
	merge func(old []byte) ([]byte, error)
}

// Seed answers the agent's first-run questions in home, the host path of the sandbox's own home. It adds
// what is missing and changes nothing that is there, so it is run before each start. The sandbox could
// write home until now: only what are plainly directories and files is touched, never through a link, and
// anything else is an error that names it. New files get home's owner. The sandbox must not be running.
func (a Agent) Seed(home string, in SeedInput) error {
	seeds := append(canarySeeds(in.Canaries), tokenSeeds(in.Tokens)...)
	if a.seeds != nil {
		seeds = append(seeds, a.seeds(in)...)
	}
	root, err := os.OpenRoot(home)
	if err != nil {
		return fmt.Errorf("cannot open the sandbox's home: %w", err)
	}
	defer root.Close()
	for _, s := range seeds {
		if err := plant(root, s); err != nil {
			return sandbox.WithHint(fmt.Errorf("cannot prepare %s in the sandbox's home: %w", s.path, err),
				"look at it, then remove it: "+filepath.Join(home, s.path))
		}
	}
	return nil
}

func plant(root *os.Root, s seed) error {
	if err := ownDirs(root, path.Dir(s.path)); err != nil {
		return err
	}
	old, mode, err := readPlain(root, s.path)
	if err != nil {
		return err
	}
	content, err := s.merge(old)
	if err != nil || old != nil && string(content) == string(old) {
		return err
	}
	temporary := s.path + ".bailey-new"
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close(), giveToOwner(root, temporary)); err != nil {
		return errors.Join(err, root.Remove(temporary))
	}
	return root.Rename(temporary, s.path)
}

// ownDirs makes dir and its parents, and refuses any that is a link or a file.
func ownDirs(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if err := ownDirs(root, path.Dir(dir)); err != nil {
		return err
	}
	info, err := root.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(root.Mkdir(dir, 0o700), giveToOwner(root, dir))
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", dir)
	}
	return err
}

// readPlain reads a regular file and its permission bits; one that is missing is nil and private.
func readPlain(root *os.Root, name string) ([]byte, fs.FileMode, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0o600, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSeeded {
		return nil, 0, fmt.Errorf("it is no file, or larger than %d bytes", maxSeeded)
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSeeded))
	if data == nil {
		data = []byte{}
	}
	return data, info.Mode().Perm() | 0o600, err
}

// giveToOwner gives name to home's owner. Only root can, and only then can they differ.
func giveToOwner(root *os.Root, name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return root.Lchown(name, int(owner.Uid), int(owner.Gid))
}
