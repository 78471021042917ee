//go:build linux

package escape

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// world is a user's home with projects in it, and one backend.
type world struct {
	dir, home, tools, bailey string
	hostTree, canary         string
	backend                  string
	root                     bool
	env                      []string
	shared                   *project         // for attacks that need no project of their own
	said                     string           // by the last control
	internet                 func() *internet // the same for every case, and made for the first
	enter                    func(*exec.Cmd)  // moves a command into other namespaces; nil leaves it where it is
}

// project is a directory and the name of its sandbox.
type project struct{ dir, box string }

// newWorld makes a home and, in the shared project, a running sandbox.
func newWorld(t *testing.T, backend string) *world {
	t.Helper()
	if _, err := exec.LookPath("bwrap"); err != nil {
		machine.Lack(t, "bubblewrap", err.Error())
	}
	if _, err := exec.LookPath("git"); err != nil {
		machine.Lack(t, "git", err.Error())
	}
	root := os.Getenv(rootVariable)
	w := &world{dir: t.TempDir(), tools: filepath.Join(root, "tools"), bailey: filepath.Join(root, "bin", "bailey"), backend: backend, root: os.Getuid() == 0}
	w.home = filepath.Join(w.dir, "ann")
	w.hostTree, w.canary = filepath.Join(w.home, "elsewhere"), filepath.Join(w.home, "elsewhere", "canary")
	w.env = []string{
		"HOME=" + w.home, "USER=ann", "LOGNAME=ann", "SHELL=/bin/sh", "LANG=C.UTF-8", "TERM=xterm", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + w.dir,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "FOO=HOSTSECRET",
	}
	for _, d := range []string{w.hostTree, filepath.Join(w.home, "src"), filepath.Join(w.home, ".ssh"), filepath.Join(w.home, ".claude")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{w.canary: "CANARY\n", w.home + "/.ssh/id_rsa": "CANARY\n", w.home + "/.claude/CLAUDE.md": "be kind\n", w.home + "/.bashrc": "true\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	doctor := exec.Command(w.bailey, "doctor")
	doctor.Env = w.env
	if out, err := doctor.CombinedOutput(); err != nil {
		machine.Lack(t, backend, string(out))
	}
	w.internet = sync.OnceValue(func() *internet { return startInternet(t, w) })
	w.shared = w.newProject(t, "shared", "")
	w.start(t, w.shared)
	t.Cleanup(func() { w.remove(t, w.shared) })
	return w
}

// newProject makes a repository as people have them, and lets setup change it.
func (w *world) newProject(t *testing.T, name, setup string) *project {
	t.Helper()
	p := &project{dir: filepath.Join(w.home, "src", name), box: name}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Attacks take away the rights that removing needs.
		_ = filepath.WalkDir(p.dir, func(path string, d os.DirEntry, err error) error {
			if d != nil && d.IsDir() {
				_ = os.Chmod(path, 0o700)
			}
			return nil
		})
	})
	out := w.outside(t, p, `set -e
git init -q -b main . && git config user.name ann && git config user.email ann@shop.test
mkdir -p src && echo 'the shop' > README.md && echo 'int main(){}' > src/main.c && printf 'A=CANARY\n' > .env && echo .env > .gitignore
git add -A && git commit -qm first
`+setup+"\necho READY")
	if !strings.HasSuffix(out, "READY\n") {
		t.Fatalf("cannot make the project: %s", out)
	}
	return p
}

func (w *world) start(t *testing.T, p *project, flags ...string) {
	t.Helper()
	args := []string{"create", "--name", p.box, "--backend", w.backend, "-v", w.tools + ":" + w.tools + ":ro"}
	for _, f := range flags {
		args = append(args, w.expand(p, f))
	}
	w.must(t, p, append(args, "shell", p.dir)...)
	w.must(t, p, "start", p.box)
}

func (w *world) remove(t *testing.T, p *project) {
	t.Helper()
	if t.Failed() {
		log, _ := os.ReadFile(filepath.Join(w.boxDir(p), "supervisor.log"))
		t.Logf("the log of %s:\n%s", p.box, log)
	}
	w.must(t, p, "rm", "-f", p.box)
}

// boxDir is where the sandbox's state lies.
func (w *world) boxDir(p *project) string {
	return filepath.Join(w.home, ".local/state/bailey/sandboxes", p.box)
}

// must runs bailey for what has to work.
func (w *world) must(t *testing.T, p *project, args ...string) string {
	t.Helper()
	out, code := w.run(t, p, args...)
	if code != 0 {
		t.Fatalf("bailey %q: exit code %d\n%s", args, code, out)
	}
	return out
}

func (w *world) run(t *testing.T, p *project, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(w.bailey, args...)
	out := w.output(t, cmd, p)
	return out, cmd.ProcessState.ExitCode()
}

// output runs a command in the project, for at most two minutes, and returns all that it printed.
func (w *world) output(t *testing.T, cmd *exec.Cmd, p *project) string {
	t.Helper()
	var out bytes.Buffer
	if cmd.Dir == "" {
		cmd.Dir = p.dir
	}
	if w.enter != nil {
		w.enter(cmd)
	}
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env, &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatal(err)
	}
	return out.String()
}

// kind is the user's, for the table.
func (w *world) kind() string {
	if w.root {
		return "root"
	}
	u, err := user.Current()
	subordinate, _ := os.ReadFile("/etc/subuid")
	if err == nil && strings.Contains("\n"+string(subordinate), "\n"+u.Username+":") {
		return "ids"
	}
	return "plain"
}
