//go:build linux

package fault

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// TestAKilledSupervisorsLastLookIsTakenLater has an agent prepare a repository for the host's git while its
// supervisor cannot look, and kills that.
func TestAKilledSupervisorsLastLookIsTakenLater(t *testing.T) {
	for _, next := range [][]string{{"start", "box"}, {"rm", "box"}} {
		t.Run(next[0], func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			project := filepath.Join(t.TempDir(), "project")
			own := filepath.Join(project, "own/.git/hooks/pre-commit")
			hook := filepath.Join(project, "new/.git/hooks/pre-commit")
			if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
				t.Fatal(err)
			}
			for path, text := range map[string]string{own: "#!/bin/sh\n", filepath.Join(project, "own/.git/HEAD"): "ref: refs/heads/main\n"} {
				if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, dir := range []string{"own/.git/objects", "own/.git/refs"} {
				if err := os.Mkdir(filepath.Join(project, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			must(t, l, "create", "--name", "box", "shell", project)
			must(t, l, "run", "-d", "box", "--", "-c", `until [ -e go ]; do sleep 0.05; done
				mkdir -p new/.git/hooks new/.git/objects new/.git/refs && echo ref: refs/heads/main > new/.git/HEAD
				echo 'echo pwned' > new/.git/hooks/pre-commit && chmod +x new/.git/hooks/pre-commit && touch done; sleep 1000`)
			pid := supervisor(t, l, "box")
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(project, "go"), nil, 0o666); err != nil {
				t.Fatal(err)
			}
			machine.Poll(5*time.Second, func() bool { return exists(filepath.Join(project, "done")) })
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if all, err := l.Settled(); err != nil || all["box"] != "stopped" {
				t.Fatalf("listed as %v, %v", all, err)
			}
			if !exists(hook) {
				t.Fatal("the control: the hook is not there although nobody looked")
			}
			must(t, l, next...)
			if exists(hook) {
				t.Error("the agent's hook is still there")
			}
			if !exists(own) {
				t.Error("the user's own hook is gone")
			}
			if next[0] == "start" {
				must(t, l, "stop", "box")
				if exists(filepath.Join(l.Sandbox("box"), "guarded.json")) {
					t.Error("after an orderly end a last look is still owed")
				}
				must(t, l, "rm", "box")
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
