//go:build linux

package e2e

import (
	"strings"
	"testing"
)

// TestAPatchIsTakenFromAProjectThatCanOnlyBeRead: the agent hands over a patch, which is reviewed like any change.
func TestAPatchIsTakenFromAProjectThatCanOnlyBeRead(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.must("run", "--name", "reader", "--quiet", "shell", ".:ro", "--", "-c", "true")
	if got := u.inside("reader", "echo x > src/main.go 2>&1; git clone -q . /tmp/w && cd /tmp/w && echo patched > src/main.go && echo new > src/new.go && git add . && git diff --cached > /tmp/fix.patch; echo made"); !strings.Contains(got, "Read-only file system") || !strings.HasSuffix(got, "made\n") {
		t.Fatalf("inside: %s", got)
	}
	before := u.snapshot()
	if out := u.must("take", "reader:/tmp/fix.patch"); out != "reader-patch\n" {
		t.Errorf("it printed %q", out)
	}
	if u.snapshot() != before {
		t.Error("the project changed before anything was approved")
	}
	if out := u.bailey("take", "reader:/tmp/fix.patch"); out.code != 125 || !strings.Contains(out.stderr, "has a patch that was taken before") {
		t.Errorf("a second one: %+v", out)
	}
	if out := u.must("diff", "--name-only", "reader-patch"); out != "src/main.go\nsrc/new.go\n" {
		t.Errorf("to review is %q", out)
	}
	u.must("diff", "reader-patch")
	u.must("apply", "reader-patch")
	if got := u.host("cat src/main.go src/new.go"); got != "patched\nnew\n" {
		t.Errorf("the project has %q", got)
	}
	u.must("rm", "reader-patch")

	// What git does not take leaves nothing behind.
	for what, script := range map[string]string{
		"no patch":       "echo hello > /tmp/p",
		"nothing":        "> /tmp/p",
		"an absent one":  "rm -f /tmp/p",
		"out of it":      `printf -- '--- /dev/null\n+++ b/../../out\n@@ -0,0 +1 @@\n+x\n' > /tmp/p`,
		"a hook":         `printf -- '--- /dev/null\n+++ b/.git/hooks/post-checkout\n@@ -0,0 +1 @@\n+x\n' > /tmp/p`,
		"through a link": `printf 'diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/tmp\n\\ No newline at end of file\ndiff --git a/l/x b/l/x\nnew file mode 100644\n--- /dev/null\n+++ b/l/x\n@@ -0,0 +1 @@\n+x\n' > /tmp/p`,
		"escapes":        `printf 'diff --git a/\033]0;x\007 b/y\n--- a/\033[31m\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n' > /tmp/p`,
	} {
		u.inside("reader", script)
		before := u.snapshot()
		out := u.bailey("take", "reader:/tmp/p")
		if out.code != 125 || strings.Contains(out.stderr, "\x1b") || strings.Count(strings.TrimSpace(out.stderr), "\n") > 1 {
			t.Errorf("%s: %+v", what, out)
		}
		if list := u.must("ls", "-aq"); list != "reader\n" || u.snapshot() != before {
			t.Errorf("%s left %q", what, list)
		}
	}
}
