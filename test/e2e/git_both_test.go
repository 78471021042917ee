//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A person and an agent work in one repository at the same time. Who finds the other's lock tries again, as
// git says; what was committed stays. Adding is tried again with the commit: a commit of single files reads the
// index before it locks it (git 2.39, builtin/commit.c), and so takes out what others add in that moment.
func TestThePersonAndTheAgentUseGitAtTheSameTime(t *testing.T) {
	const rounds = 15
	u := newUser(t)
	u.gitHome()
	u.outside("cp -a ../template/. . && echo 0 > edited && git add edited && git commit -qm edited")
	u.box()
	again := func(command string) string {
		return "n=0; until said=$({ " + command + "; } 2>&1); do n=$((n+1)); [ $n -lt 500 ] || { echo \"$said\"; exit 1; }; sleep 0.01; done\n"
	}
	worker := func(who string) string {
		return fmt.Sprintf("set -e; cd %s; for i in $(seq %d); do\necho $i > %[3]s.$i\n", shell(u.project), rounds, who) +
			again("git add "+who+".$i && git commit -qm "+who+".$i -- "+who+".$i") + again("git branch "+who+".$i") + "git status > /dev/null\ndone; echo DONE"
	}
	var all sync.WaitGroup
	all.Go(func() {
		if out := u.bailey("exec", "box", "sh", "-c", worker("agent")); !strings.HasSuffix(out.stdout, "DONE\n") {
			t.Errorf("the agent: %+v", out)
		}
	})
	all.Go(func() {
		// A repository's own settings are replaced as well, the first time around.
		if out := u.outside("(" + worker("person") + ")\ngit config user.nickname ann; git branch -q --set-upstream-to main person.1"); !strings.Contains(out, "DONE\n") {
			t.Errorf("the person: %s", out)
		}
	})
	all.Go(func() { // an editor, which saves in both ways
		for i := range rounds {
			text := fmt.Appendf(nil, "%d\n", i+1)
			path := filepath.Join(u.project, "edited")
			err := os.WriteFile(path, text, 0o644)
			if i%2 == 0 {
				if err = os.WriteFile(path+".new", text, 0o644); err == nil {
					err = os.Rename(path+".new", path)
				}
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	commits := u.outside("git log --format=%s")
	for i := 1; i <= rounds; i++ {
		for _, who := range []string{"agent", "person"} {
			if want := fmt.Sprintf("%s.%d\n", who, i); !strings.Contains(commits, want) {
				t.Errorf("lost: %s", want)
			}
		}
	}
	if got := u.inside("box", "cat edited"); got != fmt.Sprintf("%d\n", rounds) {
		t.Errorf("inside the editor's file has %q", got)
	}
	if got := u.outside("git fsck --strict --no-dangling; git diff --cached --stat; find .git -name '*.lock'"); strings.Trim(got, "\n") != "" {
		t.Errorf("the repository has: %s", got)
	}
	if got := u.outside("git branch --list | wc -l"); got != fmt.Sprintf("%d\n", 2*rounds+2) {
		t.Errorf("there are %s branches", got)
	}
	u.ownedTree(filepath.Join(u.project, ".git"))
}
