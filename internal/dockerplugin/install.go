package dockerplugin

import (
	"crypto/rand"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// module is what tells our programs from others'.
const module = "github.com/bailey-sandbox/bailey"

// ErrForeign: the plugin that is there is somebody else's.
var ErrForeign = errors.New("it is not bailey's")

// Path is where the plugin goes; getenv is os.Getenv or the like.
func Path(getenv func(string) string) (string, error) {
	config := getenv("DOCKER_CONFIG")
	if config == "" {
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", fmt.Errorf("cannot find docker's configuration without an absolute HOME, it is %q", home)
		}
		config = filepath.Join(home, ".docker")
	}
	config, err := filepath.Abs(config)
	return filepath.Join(config, "cli-plugins", Name), err
}

// Install puts the program self at path: as a link to the bailey on the PATH when that is the same program,
// which then goes along with updates and is what an AppArmor profile names; as a copy otherwise, because the
// program may be about to be deleted, as go run's are. What is there and not ours is ErrForeign without force.
func Install(self, path string, force bool) (linked string, err error) {
	if err := check(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !force {
		return "", sandbox.WithHint(fmt.Errorf("cannot replace the plugin %s: %w", path, err), "bailey docker-plugin install --force")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("cannot make the plugin's directory: %w", err)
	}
	temporary := filepath.Join(filepath.Dir(path), ".bailey-"+rand.Text()[:8])
	defer os.Remove(temporary) // when it could not be renamed
	if linked = installed(self); linked != "" {
		err = os.Symlink(linked, temporary)
	} else {
		err = copyProgram(self, temporary)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot install the plugin: %w", err)
	}
	return linked, nil
}

// Uninstall removes the plugin at path. What is not ours stays: ErrForeign. None is fs.ErrNotExist.
func Uninstall(path string) error {
	err := check(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("cannot remove the plugin %s: %w", path, err)
	}
	return nil
}

// check returns nil when the plugin at path is ours, by what the Go linker has written into it: nothing is
// executed. A link to a bailey that is gone is ours, too.
func check(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		target, err := os.Readlink(path)
		if err == nil && filepath.Base(target) != "bailey" {
			err = ErrForeign
		}
		return err
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return ErrForeign
	}
	build, err := buildinfo.ReadFile(path)
	if err != nil || build.Main.Path != module {
		return ErrForeign
	}
	return nil
}

// installed is the path by which the PATH finds self, "" when it does not.
func installed(self string) string {
	path, err := exec.LookPath("bailey")
	if err != nil {
		return ""
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return ""
	}
	a, errA := os.Stat(path)
	b, errB := os.Stat(self)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		return ""
	}
	return path
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
