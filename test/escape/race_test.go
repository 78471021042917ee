//go:build linux

package escape

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// TestRaces hammers for a minute each, with -long. The host looks as fast as it can meanwhile, and what it saw is
// counted: a protected file never changes; a name that did not exist is there for moments, which is the
// documented limit, and not at all in the end.
func TestRaces(t *testing.T) {
	duration := "60s"
	if flagged("long") != "true" {
		duration = "1s"
	}
	w := newWorld(t, backends()[0])
	for _, c := range []struct {
		name, target string
		mayAppear    bool
	}{{"a protected file is never replaced", ".git/config", false}, {"a new protected name does not stay", ".envrc", true}} {
		t.Run(c.name, func(t *testing.T) {
			p := w.newProject(t, filepath.Base(c.target)[1:], "true")
			w.start(t, p)
			defer w.remove(t, p)
			target := filepath.Join(p.dir, c.target)
			before, _ := os.ReadFile(target)
			done := make(chan string)
			go func() { done <- w.inside(t, p, "echo RAN; $PROBE hammer evil "+c.target+" "+duration) }()
			looks, seen, out := 0, 0, ""
			for out == "" {
				select {
				case out = <-done:
				default:
					looks++
					if now, err := os.ReadFile(target); err == nil && !bytes.Equal(now, before) {
						seen++
					}
				}
			}
			var tried, won int
			if i := bytes.Index([]byte(out), []byte("TRIED")); i < 0 {
				t.Fatal(out)
			} else if _, err := fmt.Sscanf(out[i:], "TRIED %d WON %d", &tried, &won); err != nil {
				t.Fatal(out)
			}
			t.Logf("%s: %d attempts inside, %d renamed; the host looked %d times and saw it %d times", c.target, tried, won, looks, seen)
			if !c.mayAppear && (won > 0 || seen > 0) {
				t.Errorf("it was replaced %d times, seen %d times", won, seen)
			}
			if c.mayAppear && won == 0 {
				t.Error("the control: the name never appeared, so nothing was tried")
			}
			if c.mayAppear && !machine.Poll(w.patience(), func() bool { _, err := os.Lstat(target); return os.IsNotExist(err) }) {
				t.Error("it is there in the end")
			}
		})
	}
}
