package review

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/risk"
)

// TestReadingNeverFollowsALinkThatIsSwappedIn has an agent exchange a directory, and a file, with links out of the
// project, without end, while they are compared and shown. The control reads as programs usually do.
func TestReadingNeverFollowsALinkThatIsSwappedIn(t *testing.T) {
	b := newBench(t, map[string]string{"d/f": "old", "g": "old"}, map[string]string{"d/f": "new", "g": "new", "links/": ""})
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("CANARY"), 0o600); err != nil {
		t.Fatal(err)
	}
	links := filepath.Join(b.Layer, "links") // beside the layer: the exchange is on one file system
	if err := os.Mkdir(links, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"d": outside, "g": filepath.Join(outside, "f")} {
		if err := os.Symlink(target, filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				for _, name := range []string{"d", "g"} {
					_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(b.upper(), name), unix.AT_FDCWD, filepath.Join(links, name), unix.RENAME_EXCHANGE)
				}
			}
		}
	}()
	var whole, linked, failed, leaked, naive int
	for range rounds(t) {
		r, err := Read(t.Context(), b.Place, risk.Assessor{})
		if err != nil {
			failed++
			continue
		}
		shown := summary(r)
		for _, i := range r.Items {
			before, after := r.Contents(i)
			text, _ := r.PatchOf(i)
			shown += string(before) + string(after) + string(text)
		}
		switch {
		case strings.Contains(shown, "CANARY"):
			leaked++
		case strings.Contains(shown, outside):
			linked++ // it is shown as the link that it was
		case strings.Contains(shown, "+new"):
			whole++
		}
		for _, path := range []string{"d/f", "g"} {
			if content, err := os.ReadFile(filepath.Join(b.upper(), path)); err == nil && strings.Contains(string(content), "CANARY") {
				naive++
			}
		}
	}
	close(stop)
	t.Logf("%d exchanges; read %d times: %d as files, %d as links, %d could not be read; %d read through a link; the control did %d times",
		<-stopped, rounds(t), whole, linked, failed, leaked, naive)
	if leaked > 0 {
		t.Errorf("%d times what is outside was read", leaked)
	}
	if naive == 0 || linked == 0 || whole == 0 {
		t.Error("the window was not hit: this shows nothing")
	}
}
