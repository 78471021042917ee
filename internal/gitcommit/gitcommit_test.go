package gitcommit

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository is one with two commits' worth of traps: every setting by which git could run something is set.
func repository(t *testing.T) (dir, mark string) {
	t.Helper()
	dir = t.TempDir()
	mark = filepath.Join(t.TempDir(), "executed")
	git(t, dir, "init", "-q", "-b", "main")
	for key, value := range map[string]string{"user.name": "Ann", "user.email": "ann@example.com", "core.autocrlf": "true"} {
		git(t, dir, "config", key, value)
	}
	write(t, dir, "a", "1\n")
	write(t, dir, "sub/b", "2\n")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "first")
	for _, hook := range []string{"pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change", "fsmonitor-watchman"} {
		write(t, dir, ".git/hooks/"+hook, "#!/bin/sh\ntouch "+mark+"\n")
		if err := os.Chmod(filepath.Join(dir, ".git/hooks", hook), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "config", "core.fsmonitor", ".git/hooks/fsmonitor-watchman")
	return dir, mark
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return string(out)
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func content(text string) func() (io.ReadCloser, int64, error) {
	return func() (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader(text)), int64(len(text)), nil
	}
}

func environ() []string {
	return append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_DIR=/nowhere", "GIT_INDEX_FILE=/nowhere",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
}

func TestACommitHasExactlyTheBytes(t *testing.T) {
	dir, mark := repository(t)
	write(t, dir, "staged", "by the user")
	cmd := exec.Command("git", "-C", dir, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "add", "staged")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, err := Open(t.Context(), dir, environ())
	if err != nil {
		t.Fatal(err)
	}
	odd := "odd \"name\"\n\xff"
	for name, text := range map[string]string{"a": "one\r\n", odd: "", "run": "#!/bin/sh\n"} {
		write(t, dir, name, text)
	}
	if err := errors.Join(os.Chmod(filepath.Join(dir, "run"), 0o755), os.Remove(filepath.Join(dir, "sub/b"))); err != nil {
		t.Fatal(err)
	}
	commit, err := r.Commit(t.Context(), "second\n\nwith a body\n", []File{
		{"a", "100644", content("one\r\n")}, {odd, "100644", content("")}, {"run", "100755", content("#!/bin/sh\n")},
		{"link", "120000", content("a")}, {Path: "sub/b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	safe := []string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"}
	run := func(args ...string) string { return git(t, dir, append(safe, args...)...) }
	if got := run("rev-parse", "main"); strings.TrimSpace(got) != commit {
		t.Errorf("main is %s", got)
	}
	if got := run("log", "-1", "--format=%an %ae %cn%n%B"); got != "Ann ann@example.com Ann\nsecond\n\nwith a body\n\n" {
		t.Errorf("the commit says %q", got)
	}
	if got := run("ls-tree", "-r", "-z", "HEAD"); strings.Count(got, "\x00") != 4 || !strings.Contains(got, "100755 blob") || !strings.Contains(got, "120000 blob") || !strings.Contains(got, odd) {
		t.Errorf("the tree is %q", got)
	}
	if got := run("show", "HEAD:a"); got != "one\r\n" {
		t.Errorf("a is %q", got)
	}
	if got := run("-c", "core.autocrlf=false", "status", "--porcelain", "-uno"); got != " D link\nA  staged\n" {
		t.Errorf("the status is %q", got)
	}
	if got := run("for-each-ref", "refs/bailey"); got != "" {
		t.Errorf("left is %s", got)
	}
	if _, err := os.Lstat(mark); err == nil {
		t.Error("a hook ran")
	}
	git(t, dir, "status") // the control
	if _, err := os.Lstat(mark); err != nil {
		t.Error("the traps are none: git status executes nothing either")
	}
}

func TestAFailureMovesNothing(t *testing.T) {
	dir, _ := repository(t)
	r, err := Open(t.Context(), filepath.Join(dir, "sub"), environ())
	if err != nil {
		t.Fatal(err)
	}
	head := git(t, dir, "rev-parse", "HEAD")
	bad := func() (io.ReadCloser, int64, error) { return nil, 0, errors.New("changed") }
	short := func() (io.ReadCloser, int64, error) { return io.NopCloser(strings.NewReader("x")), 10, nil }
	for name, f := range map[string]File{"unreadable": {"b", "100644", bad}, "too short": {"b", "100644", short}, "no mode": {"b", "123456", content("x")}} {
		if _, err := r.Commit(t.Context(), "m", []File{f}); err == nil {
			t.Errorf("%s: committed", name)
		}
		if now := git(t, dir, "rev-parse", "HEAD"); now != head {
			t.Errorf("%s: HEAD moved", name)
		}
	}
	if _, err := r.Commit(t.Context(), "m", []File{{"b", "100644", content("3\n")}}); err != nil { // the control, in a subdirectory
		t.Error(err)
	}
	if got := git(t, dir, "show", "HEAD:sub/b"); got != "3\n" {
		t.Errorf("sub/b is %q", got)
	}
}

func TestFirstCommitAndNoRepository(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(t.Context(), dir, append(environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))); err == nil {
		t.Error("there is no repository")
	}
	git(t, dir, "init", "-q", "-b", "main")
	r, err := Open(t.Context(), dir, environ())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Commit(t.Context(), "first", []File{{"a", "100644", content("1")}}); err != nil {
		t.Fatal(err)
	}
	if got := git(t, dir, "show", "main:a"); got != "1" {
		t.Errorf("a is %q", got)
	}
}

func TestFilteredPathsAreFound(t *testing.T) {
	dir, _ := repository(t)
	write(t, dir, ".gitattributes", "*.bin filter=lfs\n")
	r, err := Open(t.Context(), dir, environ())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Filtered(t.Context(), []string{"a", "x.bin"}); err != nil || len(got) != 1 || got[0] != "x.bin" {
		t.Errorf("%v, %v", got, err)
	}
}
