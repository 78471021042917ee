package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// tempDir is t.TempDir without links, as Resolve returns paths.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func mkdirs(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	mkdirs(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, text, path string) {
	t.Helper()
	mkdirs(t, filepath.Dir(path))
	if err := os.Symlink(text, path); err != nil {
		t.Fatal(err)
	}
}

func TestResolveTakesProjectsWithOddNames(t *testing.T) {
	dir := tempDir(t)
	home := dir + "/home/ada"
	r := Roots{Home: home, Own: []string{home + "/.local/state/bailey", "/nowhere"}}
	mkdirs(t, home+"/.ssh")
	for _, name := range []string{"p", "a:b,c", `q'uo"te`, "with space", "-dash", "日本", ".dotfiles", ".local/share/chezmoi"} {
		want := home + "/" + name
		mkdirs(t, want)
		if got, err := Resolve(want+"/../"+filepath.Base(name)+"/", r); err != nil || got != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	symlink(t, home+"/p", dir+"/link")
	if got, err := Resolve(dir+"/link", r); err != nil || got != home+"/p" {
		t.Errorf("a link: %q, %v", got, err)
	}
	t.Chdir(home + "/p")
	if got, err := Resolve(".", r); err != nil || got != home+"/p" {
		t.Errorf("the working directory: %q, %v", got, err)
	}
}

func TestResolveRefusesWhatIsNoProject(t *testing.T) {
	dir := tempDir(t)
	home := dir + "/home/ada"
	own := dir + "/state/bailey"
	mkdirs(t, home+"/.ssh/keys", home+"/.config/x", home+"/dotfiles/aws", own+"/sandboxes/x/layers", dir+"/new\nline", dir+"/bidi\u202e", dir+"/bad\xff")
	symlink(t, "dotfiles/aws", home+"/.aws")
	symlink(t, home+"/.ssh", dir+"/innocent")
	write(t, dir+"/file", "")
	r := Roots{Home: home, Own: []string{own, home + "/.config/bailey"}}
	for path, want := range map[string]string{
		"":                   "without a name",
		dir + "/missing":     "does not exist",
		dir + "/file":        "not a directory",
		dir + "/new\nline":   "control or invalid",
		dir + "/bidi\u202e":  "control or invalid",
		dir + "/bad\xff":     "control or invalid",
		home:                 "is your home directory",
		dir + "/home":        "contains your home",
		"/":                  "contains your home",
		home + "/.ssh":       "private",
		home + "/.ssh/keys":  "private",
		dir + "/innocent":    "private",
		home + "/.config/x":  "private",
		home + "/dotfiles":   "overlaps " + home + "/.aws",
		own:                  "bailey's own",
		filepath.Dir(own):    "bailey's own",
		own + "/sandboxes/x": "bailey's own",
		"/etc":               "system",
		"/etc/ssl":           "system",
		"/usr":               "system",
		"/usr/bin":           "system",
		"/bin":               "system",
		"/proc/self":         "system",
		"/proc/self/root":    "contains your home",
		"/dev":               "system",
		"/var":               "system",
		"/tmp":               "", // with a TMPDIR below /tmp it contains the home of this test
	} {
		got, err := Resolve(path, r)
		if err == nil {
			t.Errorf("%q becomes %q", path, got)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", path, err)
		}
		if path != "" && sandbox.Hint(err) == "" {
			t.Errorf("%q: no hint with %v", path, err)
		}
	}
	if os.Getuid() != 0 {
		mkdirs(t, dir+"/closed")
		if err := os.Chmod(dir+"/closed", 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Resolve(dir+"/closed", r); err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("an unreadable directory: %v", err)
		}
	}
}
