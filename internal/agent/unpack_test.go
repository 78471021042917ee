package agent

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func plainTar(t testing.TB, entries ...entry) []byte {
	zr, err := gzip.NewReader(bytes.NewReader(packed(t, entries...)))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWalkTarKeepsToItsLimits(t *testing.T) {
	three := plainTar(t, file("p/a", "12345"), file("p/b", "12345"), file("p/c", "12345"))
	for _, c := range []struct {
		name string
		max  limits
		want string
	}{
		{"just enough", limits{3, 15}, ""},
		{"too many entries", limits{2, 15}, "more than 2 entries"},
		{"too many bytes in all", limits{3, 14}, "bytes left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := walkTar(bytes.NewReader(three), c.max, func(string, fs.FileMode, io.Reader) error { return nil })
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzWalkTar(f *testing.F) {
	f.Add(plainTar(f, file("package/a", "x"), file("package/b/c", "yy")))
	f.Add(plainTar(f, file("package/../../x", "x")))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, data []byte) {
		max, seen, total := limits{100, 1 << 20}, map[string]bool{}, int64(0)
		walkTar(bytes.NewReader(data), max, func(name string, mode fs.FileMode, content io.Reader) error {
			if !filepath.IsLocal(name) || path.Clean(name) != name || seen[name] || mode != 0o644 && mode != 0o755 {
				t.Errorf("put %q with mode %v", name, mode)
			}
			seen[name] = true
			n, err := io.Copy(io.Discard, content)
			total += n
			return err
		})
		if total > max.bytes || len(seen) > max.entries {
			t.Errorf("%d bytes in %d files", total, len(seen))
		}
	})
}
