package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// write and read files of a tree that is made of ordinary files: what the kernel would make of them is not
// tested here.
func (t tree) write(tb testing.TB, name, content string) {
	tb.Helper()
	path := filepath.Join(t.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		tb.Fatal(err)
	}
}

// files are all below the group's parents, as NAME CONTENT.
func (t tree) files(tb testing.TB) (all []string) {
	tb.Helper()
	err := filepath.WalkDir(t.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(t.root, path)
		all = append(all, name+" "+string(content))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func TestLimitsAreWrittenWhereTheVersionHasThem(t *testing.T) {
	limits := sandbox.Limits{CPUs: 1.5, Memory: 1 << 30, Pids: 100}
	v1, v2 := tree{root: t.TempDir()}, tree{root: t.TempDir(), unified: true}
	for _, c := range []string{"cpu", "memory", "pids"} {
		v1.write(t, c+"/cgroup.procs", "")
	}
	v2.write(t, "cgroup.controllers", "cpuset cpu io memory hugetlb pids\n")
	for _, c := range []struct {
		name string
		tree tree
		want string
	}{
		{"version 1", v1, `cpu/bailey/box/cgroup.procs 42
cpu/bailey/box/cpu.cfs_quota_us 150000
cpu/cgroup.procs 
memory/bailey/box/cgroup.procs 42
memory/bailey/box/memory.limit_in_bytes 1073741824
memory/cgroup.procs 
pids/bailey/box/cgroup.procs 42
pids/bailey/box/pids.max 100
pids/cgroup.procs `},
		// Each controller is handed down to the group's parent, and from there to the group. A file of the
		// kernel adds to what was written before.
		{"version 2", v2, `bailey/box/cgroup.procs 42
bailey/box/cpu.max 150000
bailey/box/memory.max 1073741824
bailey/box/pids.max 100
bailey/cgroup.subtree_control +pids
cgroup.controllers cpuset cpu io memory hugetlb pids

cgroup.subtree_control +pids`},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &Group{tree: c.tree, name: "box", limits: limits}
			if err := errors.Join(g.make(), g.Add(42)); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.tree.files(t), "\n"); got != c.want {
				t.Errorf("there is\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAControllerThatIsMissingIsNotFound(t *testing.T) {
	v1, v2 := tree{root: t.TempDir()}, tree{root: t.TempDir(), unified: true}
	v1.write(t, "memory/cgroup.procs", "")
	v1.write(t, "cpu/not-mounted", "")
	v2.write(t, "cgroup.controllers", "memory\n")
	for _, tr := range []tree{v1, v2} {
		if tr.hierarchy("memory") == "" {
			t.Errorf("%+v: memory, which is there, is not found", tr)
		}
		for _, c := range []string{"cpu", "pids"} {
			if dir := tr.hierarchy(c); dir != "" {
				t.Errorf("%+v: %s is found in %s", tr, c, dir)
			}
		}
	}
	if dir := (tree{root: t.TempDir(), unified: true}).hierarchy("memory"); dir != "" {
		t.Errorf("without a list of controllers memory is found in %s", dir)
	}
}

func TestAGroupThatCannotBeMadeIsAnError(t *testing.T) {
	v2 := tree{root: t.TempDir(), unified: true}
	v2.write(t, "cgroup.controllers", "pids\n")
	v2.write(t, "bailey", "in the way of the directory")
	g := &Group{tree: v2, name: "box", limits: sandbox.Limits{Pids: 1}}
	if err := g.make(); err == nil {
		t.Error("it was made")
	}
}

func TestTheScopeHasEveryLimit(t *testing.T) {
	got := strings.Join(scopeCall("box", 42, sandbox.Limits{CPUs: 0.5, Memory: 1 << 20, Pids: 7}), " ")
	for _, want := range []string{
		"--user call org.freedesktop.systemd1 ", " StartTransientUnit ssa(sv)a(sa(sv)) bailey-box-42.scope fail 5 ",
		" PIDs au 1 42 ", " CPUQuotaPerSecUSec t 500000 ", " MemoryMax t 1048576 ", " MemorySwapMax t 0 ", " TasksMax t 7 0",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if none := strings.Join(scopeCall("box", 42, sandbox.Limits{Pids: 7}), " "); !strings.Contains(none, " fail 2 ") || strings.Contains(none, "Memory") {
		t.Errorf("with one limit it is %q", none)
	}
}
