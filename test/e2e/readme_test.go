//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// TestTheReadmesCommandWorksOnAFreshClone is what somebody does who has just found the project: with an empty
// home, with and without a C compiler. What Go has downloaded and built before is shared, to save time.
func TestTheReadmesCommandWorksOnAFreshClone(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const command = "go run ./cmd/bailey run claude ."
	if !strings.Contains(string(readme), command) {
		t.Errorf("the README does not say %q", command)
	}
	for name, cgo := range map[string]string{"as the machine has it": "", "without a C compiler": "CGO_ENABLED=0"} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			u.needAgent("claude")
			u.emptyHome()
			u.project = filepath.Join(u.home, "bailey")
			u.clone()
			if cgo != "" {
				u.env = append(u.env, cgo)
			}
			for _, key := range []string{"GOMODCACHE", "GOCACHE", "GOPROXY", "GOFLAGS"} {
				out, err := exec.Command("go", "env", key).Output()
				if err != nil {
					t.Fatal(err)
				}
				u.env = append(u.env, key+"="+strings.TrimSpace(string(out)))
			}
			m := serveModel(t, modelapi.Run("head -n 1 README.md > title.txt"), modelapi.Say("FINISHED-ALL"))
			cmd := exec.Command("go", append([]string{"run", "./cmd/bailey"}, m.run("claude", ".", "--", "-p", "hi")...)...)
			cmd.Dir, cmd.Env = u.project, u.env
			if out := u.run(cmd); out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") {
				t.Errorf("%+v", out)
			}
			if got := u.read("title.txt"); got != "# bailey\n" {
				t.Errorf("the agent wrote %q", got)
			}
			m.answered(t, 1)
		})
	}
}

// emptyHome removes everything that newUser has put there.
func (u *user) emptyHome() {
	u.t.Helper()
	if err := os.RemoveAll(u.home); err != nil {
		u.t.Fatal(err)
	}
	if err := os.Mkdir(u.home, 0o755); err != nil {
		u.t.Fatal(err)
	}
}

// clone makes the user's project a clone of this repository, which may belong to somebody else.
func (u *user) clone() {
	u.t.Helper()
	source, err := filepath.Abs("../..")
	if err != nil {
		u.t.Fatal(err)
	}
	config := filepath.Join(u.t.TempDir(), "gitconfig")
	if err := os.WriteFile(config, []byte("[safe]\n\tdirectory = *\n"), 0o644); err != nil {
		u.t.Fatal(err)
	}
	cmd := exec.Command("git", "clone", "-q", "--no-local", source, u.project)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+config)
	if out, err := cmd.CombinedOutput(); err != nil {
		u.t.Fatalf("cannot clone: %v: %s", err, out)
	}
}
