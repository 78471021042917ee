//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// box starts a sandbox without an agent, called box, in the project.
func (u *user) box(flags ...string) {
	u.t.Helper()
	u.must(append(append([]string{"create", "--name", "box"}, flags...), "shell", ".")...)
	u.must("start", "box")
}

// outside runs a shell script on the host, in the project, and returns what it prints, errors too. It is the
// control of inside.
func (u *user) outside(script string) string {
	u.t.Helper()
	cmd := exec.Command("sh", "-c", "exec 2>&1\n"+script+"\ntrue")
	cmd.Dir, cmd.Env = u.project, u.env
	out := u.run(cmd)
	if out.code != 0 {
		u.t.Fatalf("%s: exit code %d\n%s", script, out.code, out.stdout)
	}
	return out.stdout
}

func TestWhatBelongsToTheUserIsNotInside(t *testing.T) {
	u := newUser(t)
	u.write("src/shop/.env", "KEY=CANARY-DOTENV\n")
	u.write("src/shop/deploy/server.pem", "CANARY-KEY\n")
	u.env = append(u.env, "CANARY_VARIABLE=CANARY-VARIABLE")
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = bystander.Process.Kill()
		_ = bystander.Wait()
	}()
	pid := bystander.Process.Pid
	u.box()
	for _, c := range []struct{ name, probe, canary string }{
		{"a file of the home", "cat ~/canary.txt; cat " + shell(u.home+"/canary.txt"), "CANARY-HOME"},
		{"the home's list", "ls -A ~", "canary.txt"},
		{"the SSH key", "cat ~/.ssh/id_rsa", "CANARY-SSH"},
		{"the cloud's credentials", "cat ~/.aws/credentials", "CANARY-AWS"},
		{"another project", "cat ../bank/ledger.md", "CANARY-OTHER-PROJECT"},
		{"the projects' list", "ls -A ..", "bank"},
		{"the home by a process's root", "cat /proc/*/root" + shell(u.home) + "/canary.txt", "CANARY-HOME"},
		{"the home by a process's directory", "cat /proc/*/cwd/../bank/ledger.md", "CANARY-OTHER-PROJECT"},
		{"the project's secrets", "cat .env", "CANARY-DOTENV"},
		{"the project's keys", "cat deploy/server.pem", "CANARY-KEY"},
		{"the caller's environment", "env; cat /proc/*/environ", "CANARY-VARIABLE"},
		{"the host's processes", fmt.Sprintf("cat /proc/%d/environ /proc/%d/comm && echo IS-THERE", pid, pid), "IS-THERE"},
		{"the host's name", "cat /proc/sys/kernel/hostname", hostname(t)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := u.outside(c.probe); !strings.Contains(got, c.canary) {
				t.Fatalf("the control found nothing on the host: %s", got)
			}
			if got := u.inside("box", c.probe); strings.Contains(got, c.canary) {
				t.Errorf("it is there inside: %s", got)
			}
		})
	}
	if got := u.inside("box", "cat README.md"); got != "the shop, before\n" {
		t.Errorf("the project itself reads %q", got)
	}
	u.environmentsLack("CANARY-VARIABLE")
}

func hostname(t *testing.T) string {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// environmentsLack looks from outside at every process that serves the user's sandboxes.
func (u *user) environmentsLack(canary string) {
	u.t.Helper()
	seen := 0
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		data, _ := os.ReadFile(file) // of others and of those that hide it, nothing
		if !strings.Contains(string(data), "HOME="+u.home+"\x00") {
			continue
		}
		seen++
		if strings.Contains(string(data), canary) {
			u.t.Errorf("%s has %s", file, canary)
		}
	}
	if seen == 0 {
		u.t.Error("no process of the sandbox was found to look at")
	}
}

func TestAnInheritedDescriptorEndsAtTheSandbox(t *testing.T) {
	u := newUser(t)
	slash, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer slash.Close()
	// Descriptor 7 is the host's root directory, as in CVE-2024-21626.
	inherit := func(cmd *exec.Cmd) result {
		cmd.ExtraFiles = []*os.File{nil, nil, nil, nil, slash}
		return u.run(cmd)
	}
	probe := "cat /proc/*/fd/7" + shell(u.home) + "/canary.txt; true"
	control := exec.Command("sh", "-c", probe)
	if got := inherit(control).stdout; !strings.Contains(got, "CANARY-HOME") {
		t.Fatalf("the control found nothing: %q", got)
	}
	if out := inherit(u.command("run", "--name", "box", "shell", ".", "--", "-c", probe)); strings.Contains(out.stdout, "CANARY-HOME") || out.code != 0 {
		t.Errorf("the agent: %+v", out)
	}
	if out := inherit(u.command("exec", "box", "sh", "-c", probe)); strings.Contains(out.stdout, "CANARY-HOME") || out.code != 0 {
		t.Errorf("a command: %+v", out)
	}
	// Nor does it live on in the process that stays outside.
	held, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", u.supervisor("box")))
	if err != nil || len(held) == 0 {
		t.Fatalf("the supervisor's descriptors cannot be seen: %v", err)
	}
	for _, fd := range held {
		if target, _ := os.Readlink(fd); target == "/" {
			t.Errorf("the supervisor holds %s", fd)
		}
	}
}

func TestGitWorksButNothingInItCanBeMadeToRunOnTheHost(t *testing.T) {
	u := newUser(t)
	u.env = append(u.env, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	commit := "git -c user.name=ann -c user.email=ann@shop.test commit -q --allow-empty -m "
	u.outside("git init -q -b main . && git add -A && " + commit + "first && cp -a . ../control")
	u.box()
	for _, c := range []struct{ name, attack, trace string }{
		{"moving .git away", "mv .git .old", ".old"},
		{"writing a hook", "echo evil > .git/hooks/pre-commit", ".git/hooks/pre-commit"},
		{"renaming the hooks", "mv .git/hooks .git/mine", ".git/mine"},
		{"writing a configuration for one tree", "echo '[core]' > .git/config.worktree", ".git/config.worktree"},
		{"writing attributes", "echo '* filter=evil' > .git/info/attributes", ".git/info/attributes"},
		{"setting a variable", "git config core.fsmonitor evil && touch SET", "SET"},
		{"replacing the configuration", "cp .git/config x && mv x .git/config && touch REPLACED; rm -f x", "REPLACED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			exists := func(dir string) bool {
				_, err := os.Lstat(filepath.Join(u.home, "src", dir, c.trace))
				return err == nil
			}
			// A fresh copy each, because the attacks work there.
			u.outside("rm -rf ../victim && cp -a ../control ../victim && cd ../victim && { " + c.attack + "; }")
			if !exists("victim") {
				t.Fatal("the control shows that the attack does not even work without a sandbox")
			}
			got := u.inside("box", c.attack)
			// What did not exist before is taken away as it appears.
			if !machine.Poll(2*time.Second, func() bool { return !exists("shop") }) {
				t.Errorf("it worked: %s", got)
			}
		})
	}
	u.inside("box", "echo more > new.txt; git add new.txt && "+commit+"second")
	if got := u.outside("git log --format=%s; git status --short"); got != "second\nfirst\n" {
		t.Errorf("on the host git says %q", got)
	}
	err := filepath.WalkDir(filepath.Join(u.project, ".git"), func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			owned(t, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
