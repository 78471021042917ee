package engines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Room is where tools without a daemon run: a mount and a network namespace, which every command enters by
// nsenter (half a millisecond). Whoever opened it closes it.
type Room struct {
	dir    string
	holder *exec.Cmd
	image  Image
}

// OpenRoom opens a room; what its tools keep lies in dir.
func OpenRoom(dir string, image Image) (*Room, error) {
	if err := need(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	r := &Room{dir: dir, image: image}
	// Tools keep locks and leases in /run and /var/lib. crun refuses two hierarchies of control groups, and takes
	// the older when it sees only that.
	r.holder = unshare(`set -e; ip link set lo up; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib; mkdir /run/lock
		if mountpoint --quiet /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
		echo open; exec sleep infinity`)
	out, err := r.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.holder.Start(); err != nil {
		return nil, err
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		return nil, errors.Join(errors.New("cannot make mount and network namespaces"), r.holder.Wait())
	}
	return r, nil
}

// argv is the command, run in the room.
func (r *Room) argv(command ...string) []string {
	return append([]string{"nsenter", "--target", strconv.Itoa(r.holder.Process.Pid), "--mount", "--net", "--"}, command...)
}

// output runs the command in the room and returns what it printed.
func (r *Room) output(ctx context.Context, command ...string) (string, error) {
	argv := r.argv(command...)
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", command[0], err, bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out)), nil
}

// Podman is the podman command with these arguments.
func (r *Room) Podman(args ...string) []string { return r.argv(r.podman(args...)...) }

func (r *Room) podman(args ...string) []string {
	return append([]string{"podman", "--root", r.dir + "/storage", "--runroot", r.dir + "/run", "--tmpdir", r.dir + "/tmp",
		"--network-config-dir", r.dir + "/networks", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "crun"}, args...)
}

// PodmanRun is podman run with these arguments. Its limits are such that nobody need be allowed to raise any.
func (r *Room) PodmanRun(args ...string) []string { return r.argv(r.podmanRun(args...)...) }

func (r *Room) podmanRun(args ...string) []string {
	return r.podman(append([]string{"run", "--cgroup-parent", "/" + group, "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"}, args...)...)
}

// PodmanContainer gives podman the image and returns a container of it that waits.
func (r *Room) PodmanContainer(ctx context.Context) (string, error) {
	if err := need("podman", "crun"); err != nil {
		return "", err
	}
	if _, err := r.output(ctx, r.podman("import", r.image.tar, ImageName)...); err != nil {
		return "", err
	}
	return r.output(ctx, r.podmanRun("--detach", "--quiet", "--network", "none", ImageName, "/true", "wait")...)
}

// Bundle is runtime's own run command, for a bundle of the image with the configuration that the runtime proposes.
func (r *Room) Bundle(ctx context.Context, runtime string) ([]string, error) {
	if err := need(runtime); err != nil {
		return nil, err
	}
	dir := filepath.Join(r.dir, runtime)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	spec := exec.CommandContext(ctx, runtime, "spec")
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot make a bundle: %w: %s", err, bytes.TrimSpace(out))
	}
	if err := configure(filepath.Join(dir, "config.json"), r.image.root); err != nil {
		return nil, err
	}
	return r.argv(runtime, "--root", dir+"/state", "run", "--bundle", dir, group+"-"+runtime), nil
}

// configure has the bundle run /true of root, without a terminal.
func configure(path, root string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(content, &config); err != nil {
		return err
	}
	process, ok := config["process"].(map[string]any)
	if !ok {
		return errors.New("the runtime proposes no process")
	}
	process["terminal"], process["args"] = false, []string{"/true"}
	config["root"] = map[string]any{"path": root, "readonly": true}
	if content, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// Close ends what runs in the room.
func (r *Room) Close() error {
	var err error
	if _, missing := exec.LookPath("podman"); missing == nil {
		_, err = r.output(context.Background(), r.podman("rm", "--all", "--force", "--time", "0")...)
	}
	_ = r.holder.Process.Kill()
	_ = r.holder.Wait()
	removeGroups()
	return err
}
