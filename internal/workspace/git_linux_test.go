package workspace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// planVariable makes the test binary mount a plan in its own namespace and become the given command.
const planVariable = "BAILEY_TEST_PLAN"

func TestMain(m *testing.M) {
	if mounts := os.Getenv(planVariable); mounts != "" {
		if err := enter(mounts, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "cannot set up the test's mounts:", err)
			os.Exit(99)
		}
	}
	os.Exit(m.Run())
}

// enter does with a plan what a backend does, as simply as possible: it does not pin the directories
// between a protected path and its bind.
func enter(planned string, argv []string) error {
	var mounts []sandbox.Mount
	if err := json.Unmarshal([]byte(planned), &mounts); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return err
	}
	// Sources are the host's, whatever an earlier mount has laid over them.
	sources := map[string]string{}
	for _, m := range mounts {
		if m.Kind == sandbox.MountBind {
			fd, err := unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
			if err != nil {
				return fmt.Errorf("%+v: %w", m, err)
			}
			sources[m.Source] = fmt.Sprintf("/proc/self/fd/%d", fd)
		}
	}
	for _, m := range mounts {
		source := m.Target
		switch m.Kind {
		case sandbox.MountBind:
			source = sources[m.Source]
		case sandbox.MountHidden:
			source = "/dev/null"
		}
		if err := unix.Mount(source, m.Target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("%+v: %w", m, err)
		}
		if m.ReadOnly || m.Kind == sandbox.MountProtected || m.Kind == sandbox.MountHidden {
			attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
			if err := unix.MountSetattr(unix.AT_FDCWD, m.Target, unix.AT_RECURSIVE, attr); err != nil {
				return fmt.Errorf("%+v: %w", m, err)
			}
		}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, argv, os.Environ())
}

// gitEnv is an environment in which git does not see the tester's own configuration.
func gitEnv(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_ALLOW_PROTOCOL=file",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@test", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@test"}
}

// shell runs the script in dir on the host.
func shell(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir, cmd.Env = dir, gitEnv(dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// inside prepares the script to run in the workspace of the plan.
func inside(t *testing.T, p Plan, script string) *exec.Cmd {
	t.Helper()
	mounts, err := json.Marshal(p.Mounts)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "sh", "-c", script)
	cmd.Env = append(gitEnv(t.TempDir()), planVariable+"="+string(mounts), "PWD="+p.ws)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
	}
	return cmd
}

func needGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	cmd := inside(t, Plan{Mounts: []sandbox.Mount{}}, "exit 0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("cannot make namespaces here: %v %s", err, out)
	}
}

// lost runs attacks, one to a line, and returns those that succeeded.
func lost(t *testing.T, p Plan, legitimate string, attacks []string) (succeeded []string) {
	t.Helper()
	script := "cd '" + p.ws + "' || exit 98\nset -e\n" + legitimate + "\nset +e\necho WORKED\n"
	for _, a := range attacks {
		script += "( " + a + " ) >/dev/null 2>&1 && echo 'LOST " + a + "'\n"
	}
	out, err := inside(t, p, script+"exit 0").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("WORKED\n")) {
		t.Fatalf("legitimate work failed: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if a, ok := strings.CutPrefix(line, "LOST "); ok {
			succeeded = append(succeeded, strings.TrimSuffix(a, "\n"))
		}
	}
	return succeeded
}

