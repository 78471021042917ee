package review

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/changes/layertest"
	"github.com/bailey-sandbox/bailey/internal/patch"
)

func TestAFileThatWasRenamedAndEditedIsOneChange(t *testing.T) {
	same := strings.Repeat("a line of some length\n", 10)
	project := map[string]string{"old.go": "first\n" + same + "last\n", "other": "nothing alike\n", "far": "x\n" + same}
	layer := map[string]string{"old.go!": "", "d/new.go": "FIRST\n" + same + "LAST\n", "other!": "", "unlike": "quite different\n"}
	b := newBench(t, project, layer)
	r := b.want("old.go>d/new.go other unlike")
	text, skipped := r.Patch(r.Items)
	if len(skipped) != 0 || !strings.Contains(string(text), "rename from old.go\nrename to d/new.go\n") {
		t.Errorf("the patch is %s, without %v", text, skipped)
	}
	// git agrees.
	there := t.TempDir()
	layertest.Make(t, there, project)
	cmd := exec.Command("git", "apply", "-")
	cmd.Dir, cmd.Stdin = there, strings.NewReader(string(text))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("git: %v: %s", err, out)
	} else if got, err := os.ReadFile(filepath.Join(there, "d/new.go")); err != nil || string(got) != layer["d/new.go"] {
		t.Errorf("git makes %q, %v", got, err)
	}
	// One of its hunks: it is renamed, and half of it edited.
	before, after := r.Contents(r.Items[0])
	hunks := patch.Hunks(string(before), string(after))
	if len(hunks) != 2 {
		t.Fatalf("%v", hunks)
	}
	if err := r.Apply(t.Context(), Owner{}, []Choice{{r.Items[0], hunks[:1]}}); err != nil {
		t.Fatal(err)
	}
	b.has("d/new.go", "FIRST\n"+same+"last\n")
	r = b.want("d/new.go other unlike")
	b.apply(r, "d/new.go")
	b.has("d/new.go", layer["d/new.go"])
	if _, err := os.Lstat(filepath.Join(b.Project, "old.go")); !os.IsNotExist(err) {
		t.Errorf("the old one: %v", err)
	}
}

// What the user has edited meanwhile is no rename: it is a conflict, and says so by its own name.
func TestARenameThatTheUserHasEditedStaysApart(t *testing.T) {
	same := strings.Repeat("a line of some length\n", 10)
	b := newBench(t, map[string]string{"old": "first\n" + same}, map[string]string{"old!": "", "new": "FIRST\n" + same})
	b.want("old>new")
	b.user("old", "first\n"+same+"mine\n")
	b.want("new old!")
}
