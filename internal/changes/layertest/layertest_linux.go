// Package layertest makes directory trees, and layers of overlays, for tests.
package layertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Make makes files in root out of "path": "content", directories out of "path/": "", and links out of
// "path@": "target". As in a layer, "path!": "" is what is gone, and "path/!": "" a directory that hides the one below.
func Make(t *testing.T, root string, entries map[string]string) {
	t.Helper()
	for name, content := range entries {
		path := filepath.Join(root, strings.TrimRight(name, "/@!"))
		dir := filepath.Dir(path)
		if strings.Contains(name, "/!") || strings.HasSuffix(name, "/") {
			dir = path
		}
		err := os.MkdirAll(dir, 0o755)
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/!"):
			err = unix.Setxattr(path, "user.overlay.opaque", []byte("y"), 0)
		case strings.HasSuffix(name, "/"):
		case strings.HasSuffix(name, "!"):
			err = unix.Mknod(path, unix.S_IFCHR, 0)
		case strings.HasSuffix(name, "@"):
			err = os.Symlink(content, path)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
