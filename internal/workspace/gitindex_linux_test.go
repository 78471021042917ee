package workspace

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// realIndex is what git writes after the script in a new repository with two files and two gitlinks.
func realIndex(t *testing.T, initFlags, script string) (dir string, data []byte) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	dir = tempDir(t)
	shell(t, dir, `git init -q `+initFlags+` . && mkdir -p a/b && echo 1 >a/file && echo 2 >z && git add a z
		zero=$(git hash-object -w z); for p in a/b/sub a/b/sub-two; do git update-index --add --cacheinfo 160000,$zero,$p; done; `+script)
	data, err := os.ReadFile(dir + "/.git/index")
	if err != nil {
		t.Fatal(err)
	}
	return dir, data
}

func TestGitlinksAreFoundInWhatGitWrites(t *testing.T) {
	want := []string{"a/b/sub", "a/b/sub-two"}
	for what, c := range map[string]struct {
		flags, script string
		hash          int
	}{
		"version 2":         {"", "git update-index --index-version 2", 20},
		"version 3":         {"", "git update-index --index-version 3; echo >n; git add -N n", 20},
		"version 4":         {"", "git update-index --index-version 4", 20},
		"longer names":      {"--object-format=sha256", "", 32},
		"tables of offsets": {"", "git -c index.threads=2 -c index.recordEndOfIndexEntries=1 -c index.recordOffsetTable=1 update-index --force-write-index", 20},
		"a cache of trees":  {"", "git commit -qm x; git status", 20},
	} {
		t.Run(what, func(t *testing.T) {
			_, data := realIndex(t, c.flags, c.script)
			idx, err := readIndex(data, c.hash)
			if err != nil || !slices.Equal(idx.links, want) || idx.shared != "" {
				t.Errorf("got %+v, %v", idx, err)
			}
		})
	}
	t.Run("a split index", func(t *testing.T) {
		dir, data := realIndex(t, "", "git update-index --split-index")
		idx, err := readIndex(data, 20)
		if err != nil || idx.shared == "" {
			t.Fatalf("got %+v, %v", idx, err)
		}
		if data, err = os.ReadFile(dir + "/.git/" + idx.shared); err != nil {
			t.Fatal(err)
		}
		if idx, err = readIndex(data, 20); err != nil || !slices.Equal(idx.links, want) {
			t.Errorf("the other file has %+v, %v", idx, err)
		}
	})
}

func TestAnIndexThatGitCouldReadOtherwiseIsRefused(t *testing.T) {
	_, data := realIndex(t, "", "for i in $(seq 500); do echo >f$i; done; git add -A; git -c index.threads=2 -c index.recordEndOfIndexEntries=1 -c index.recordOffsetTable=1 update-index --force-write-index")
	if _, err := readIndex(data, 20); err != nil {
		t.Fatal(err)
	}
	poke := func(find string, offset int) []byte {
		at := bytes.LastIndex(data, []byte(find))
		if at < 0 {
			t.Skipf("this git writes no %s", find)
		}
		data := bytes.Clone(data)
		data[at+offset]++
		return data
	}
	empty := []byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00")
	if _, err := readIndex(slices.Concat(empty, make([]byte, 20)), 20); err != nil {
		t.Fatal(err)
	}
	huge := bytes.Clone(data)
	binary.BigEndian.PutUint32(huge[8:], 1<<31)
	for what, bad := range map[string][]byte{
		"the end of the entries": poke("EOIE", 11),
		"too many entries":       huge,
		"an end within another":  slices.Concat(empty, []byte("abcd\x00\x00\x00\x20EOIE\x00\x00\x00\x18\x00\x00\x00\x7f"), make([]byte, 40)),
		"another table":          slices.Concat(empty, []byte("IEOT\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x20\x00\x00\x00\x00"), make([]byte, 20)),
		"cut off":                data[:len(data)/2],
		"another size of names":  nil,
		"a later version":        append([]byte("DIRC\x00\x00\x00\x05"), data[8:]...),
	} {
		if _, err := readIndex(bad, 20); err == nil {
			t.Errorf("accepted: %s", what)
		}
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00xxxxxxxxxxxxxxxxxxxx"), 20)
	f.Add([]byte("DIRC\x00\x00\x00\x04\x00\x00\x00\x01"+strings.Repeat("\x00", 62)+"\x00ab\x00link\x00\x00\x00\x14"+strings.Repeat("x", 40)), 20)
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x01"+strings.Repeat("\x00", 26)+"\xe0"+strings.Repeat("\x00", 35)+"ab\x00\x00\x00\x00\x00\x00\x00\x00EOIE\x00\x00\x00\x18"+strings.Repeat("x", 44)), 20)
	f.Fuzz(func(t *testing.T, data []byte, hash int) {
		if hash != 20 && hash != 32 {
			return
		}
		idx, err := readIndex(data, hash)
		if err != nil {
			return
		}
		for _, link := range idx.links {
			if link == "" || strings.Contains(link, "\x00") {
				t.Errorf("a gitlink at %q", link)
			}
		}
	})
}
