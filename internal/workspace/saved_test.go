package workspace

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestASavedPlanIsTheSamePlan(t *testing.T) {
	// A name that is no text must come back byte by byte, or its file would not be found.
	ws := filepath.Join(t.TempDir(), "w\xff")
	for _, dir := range []string{"a/.git/objects", "a/.git/refs", "a/.git/hooks"} {
		if err := os.MkdirAll(filepath.Join(ws, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(ws, "a/.git/HEAD"), []byte("ref: refs/heads/x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(ws, ".envrc")); err != nil {
		t.Fatal(err)
	}
	p, err := MakePlan(ws, Direct, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.partial, p.indexes = true, []indexFile{{ws + "/a/.git/index", ws + "/a", 20}}
	data, err := p.Save()
	if err != nil {
		t.Fatal(err)
	}
	back, err := RestorePlan(data)
	if err != nil {
		t.Fatal(err)
	}
	if back.ws != ws || !back.made.Equal(p.made.Round(0)) || time.Since(back.made) > time.Minute || !back.partial ||
		!maps.Equal(back.known, p.known) || !reflect.DeepEqual(back.watch, p.watch) || !reflect.DeepEqual(back.indexes, p.indexes) ||
		!reflect.DeepEqual(back.configs, p.configs) {
		t.Errorf("saved %+v\nrestored %+v", p, back)
	}
	if len(p.known) == 0 || len(p.watch) == 0 || !p.watch[ws][".envrc"].link {
		t.Errorf("the control: the plan has nothing to lose: %+v", p)
	}
}

func FuzzRestorePlan(f *testing.F) {
	f.Add([]byte(`{"workspace":"L3c=","made":"2026-01-02T03:04:05Z","known":["L3cvLmdpdA=="],"watch":[{"dir":"L3c=","name":"eA==","ino":7}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := RestorePlan(data)
		if err != nil {
			return
		}
		again, err := p.Save()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := RestorePlan(again); err != nil || !reflect.DeepEqual(back.watch, p.watch) || !maps.Equal(back.known, p.known) {
			t.Errorf("%+v became %+v: %v", p, back, err)
		}
	})
}
