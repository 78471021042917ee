package sandboxtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// overlaysKeepChanges changes a project of which nothing may change, in every way that the format of the layer
// has a word for, and finds the changes again after a stop.
func overlaysKeepChanges(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	mount := &spec.Mounts[len(spec.Mounts)-1]
	mount.Kind, mount.Layer = sandbox.MountOverlay, "review"
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Kind: sandbox.MountHidden, Target: filepath.Join(ws, "conf/.env")})
	files := map[string]string{"main.go": "old", "gone": "1", "tree/a": "a", "tree/b": "b", "again/old": "o", "conf/.env": "KEY=secret", "conf/app": "x"}
	for name, content := range files {
		write(t, filepath.Join(ws, name), content)
	}
	before, err := os.Stat(filepath.Join(ws, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	y := s.start(t, spec)
	y.want("echo new > main.go; rm gone; rm -r tree; rm -r again; mkdir again; echo n > again/new; mkdir fresh; echo f > fresh/f; chmod +x main.go; mv conf/app conf/moved")
	if got := y.want("cat conf/.env; cp conf/.env /tmp/e; cat /tmp/e; stat -c %U main.go fresh/f ."); got != "ann\nann\nann" {
		t.Errorf("inside, the hidden file and the owners are %q", got)
	}
	y.refused("mv conf/.env conf/x || rm -f conf/.env")
	want := "again\nagain/new\nconf\nconf/.env\nconf/moved\nfresh\nfresh/f\nmain.go"
	list := "find . -mindepth 1 | cut -c3- | LC_ALL=C sort"
	if got := y.want(list); got != want {
		t.Errorf("inside is\n%s", got)
	}
	for name, content := range files {
		if got := read(t, filepath.Join(ws, name)); got != content {
			t.Errorf("the project's %s became %q", name, got)
		}
	}
	if after, err := os.Stat(filepath.Join(ws, "main.go")); err != nil || after.Mode() != before.Mode() || after.ModTime() != before.ModTime() {
		t.Errorf("the project's file changed: %v, %v", after, err)
	}
	if entries, err := os.ReadDir(ws); err != nil || len(entries) != 5 {
		t.Errorf("the project has %v, %v", entries, err)
	}
	upper := filepath.Join(spec.Dir, "review/upper")
	if got := read(t, filepath.Join(upper, "main.go")); got != "new\n" {
		t.Errorf("the layer's file is %q", got)
	}
	if info, err := os.Lstat(filepath.Join(upper, "gone")); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("what was removed is %v, %v in the layer", info, err)
	}
	if err := y.machine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.start(t, spec).want(list); got != want {
		t.Errorf("after a stop, inside is\n%s", got)
	}
}

// copiesAreWhole copies what a machine keeps, and starts another from the copy.
func copiesAreWhole(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	mount := &spec.Mounts[len(spec.Mounts)-1]
	mount.Kind, mount.Layer = sandbox.MountOverlay, "review"
	for _, name := range []string{"gone", "tree/a", "tree/b"} {
		write(t, filepath.Join(ws, name), name)
	}
	y := s.start(t, spec)
	y.want("rm gone; rm -r tree; mkdir tree; echo n > tree/n; ln -s to/nowhere link; mkfifo fifo; mkdir shut; echo s > shut/s; touch -d @1000000000 shut/s; chmod 000 shut; echo h > ~/h")
	stop(t, y.machine)
	b := s.newBackend(t)
	other := spec
	other.Dir = private(t)
	for _, name := range []string{"review", "home", "layers"} {
		if _, err := b.Copy(t.Context(), filepath.Join(spec.Dir, name), filepath.Join(other.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Copy(t.Context(), filepath.Join(spec.Dir, "home"), filepath.Join(other.Dir, "home")); err == nil {
		t.Error("a copy was made over another")
	}
	y = s.start(t, other)
	if got := y.want("ls -A | xargs; ls tree; readlink link; test -p fifo && stat -c %a shut; chmod 700 shut; stat -c '%Y %U' shut/s; cat ~/h"); got !=
		"fifo link shut tree\nn\nto/nowhere\n0\n1000000000 ann\nh" {
		t.Errorf("the copy has %q", got)
	}
	stop(t, y.machine)
	if err := b.Remove(t.Context(), other.Name, other.Dir); err != nil {
		t.Error(err)
	}
}
