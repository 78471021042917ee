//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// user is somebody with a home directory and a project in it, who runs bailey.
type user struct {
	t       *testing.T
	home    string
	project string // ~/src/shop, where commands run
	env     []string
}

// newUser makes a home with what homes hold. When the test ends, nothing of its sandboxes may remain.
func newUser(t *testing.T) *user {
	t.Helper()
	home := filepath.Join(t.TempDir(), "ann")
	u := &user{t: t, home: home, project: filepath.Join(home, "src/shop"), env: environment(t, home)}
	for path, content := range map[string]string{
		".ssh/id_rsa":        "CANARY-SSH\n",
		".aws/credentials":   "CANARY-AWS\n",
		"canary.txt":         "CANARY-HOME\n",
		".local/share/other": "",
		".local/state/other": "",
		"src/bank/ledger.md": "CANARY-OTHER-PROJECT\n",
		"src/shop/README.md": "the shop, before\n",
	} {
		u.write(path, content)
	}
	if out := u.bailey("doctor"); out.code != 0 {
		machine.Lack(t, "namespace", out.stdout+out.stderr)
	}
	t.Cleanup(u.leave)
	return u
}

// environment is a login's, not the test's: what the machine needs to reach registries is kept.
func environment(t *testing.T, home string) []string {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"HOME=" + home, "USER=ann", "LOGNAME=ann", "SHELL=/bin/sh", "LANG=C.UTF-8", "TERM=xterm-256color",
		"PATH=" + filepath.Join(os.Getenv(rootVariable), "bin") + ":" + os.Getenv("PATH"),
	}
	if os.Getenv(cellVariable) == "" {
		// Agents are fetched once for a machine, not once for each test.
		env = append(env, "XDG_DATA_HOME="+filepath.Join(cache, "bailey-test"))
	}
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(strings.ToLower(kv), "=")
		if strings.HasSuffix(key, "_proxy") || strings.HasPrefix(key, "npm_config_") || strings.HasPrefix(key, "ssl_cert_") {
			env = append(env, kv)
		}
	}
	return env
}

// write makes a file below the home.
func (u *user) write(path, content string) {
	u.t.Helper()
	path = filepath.Join(u.home, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		u.t.Fatal(err)
	}
}

// read returns a file of the project, "" and a failure where it cannot be read.
func (u *user) read(name string) string {
	u.t.Helper()
	data, err := os.ReadFile(filepath.Join(u.project, name))
	if err != nil {
		u.t.Error(err)
	}
	return string(data)
}

// result is how a command ended; code is -1 when it was killed because it took too long.
type result struct {
	stdout, stderr string
	code           int
}

// commandTime is what no command of a test needs, not even one that fetches an agent or compiles everything.
const commandTime = 5 * time.Minute

// bailey runs one in the project, without a terminal and without input.
func (u *user) bailey(args ...string) result {
	u.t.Helper()
	return u.run(u.command(args...))
}

func (u *user) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(os.Getenv(rootVariable), "bin", "bailey"), args...)
	cmd.Dir, cmd.Env = u.project, u.env
	return cmd
}

func (u *user) run(cmd *exec.Cmd) result {
	u.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must is bailey for what has to work; it returns stdout.
func (u *user) must(args ...string) string {
	u.t.Helper()
	out := u.bailey(args...)
	if out.code != 0 {
		u.t.Fatalf("bailey %q: exit code %d\n%s%s", args, out.code, out.stdout, out.stderr)
	}
	return out.stdout
}

// inside runs a shell script in the running sandbox box and returns what it prints, errors too.
func (u *user) inside(box, script string) string {
	u.t.Helper()
	return u.must("exec", box, "sh", "-c", "exec 2>&1\n"+script+"\ntrue")
}

// sandboxDir is where the state of a sandbox lies.
func (u *user) sandboxDir(name string) string {
	return filepath.Join(u.home, ".local/state/bailey/sandboxes", name)
}

// leave removes the user's sandboxes; whatever is then left is a failure.
func (u *user) leave() {
	if names := strings.Fields(u.bailey("ls", "-aq").stdout); len(names) > 0 {
		if u.t.Failed() {
			for _, name := range names {
				log, _ := os.ReadFile(filepath.Join(u.sandboxDir(name), "supervisor.log"))
				u.t.Logf("the log of %s:\n%s", name, log)
			}
		}
		u.must(append([]string{"rm", "-f"}, names...)...)
	}
	u.noSandboxes()
}

// noSandboxes fails when the state directory has any, half-made and half-removed ones too. A removal may still
// be under way: the name is free before the last file is gone.
func (u *user) noSandboxes() {
	u.t.Helper()
	var entries []os.DirEntry
	if !machine.Poll(5*time.Second, func() bool { entries, _ = os.ReadDir(u.sandboxDir("")); return len(entries) == 0 }) {
		u.t.Errorf("left in the state directory: %v", entries)
	}
}

// supervisor is the number of the process that supervises a running sandbox.
func (u *user) supervisor(box string) int {
	u.t.Helper()
	data, err := os.ReadFile(filepath.Join(u.sandboxDir(box), "lock"))
	if err != nil {
		u.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		u.t.Fatal(err)
	}
	return pid
}

// killSupervisor kills the sandbox's supervisor with SIGKILL, as the kernel does when memory is short.
func (u *user) killSupervisor(box string) {
	u.t.Helper()
	if err := syscall.Kill(u.supervisor(box), syscall.SIGKILL); err != nil {
		u.t.Fatal(err)
	}
}
