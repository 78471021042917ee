// Package engines lends container engines to a benchmark: installed programs, run in mount and network
// namespaces of their own with their data in a directory of the benchmark's, so that they change nothing of
// the host's and nothing of them stays. It pulls nothing. Needs root.
package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/bench/yard"
)

// ImageName is what every engine calls the image.
const ImageName = "bench/true"

// group is the cgroup that containers live in.
const group = "bailey-bench"

// Image holds only /true, which waits when it is given an argument (see scratch).
type Image struct{ root, tar string }

// MakeImage makes the image in dir.
func MakeImage(ctx context.Context, dir string) (Image, error) {
	m := Image{root: filepath.Join(dir, "root"), tar: filepath.Join(dir, "image.tar")}
	if err := yard.Build(ctx, filepath.Join(m.root, "true"), "bench/engines/scratch"); err != nil {
		return m, err
	}
	if out, err := exec.CommandContext(ctx, "tar", "--create", "--file", m.tar, "--directory", m.root, "true").CombinedOutput(); err != nil {
		return m, fmt.Errorf("cannot pack the image: %w: %s", err, out)
	}
	return m, nil
}

// need says what is missing to run the commands here.
func need(commands ...string) error {
	if os.Getuid() != 0 {
		return errors.New("engines need root")
	}
	for _, name := range append(commands, "unshare", "nsenter") {
		if _, err := exec.LookPath(name); err != nil {
			return errors.New(name + " is not installed")
		}
	}
	return nil
}

// unshare is a script in mount and network namespaces of its own. A terminal's interrupt does not reach it: what
// runs there is ended in order.
func unshare(script string, args ...string) *exec.Cmd {
	cmd := exec.Command("unshare", append([]string{"--mount", "--net", "--propagation", "private", "bash", "-c", script, "bash"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// removeGroups removes what containers, and podman's conmon, leave below the host's control groups, as soon as
// their last processes have ended. A directory that the kernel keeps busy for longer does no harm.
func removeGroups() {
	for range 20 {
		left := 0
		for _, pattern := range []string{"*/" + group + "/conmon", group + "/conmon", "*/" + group, group} {
			found, _ := filepath.Glob("/sys/fs/cgroup/" + pattern)
			for _, dir := range found {
				if os.Remove(dir) != nil {
					left++
				}
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
