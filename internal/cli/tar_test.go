package cli

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func archive(t testing.TB, headers ...tar.Header) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "content"
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func file(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func TestUnpackNeverLeavesTheDirectory(t *testing.T) {
	for name, tc := range map[string]struct {
		headers []tar.Header
		made    string // a file that must be there: the control
		left    int
		fails   bool
	}{
		"an honest tree":            {[]tar.Header{{Typeflag: tar.TypeDir, Name: "d/"}, file("d/f"), link("d/l", "f")}, "d/f", 0, false},
		"a name that climbs":        {[]tar.Header{file("../evil"), file("ok")}, "ok", 1, false},
		"a name that climbs later":  {[]tar.Header{file("d/../../evil"), file("ok")}, "ok", 1, false},
		"an absolute name":          {[]tar.Header{file("/evil"), file("ok")}, "ok", 1, false},
		"a link out":                {[]tar.Header{{Typeflag: tar.TypeDir, Name: "d"}, link("d/l", "../../outside"), file("ok")}, "ok", 1, false},
		"an absolute link":          {[]tar.Header{link("l", "/etc"), file("ok")}, "ok", 1, false},
		"a file through a link":     {[]tar.Header{{Typeflag: tar.TypeDir, Name: "d"}, link("d/l", "e"), file("d/l/evil")}, "", 0, true},
		"a link beside the tree":    {[]tar.Header{link("l", "elsewhere"), file("ok")}, "ok", 1, false},
		"a hard link":               {[]tar.Header{{Typeflag: tar.TypeLink, Name: "h", Linkname: "/etc/passwd"}, file("ok")}, "ok", 1, false},
		"a device":                  {[]tar.Header{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, file("ok")}, "ok", 1, false},
		"a pipe":                    {[]tar.Header{{Typeflag: tar.TypeFifo, Name: "p"}, file("ok")}, "ok", 1, false},
		"a file in place of a dir":  {[]tar.Header{{Typeflag: tar.TypeDir, Name: "d"}, file("d")}, "", 0, true},
		"the user's link is no way": {[]tar.Header{file("users/evil")}, "", 0, true},
		"the user's file is no way": {[]tar.Header{file("users")}, "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dir, outside := filepath.Join(parent, "dir"), filepath.Join(parent, "outside")
			for _, d := range []string{dir, outside} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(outside, filepath.Join(dir, "users")); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			left, err := unpack(root, archive(t, tc.headers...))
			if (err != nil) != tc.fails || len(left) != tc.left {
				t.Errorf("left out %q, error %v", left, err)
			}
			if tc.made != "" {
				if b, err := os.ReadFile(filepath.Join(dir, tc.made)); err != nil || string(b) != "content" {
					t.Errorf("%s reads %q, %v", tc.made, b, err)
				}
			}
			noneOutside(t, parent, dir)
		})
	}
}

func noneOutside(t testing.TB, parent, dir string) {
	t.Helper()
	err := filepath.WalkDir(parent, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == dir {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			t.Errorf("%s was written outside", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestUnpackDropsSetidAndKeepsExecutable(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	h := file("tool")
	h.Mode = 0o6777
	if _, err := unpack(root, archive(t, h)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "tool"))
	if err != nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 || info.Mode().Perm()&0o100 == 0 || info.Mode().Perm()&0o022 != 0 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
}

func FuzzUnpack(f *testing.F) {
	honest, _ := io.ReadAll(archive(f, tar.Header{Typeflag: tar.TypeDir, Name: "d"}, file("d/f"), link("d/l", "f"), file("../x")))
	f.Add(honest)
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "dir")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		_, _ = unpack(root, bytes.NewReader(data))
		noneOutside(t, parent, dir)
	})
}

func TestPackAndUnpackAreInverse(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	src := filepath.Join(from, "tree")
	for name, content := range map[string]string{"a": "1", "deep/er/b": "2", "empty": ""} {
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("deep/er", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pack(&b, src); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "root\x00") {
		t.Error("the archive has the host's user names")
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if left, err := unpack(root, &b); err != nil || len(left) > 0 {
		t.Fatalf("left out %q, %v", left, err)
	}
	for name, want := range map[string]string{"a": "1", "deep/er/b": "2", "empty": "", "link/b": "2"} {
		if got, err := os.ReadFile(filepath.Join(to, "tree", name)); err != nil || string(got) != want {
			t.Errorf("%s reads %q, %v", name, got, err)
		}
	}
}

// TestUnpackNeverLeavesTheDirectoryInARace copies into a project whose agent exchanges the directories in it with links
// out of it, without end. The control writes as programs usually do.
func TestUnpackNeverLeavesTheDirectoryInARace(t *testing.T) {
	rounds := 2000
	if text, ok := os.LookupEnv("BAILEY_RACE_ROUNDS"); ok { // more of them in long runs
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	parent := t.TempDir()
	dir, outside := filepath.Join(parent, "dir"), filepath.Join(parent, "outside")
	for _, d := range []string{filepath.Join(dir, "a"), outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(parent, "link")); err != nil {
		t.Fatal(err)
	}
	swap := func() {
		_ = os.Rename(filepath.Join(dir, "a"), filepath.Join(parent, "a"))
		_ = os.Rename(filepath.Join(parent, "link"), filepath.Join(dir, "a"))
		_ = os.Rename(filepath.Join(dir, "a"), filepath.Join(parent, "link"))
		_ = os.Rename(filepath.Join(parent, "a"), filepath.Join(dir, "a"))
	}
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				swap()
			}
		}
	}()
	var written, refused, naive int
	for range rounds {
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(root, archive(t, file("a/copied"))); err == nil {
			written++
		} else {
			refused++
		}
		_ = root.Close()
		if err := os.WriteFile(filepath.Join(dir, "a", "naive"), nil, 0o600); err == nil && os.Remove(filepath.Join(outside, "naive")) == nil {
			naive++
		}
	}
	close(stop)
	t.Logf("%d exchanges; copied %d times: %d in place, %d refused; the control wrote outside %d times", <-stopped, rounds, written, refused, naive)
	if _, err := os.Lstat(filepath.Join(outside, "copied")); err == nil {
		t.Error("it was written outside")
	}
	if naive == 0 || written == 0 || refused == 0 {
		t.Error("the window was not hit: this shows nothing")
	}
}