func TestRealGitUnderThePlan(t *testing.T) {
	needGit(t)
	const work = "echo x >>f; git status; git add f; git commit -qm inside; git branch topic; git checkout -q topic; git stash list; git log --oneline"
	for what, c := range map[string]struct {
		setup   string // in the parent directory
		ws      string
		common  string
		attacks []string
	}{
		"an ordinary repository": {"git init -q ws; cd ws; echo SECRET >.env; git commit -q --allow-empty -m first", "ws", "ws/.git", []string{
			"git config core.fsmonitor evil", "echo evil >>.git/config", "echo evil >.git/hooks/pre-commit", "echo evil >.git/info/attributes",
			"rm .git/config", "mv .git/config .git/old", "mv .git/hooks .git/old", "mv .git aside && cp -r aside .git", "grep -q SECRET .env", "rm .env"}},
		"a linked worktree": {"git init -q main; cd main; git commit -q --allow-empty -m first; git worktree add -q ../ws", "ws", "main/.git", []string{
			"git config core.fsmonitor evil", "echo evil >>$C/config", "echo evil >$C/hooks/pre-commit", "mv $C/hooks $C/old", "echo evil >$C/worktrees/ws/commondir",
			"echo evil >$C/config.worktree", "echo evil >>$C/HEAD", "mkdir $C/worktrees/other", "echo /x >$C/objects/info/alternates", "echo gitdir: /x >.git"}},
		"a submodule": {"git init -q lib; git -C lib commit -q --allow-empty -m first; git init -q top; cd top; git submodule --quiet add ../lib sub; mv ../top ../x; mv ../x ../top",
			"top/sub", "top/.git/modules/sub", []string{
				"git config core.fsmonitor evil", "echo evil >>$C/config", "echo evil >$C/hooks/pre-commit", "echo gitdir: /x >.git"}},
	} {
		t.Run(what, func(t *testing.T) {
			dir := tempDir(t)
			shell(t, dir, c.setup)
			ws, common := dir+"/"+c.ws, dir+"/"+c.common
			config, err := os.ReadFile(common + "/config")
			if err != nil {
				t.Fatal(err)
			}
			p := plan(t, ws, Options{})
			expectNotice(t, p)
			legitimate := "C='" + common + "'\n" + work
			if got := lost(t, p, legitimate, c.attacks); len(got) != 0 {
				t.Errorf("inside these worked: %q", got)
			}
			if log := shell(t, ws, "git log --oneline topic"); strings.Count(log, "\n") != 2 {
				t.Errorf("on the host the log is %q", log)
			}
			if now, err := os.ReadFile(common + "/config"); err != nil || !bytes.Equal(now, config) {
				t.Errorf("the configuration became %q, %v", now, err)
			}
			// The control: each attack by itself works where there is no plan.
			for _, a := range c.attacks {
				dir := tempDir(t)
				shell(t, dir, c.setup)
				weak := Plan{ws: dir + "/" + c.ws, Mounts: []sandbox.Mount{{Kind: sandbox.MountBind, Source: dir, Target: dir}}}
				if got := lost(t, weak, "C='"+dir+"/"+c.common+"'", []string{a}); len(got) != 1 {
					t.Errorf("without a plan this does not work either: %q", a)
				}
			}
		})
	}
}

// A protecting mount goes when the host replaces the file. git's own configuration is then kept by its content.
func TestAConfigurationThatTheHostReplacedCannotBite(t *testing.T) {
	needGit(t)
	dir := tempDir(t)
	ws := dir + "/ws"
	shell(t, dir, "git init -q ws; mkfifo ready go")
	p := plan(t, ws, Options{})
	hits, _ := guardPlan(t, p)
	cmd := inside(t, p, "cd '"+ws+"'; echo a >>.git/config; echo >../ready; read x <../go; printf '[core]\n\tpager = evil\n' >>.git/config")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shell(t, dir, "read x <ready; git -C ws config user.name ada")
	// What the guard has seen of the user's it keeps; what the agent overtook it moves away with the agent's.
	expectHit(t, hits, HitConfig, ws+"/.git/config")
	shell(t, dir, "echo >go")
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var moved Hit
	select {
	case moved = <-hits:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened to what the agent wrote, or this kernel kept the mount")
	}
	evil, err := os.ReadFile(moved.MovedTo)
	if err != nil || !bytes.Contains(evil, []byte("pager = evil")) || bytes.Contains(evil, []byte("\na\n")) {
		t.Errorf("moved away was %q, %v; the agent's first line must not be there, its second must", evil, err)
	}
	// What the user wrote meanwhile is kept, and can go on being written.
	shell(t, ws, "git config branch.x.remote origin; git config user.name; test -z \"$(git config core.pager)\"")
	data, err := os.ReadFile(ws + "/.git/config")
	if err != nil || !bytes.Contains(data, []byte("ada")) || !bytes.Contains(data, []byte("origin")) || bytes.Contains(data, []byte("evil")) {
		t.Errorf("the configuration is %q, %v", data, err)
	}
}
