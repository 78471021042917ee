//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
	"github.com/bailey-sandbox/bailey/test/modelapi"
)

// host runs a shell script on the host, in the project.
func (u *user) host(script string) string {
	u.t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir, cmd.Env = u.project, u.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// repository makes the project a repository with some files, all of them committed.
func (u *user) repository() {
	u.t.Helper()
	u.host(`git init -q -b main . && git config user.name Ann && git config user.email ann@example.com
mkdir -p src docs && seq 1 60 > src/numbers && echo old > src/main.go && echo gone > docs/old.md && echo KEY=CANARY-ENV > .env && echo .env > .gitignore
echo '{"scripts":{"test":"true"}}' > package.json && git add -A && git commit -qm start`)
}

// review starts a shell in a sandbox called box under review, and has it run a script.
func (u *user) review(box, script string) {
	u.t.Helper()
	u.must("run", "--review", "--name", box, "--network", "none", "--credentials", "none", "shell", ".", "--", "-ec", script)
}

// snapshot is everything about the project's files that a reader could see.
func (u *user) snapshot() string {
	u.t.Helper()
	return u.host(`git status --porcelain --ignored; git rev-parse HEAD; git for-each-ref; find . -path ./.git/index -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; find . -printf '%p %y %m %l\n' | LC_ALL=C sort`)
}

func TestUnderReviewNothingLandsButWhatWasShownAndApproved(t *testing.T) {
	u := newUser(t)
	u.repository()
	before := u.snapshot()
	u.review("box", `sed -i 's/^5$/FIVE/; s/^50$/FIFTY/' src/numbers; echo new > src/main.go; rm -r docs; mkdir -p a/b; echo x > a/b/c; ln -s /etc/passwd out
echo '{"scripts":{"test":"true","postinstall":"sh -c evil"}}' > package.json; mkdir -p .vscode; echo '{}' > .vscode/tasks.json
printf '#!/bin/sh\necho evil\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; git config core.fsmonitor evil; printf '\0bin' > data.bin
test ! -s .env; git -c core.fsmonitor=false -c core.hooksPath=/dev/null add -A; git -c core.fsmonitor=false -c core.hooksPath=/dev/null commit -qm "the agent's"; echo later >> src/main.go`)
	if after := u.snapshot(); after != before {
		t.Errorf("before anything was applied, the project has changed:\n%s\n%s", before, after)
	}
	if out := u.must("ls"); !strings.Contains(out, u.project+" (review)") {
		t.Errorf("ls: %s", out)
	}
	if out := u.bailey("apply", "box"); out.code != 125 || !strings.Contains(out.stderr, "you have not seen") {
		t.Errorf("applied what was never shown: %+v", out)
	}
	var items []struct {
		Path  string
		Risks []struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(u.must("diff", "--json", "box")), &items); err != nil {
		t.Fatal(err)
	}
	var risky, harmless []string
	for _, i := range items {
		if len(i.Risks) > 0 {
			risky = append(risky, i.Path+" "+i.Risks[0].Kind)
		} else {
			harmless = append(harmless, i.Path)
		}
	}
	if want := []string{".vscode/tasks.json executes", "out leaves", "package.json builds"}; !slices.Equal(risky, want) {
		t.Errorf("risky are %q, not %q", risky, want)
	}
	if want := []string{"a/b/c", "data.bin", "docs/old.md", "src/main.go", "src/numbers"}; !slices.Equal(harmless, want) {
		t.Errorf("harmless are %q, not %q", harmless, want)
	}
	if out := u.bailey("apply", "box"); out.code != 125 { // no list shows contents
		t.Errorf("a list counts as shown: %+v", out)
	}
	diff := u.bailey("diff") // the sandbox of this directory
	if diff.code != 0 || !strings.Contains(diff.stderr, "3 of 8 changes need a look") || !strings.Contains(diff.stderr, ".git stays in the sandbox") {
		t.Errorf("diff: %d, %s", diff.code, diff.stderr)
	}
	// git takes the output as it is, and makes of it what the sandbox has.
	u.host(`rm -rf ../copy && git clone -q . ../copy`)
	u.write("src/copy.patch", diff.stdout)
	u.host(`cd ../copy && git apply ../copy.patch`)
	for _, name := range []string{"src/numbers", "src/main.go", "a/b/c", "package.json", "data.bin"} {
		if got, want := u.host("cat ../copy/"+name), u.inside("box", "cat "+name); got != want {
			t.Errorf("git apply made %s %q, and the sandbox has %q", name, got, want)
		}
	}
	out := u.bailey("apply", "box")
	if out.code != 1 || !strings.Contains(out.stdout, "applied 5 changes") || strings.Count(out.stderr, "left out: ") != 3 {
		t.Errorf("apply: %+v", out)
	}
	if got := u.host("cat src/main.go; cat a/b/c; ls docs out .vscode 2>/dev/null || true; git status --porcelain; git log --oneline | wc -l"); got !=
		"new\nlater\nx\n D docs/old.md\n M src/main.go\n M src/numbers\n?? a/\n?? data.bin\n1\n" {
		t.Errorf("applied is %q", got)
	}
	if got := u.host("cat .git/config; ls .git/hooks"); strings.Contains(got, "evil") || strings.Contains(got, "pre-commit\n") {
		t.Errorf("git's own files: %s", got)
	}
	// The rest is named, and committed by the user's own git: exactly what was shown, and none of the hooks runs.
	u.host(`printf '#!/bin/sh\ntouch HOOK\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit`)
	if out := u.bailey("apply", "box", "package.json", "--commit", "-m", "a script"); out.code != 0 || !strings.Contains(out.stdout, "commit ") {
		t.Errorf("apply --commit: %+v", out)
	}
	if got := u.host("git log -1 --format='%an %s'; git show HEAD:package.json; git show --stat --format= HEAD; ls HOOK 2>/dev/null || true"); got !=
		"Ann a script\n"+u.inside("box", "cat package.json")+" package.json | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n" {
		t.Errorf("committed is %q", got)
	}
	if got := u.host("git status --porcelain"); strings.Contains(got, "package.json") {
		t.Errorf("after the commit, git says %s", got)
	}
	u.must("rm", "-f", "box")
}

func TestWhatChangesAfterItWasShownIsNotApplied(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.review("box", "echo good > src/main.go; echo x > other")
	u.must("diff", "box")
	u.inside("box", "echo evil > src/main.go")
	before := u.snapshot()
	if out := u.bailey("apply", "box"); out.code != 125 || !strings.Contains(out.stderr, `"src/main.go" has changed since you saw it`) {
		t.Errorf("%+v", out)
	}
	if after := u.snapshot(); after != before {
		t.Errorf("something was applied:\n%s", after)
	}
	u.must("diff", "box") // the control
	u.must("apply", "box")
	if got := u.read("src/main.go"); got != "evil\n" {
		t.Errorf("src/main.go is %q", got)
	}
}

func TestTheUsersOwnEditsAreKept(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.review("box", "sed -i 's/^5$/FIVE/' src/numbers; echo agent > src/main.go")
	u.host("echo mine > src/main.go; echo note > mine.txt")
	u.must("diff", "box")
	if out := u.bailey("apply", "box"); out.code != 1 || !strings.Contains(out.stderr, "left out: src/main.go  conflict: ") {
		t.Errorf("%+v", out)
	}
	if got := u.host("cat src/main.go; sed -n 5p src/numbers; cat mine.txt"); got != "mine\nFIVE\nnote\n" {
		t.Errorf("the project has %q", got)
	}
	// Both go on with the same file, at its two ends.
	u.host("sed -i 's/^60$/SIXTY/' src/numbers")
	u.inside("box", "sed -i 's/^20$/TWENTY/' src/numbers")
	u.must("diff", "box")
	u.bailey("apply", "box")
	if got := u.host("sed -n '5p;20p;60p' src/numbers"); got != "FIVE\nTWENTY\nSIXTY\n" {
		t.Errorf("joined is %q", got)
	}
	u.must("apply", "--theirs", "box", "src/main.go")
	if got := u.read("src/main.go"); got != "agent\n" {
		t.Errorf("src/main.go is %q", got)
	}
	// After a restart the sandbox has what the project has.
	u.must("restart", "box")
	if got := u.inside("box", "sed -n '5p;20p;60p' src/numbers; cat mine.txt"); got != "FIVE\nTWENTY\nSIXTY\nnote\n" {
		t.Errorf("after a restart, inside is %q", got)
	}
	if out := u.must("diff", "--name-only", "box"); out != "" {
		t.Errorf("still to review: %q", out)
	}
}

func TestDiscardedChangesAreGone(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.review("box", "rm -r src; echo x > new; git rm -q docs/old.md")
	if out := u.bailey("discard", "box", "src"); out.code != 125 || !strings.Contains(out.stderr, "while the sandbox box runs") {
		t.Errorf("%+v", out)
	}
	u.must("stop", "box")
	u.must("discard", "box", "src/main.go", "new")
	u.must("start", "box")
	if got := u.inside("box", "cd "+shell(u.project)+"; cat src/main.go; ls"); got != "old\nREADME.md\npackage.json\nsrc\n" {
		t.Errorf("inside is %q", got)
	}
	u.must("stop", "box")
	u.must("discard", "--all", "box")
	u.must("start", "box")
	if got := u.inside("box", "cd "+shell(u.project)+"; git status --porcelain; ls docs src"); got != "docs:\nold.md\n\nsrc:\nmain.go\nnumbers\n" {
		t.Errorf("inside is %q", got)
	}
}

func TestALinkedWorktreeUnderReview(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.host("git worktree add -q -b side ../side")
	u.project = filepath.Join(u.home, "src/side")
	before := u.host("git -C ../shop rev-parse --all; find ../shop/.git -type f ! -name index | LC_ALL=C sort | xargs sha256sum")
	u.review("box", "echo agent > src/main.go; git commit -qam agent; git log --oneline | wc -l")
	if after := u.host("git -C ../shop rev-parse --all; find ../shop/.git -type f ! -name index | LC_ALL=C sort | xargs sha256sum"); after != before {
		t.Errorf("the repository has changed:\n%s\n%s", before, after)
	}
	if got := u.inside("box", "git log -1 --format=%s"); got != "agent\n" {
		t.Errorf("inside, the last commit is %q", got)
	}
	u.must("diff", "box")
	u.must("apply", "box", "--commit", "-m", "mine")
	if got := u.host("git log -1 --format=%s; cat src/main.go; git status --porcelain"); got != "mine\nagent\n" {
		t.Errorf("the worktree has %q", got)
	}
}

// TestChoosingOnAScreen picks one hunk of a file by keys, in the smallest window, without colours.
func TestChoosingOnAScreen(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.review("box", `sed -i 's/^5$/FIVE/; s/^50$/FIFTY/' src/numbers; echo new > src/main.go; printf 'a\033[2Jb\n' > odd; mkdir -p .vscode; echo '{}' > .vscode/tasks.json`)
	u.env = append(u.env, "NO_COLOR=1")
	s := newScreen(u, "main")
	s.tmux("resize-window", "-t", s.pane(), "-x", "80", "-y", "24")
	settings := s.settings()
	s.line("clear; bailey apply -i box")
	s.await("0 of 4 files taken")
	if text := s.text(); !strings.Contains(text, "! executes: ") || !strings.Contains(text, "src/numbers  +2 -2") || strings.Count(text, "\n") > 23 {
		t.Errorf("the list is\n%s", text)
	}
	if raw := s.tmux("capture-pane", "-e", "-p", "-t", s.pane()); strings.Contains(raw, "\x1b[") {
		t.Errorf("in spite of NO_COLOR the screen has colours: %q", raw)
	}
	s.keys("/")
	s.line("fifty")
	s.keys("Enter")
	s.await("1 of 2")
	s.keys("n") // not the first hunk
	s.await("[left out]")
	s.keys("u") // undone
	s.keys("n")
	s.keys("y")
	s.keys("Escape")
	s.await("1 of 4 files taken")
	s.keys("A") // and what is harmless: the other file
	s.await("2 of 4 files taken")
	s.keys("w")
	s.await("apply 2 changes in 2 files?")
	s.keys("y")
	s.await("applied 2 changes")
	s.prompt()
	if got := s.settings(); got != settings {
		t.Errorf("the terminal's settings were %s and are %s", settings, got)
	}
	if got := u.host("sed -n '5p;50p' src/numbers; cat src/main.go; ls -A"); got != "5\nFIFTY\nnew\n.env\n.git\n.gitignore\nREADME.md\ndocs\npackage.json\nsrc\n" {
		t.Errorf("applied is %q", got)
	}
	// Whoever leaves has decided nothing.
	s.line("clear; bailey apply -i box")
	s.await("0 of 3 files taken")
	s.keys("y", "q")
	s.await("applied 0 changes")
	if got := u.host("ls -A"); strings.Contains(got, "vscode") {
		t.Errorf("applied is %q", got)
	}
}

// TestTheBetterOfTwoIsApplied compares what two sandboxes made of one project, and goes on with one of them.
func TestTheBetterOfTwoIsApplied(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.review("one", "echo worse > src/main.go")
	u.review("two", "echo better > src/main.go; echo new > src/new.go")
	s := newScreen(u, "main")
	s.line("clear; bailey compare --apply two one two")
	s.await("0 of 2 files taken")
	s.keys("A", "w")
	s.await("apply 2 changes in 2 files?")
	s.keys("y")
	s.await("applied 2 changes")
	s.prompt()
	if text := s.text(); !strings.Contains(text, "A: one") || !strings.Contains(text, "cost") {
		t.Errorf("compared was\n%s", text)
	}
	if got := u.host("cat src/main.go src/new.go"); got != "better\nnew\n" {
		t.Errorf("applied is %q", got)
	}
	if out := u.bailey("compare", "--apply", "three", "one", "two"); out.code != 125 || !strings.Contains(out.stderr, "three is none") {
		t.Errorf("%+v", out)
	}
}

// TestClaudeCodeUnderReviewInThisRepository has the real agent change bailey's own sources, and build and test them.
func TestClaudeCodeUnderReviewInThisRepository(t *testing.T) {
	u := newUser(t)
	u.needAgent("claude")
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(u.project); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", top, u.project).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	u.host("git config user.name Ann && git config user.email ann@example.com")
	plain := filepath.Join(u.project, "internal/vt/plain.go")
	m := serveModelTLS(u,
		modelapi.Read(plain),
		modelapi.Edit(plain, "// OneLine makes text from anywhere safe", "// OneLine makes any text safe"),
		modelapi.Write(filepath.Join(u.project, "internal/vt/extra_test.go"), "package vt\n\nimport \"testing\"\n\nfunc TestExtra(t *testing.T) {\n\tif OneLine(\"\\x1b\") == \"\\x1b\" {\n\t\tt.Error(\"no\")\n\t}\n}\n"),
		modelapi.Run("export GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local; go build ./internal/vt && go test ./internal/vt > test.out 2>&1; cat test.out; git add -A; git commit -qm agent"),
		modelapi.Say("FINISHED-ALL"))
	before := u.snapshot()
	out := u.bailey(m.run("--review", "--name", "main", "claude", ".", "--", "-p", "improve bailey")...)
	if out.code != 0 || !strings.Contains(out.stdout, "FINISHED-ALL") {
		t.Fatalf("exit code %d\n%s%s", out.code, out.stdout, out.stderr)
	}
	if after := u.snapshot(); after != before {
		t.Errorf("the repository has changed:\n%s", u.host("git status --porcelain"))
	}
	if got := u.inside("main", "cat test.out"); !strings.HasPrefix(got, "ok") {
		t.Errorf("the tests inside say %s", got)
	}
	if got := u.must("diff", "--name-only", "main"); got != "internal/vt/extra_test.go\ninternal/vt/plain.go\ntest.out\n" {
		t.Errorf("changed is %q", got)
	}
	u.must("diff", "main")
	u.must("apply", "--commit", "-m", "vt: say it shorter", "main", "internal")
	if got := u.host("git status --porcelain; git log -1 --format=%s; git diff-tree --no-commit-id --name-only -r HEAD; ls test.out 2>/dev/null || true"); got !=
		"vt: say it shorter\ninternal/vt/extra_test.go\ninternal/vt/plain.go\n" {
		t.Errorf("committed is %q", got)
	}
	for _, name := range []string{"internal/vt/extra_test.go", "internal/vt/plain.go"} {
		if got, want := u.host("git show HEAD:"+name), u.inside("main", "cat "+name); got != want {
			t.Errorf("the commit's %s is not what the sandbox has", name)
		}
	}
}

// TestModesStandInFilesToo: the project's own file can make a workspace stricter, and never less so.
func TestModesStandInFilesToo(t *testing.T) {
	u := newUser(t)
	u.repository()
	mode := func(name string, args ...string) string {
		t.Helper()
		args = append(append([]string{"create", "--name", name, "--network", "none"}, args...), "shell", ".")
		u.must(args...)
		_, text, _ := strings.Cut(u.must("ls", "-a"), u.project)
		u.must("rm", name)
		text, _, _ = strings.Cut(text, "  ")
		return strings.TrimSpace(text)
	}
	for _, c := range []struct {
		user, project string
		args          []string
		want          string
	}{
		{"", "", nil, ""},
		{"review", "", nil, "(review)"},
		{"", "review", nil, "(review)"},
		{"read-only", "direct", nil, "(read-only)"},
		{"review", "direct", nil, "(review)"},
		{"", "clone", []string{"--branch", "b/x"}, "(clone, b/x)"},
		{"review", "review", []string{"--review=false"}, ""},
		{"", "read-only", []string{"--review"}, "(review)"}, // the user has decided
	} {
		if c.user != "" {
			u.write(".config/bailey/config.yaml", "workspace: {mode: "+c.user+"}\n")
		} else if err := os.RemoveAll(filepath.Join(u.home, ".config/bailey/config.yaml")); err != nil {
			t.Fatal(err)
		}
		u.write("src/shop/bailey.yaml", "workspace: {mode: "+map[string]string{"": "direct"}[c.project]+c.project+", hide: [src/numbers], protect: [docs/]}\n")
		if got := mode("box", c.args...); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	u.must("run", "--name", "box", "--network", "none", "--review=false", "shell", ".", "--", "-c", "true")
	if got := u.inside("box", "cat src/numbers; echo x > docs/old.md || echo refused; echo y > src/main.go && echo control"); !strings.Contains(got, "refused") || !strings.Contains(got, "control") || strings.Contains(got, "5\n") {
		t.Errorf("hidden and protected: %q", got)
	}
}

// TestWhatWaitsForReviewIsNotThrownAway: neither with a sandbox for one run, nor by rm and prune that nobody forces.
func TestWhatWaitsForReviewIsNotThrownAway(t *testing.T) {
	u := newUser(t)
	u.repository()
	flags := []string{"run", "--rm", "--review", "--network", "none", "--credentials", "none", "--name"}
	if out := u.bailey(append(flags, "kept", "shell", ".", "--", "-c", "echo x > new")...); out.code != 0 || !strings.Contains(out.stderr, "kept is kept, for your review: 1 of its changes were never applied") {
		t.Errorf("%+v", out)
	}
	// What cannot be read may be anything: here, which version of the files it started from.
	bases := filepath.Join(u.sandboxDir("kept"), "review-0", "bases.jsonl")
	if err := os.MkdirAll(bases, 0o700); err != nil {
		t.Fatal(err)
	}
	if out := u.bailey("rm", "kept"); out.code != 125 || !strings.Contains(out.stderr, "what it has changed cannot be read") {
		t.Errorf("with an unreadable record: %+v", out)
	}
	if out := u.bailey("prune", "-f"); !strings.Contains(out.stderr, "what it has changed cannot be read") {
		t.Errorf("with an unreadable record: %+v", out)
	}
	if err := os.Remove(bases); err != nil {
		t.Fatal(err)
	}
	if out := u.bailey("rm", "kept"); out.code != 125 || !strings.Contains(out.stderr, "1 of its changes were never applied") {
		t.Errorf("%+v", out)
	}
	if out := u.bailey("prune", "-f"); out.code != 0 || !strings.Contains(out.stderr, "kept is kept") {
		t.Errorf("%+v", out)
	}
	u.must("diff", "kept")
	u.must("apply", "kept")
	u.must("rm", "kept")
	u.must(append(flags, "gone", "shell", ".", "--", "-c", "cat new")...) // the control: nothing was changed
	if !machine.Poll(screenTime, func() bool { return u.must("ls", "-aq") == "" }) {
		t.Errorf("left is %s", u.must("ls", "-aq"))
	}
}
