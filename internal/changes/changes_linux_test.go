package changes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/changes/layertest"
)

func tree(t *testing.T, entries map[string]string) string {
	t.Helper()
	root := t.TempDir()
	layertest.Make(t, root, entries)
	return root
}

// summary is the list in one line: + and - and ~, and > for what was renamed.
func summary(l List) string {
	var all []string
	for _, c := range l.Changes {
		switch {
		case c.From != "":
			all = append(all, c.From+">"+c.Path)
		case !c.Old.Is():
			all = append(all, "+"+c.Path)
		case !c.New.Is():
			all = append(all, "-"+c.Path)
		default:
			all = append(all, "~"+c.Path)
		}
	}
	for _, r := range l.Repositories {
		all = append(all, "git:"+r)
	}
	return strings.Join(all, " ")
}

func TestOverlay(t *testing.T) {
	lower := map[string]string{"a": "1", "b": "2", "d/x": "3", "d/y": "4", "l@": "a", ".git/HEAD": "ref"}
	for _, c := range []struct {
		name  string
		upper map[string]string
		want  string
	}{
		{"nothing", nil, ""},
		{"edited, added, removed", map[string]string{"a": "2", "n": "5", "b!": ""}, "~a -b +n"},
		{"copied up and left alike", map[string]string{"a": "1", "d/x": "3"}, ""},
		{"a directory removed", map[string]string{"d!": ""}, "-d -d/x -d/y"},
		{"a directory made anew", map[string]string{"d/!": "", "d/y": "4", "d/z": "6"}, "-d/x +d/z"},
		{"a directory that is a file now", map[string]string{"d": "7"}, "~d -d/x -d/y"},
		{"a file that is a directory now", map[string]string{"a/b": "8"}, "~a +a/b"},
		{"a link that leads elsewhere", map[string]string{"l@": "b"}, "~l"},
		{"a file that is a link now", map[string]string{"a@": "/etc/passwd"}, "~a"},
		{"moved", map[string]string{"a!": "", "e/a": "1"}, "+e a>e/a"},
		{"gone that never was", map[string]string{"never!": ""}, ""},
		{"the repository", map[string]string{".git/hooks/post-checkout": "evil", "sub/.git": "gitdir: x", "other/.GIT/config": "c"}, "+other +sub git:.git git:other/.GIT git:sub/.git"},
		{"odd names", map[string]string{"\xff\n": "1", "-rf": "2"}, "+-rf +\xff\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, err := Overlay(t.Context(), tree(t, lower), tree(t, c.upper))
			if err != nil {
				t.Fatal(err)
			}
			list.JoinRenames()
			if got := summary(list); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestWhatCannotBeReadIsTold(t *testing.T) {
	upper := tree(t, map[string]string{"dir/file": "x", "redirected/": "", "plain": "x"})
	for name, err := range map[string]error{
		"a fifo":       unix.Mkfifo(filepath.Join(upper, "fifo"), 0o600),
		"a redirect":   unix.Setxattr(filepath.Join(upper, "redirected"), "user.overlay.redirect", []byte("/elsewhere"), 0),
		"a mode":       os.Chmod(filepath.Join(upper, "plain"), 0o000),
		"another mode": os.Chmod(filepath.Join(upper, "dir"), 0o000),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	defer os.Chmod(filepath.Join(upper, "dir"), 0o700)
	list, err := Overlay(t.Context(), t.TempDir(), upper)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]Kind{}
	for _, c := range list.Changes {
		kinds[c.Path] = c.New.Kind
	}
	if kinds["fifo"] != Special || kinds["redirected"] != Unreadable {
		t.Errorf("the kinds are %v", kinds)
	}
	if os.Getuid() != 0 && (kinds["plain"] != Unreadable || kinds["dir"] != Unreadable) {
		t.Errorf("the kinds are %v", kinds)
	}
}

func TestTreesFindWhatOverlayFinds(t *testing.T) {
	before := tree(t, map[string]string{"a": "1", "d/x": "3", "gone": "g"})
	after := tree(t, map[string]string{"a": "2", "d/x": "3", "new/": ""})
	list, err := Trees(t.Context(), before, after)
	if got := summary(list); err != nil || got != "~a -gone +new" {
		t.Errorf("%q, %v", got, err)
	}
	if paths := slices.IsSortedFunc(list.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) }); !paths {
		t.Error("they are not in order")
	}
}
