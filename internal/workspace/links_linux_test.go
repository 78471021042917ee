package workspace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// expectMoved skips the reports of new repositories until path was moved away.
func expectMoved(t *testing.T, hits <-chan Hit, path string) {
	t.Helper()
	for limit := time.After(20 * time.Second); ; {
		select {
		case h := <-hits:
			if h.Kind == HitMoved && h.Path == path {
				return
			}
			if h.Kind != HitRepository {
				t.Errorf("got %+v", h)
			}
		case <-limit:
			t.Fatalf("nothing happened to %s", path)
		}
	}
}

func TestWhatAnIndexRecordsBecomesNoRepository(t *testing.T) {
	const some = "0123456789012345678901234567890123456789"
	for what, c := range map[string]struct{ before, attack, moved string }{
		"a repository that is added":           {"", "git init -q sub; git -C sub commit -q --allow-empty -m s; git add sub", "sub/.git"},
		"a repository where one is recorded":   {"", "git update-index --add --cacheinfo 160000," + some + ",sub; mkdir sub; mkdir sub/.git", "sub/.git"},
		"one that was recorded at the start":   {"git update-index --add --cacheinfo 160000," + some + ",sub", "mkdir sub; mkdir sub/.git", "sub/.git"},
		"a pointer":                            {"git update-index --add --cacheinfo 160000," + some + ",sub", "mkdir sub; echo gitdir: x >sub/.git", "sub/.git"},
		"a link":                               {"git update-index --add --cacheinfo 160000," + some + ",sub", "mkdir sub; ln -s x sub/.git", "sub/.git"},
		"a parent that is moved in":            {"", "git update-index --add --cacheinfo 160000," + some + ",a/b/sub; mkdir -p x/b/sub/.git; mv x a", "a/b/sub/.git"},
		"one among packages":                   {"", "mkdir -p node_modules/x/.git; git update-index --add --cacheinfo 160000," + some + ",node_modules/x", "node_modules/x/.git"},
		"an index that is written in place":    {"", "mkdir -p sub/.git; GIT_INDEX_FILE=$PWD/.git/new git update-index --add --cacheinfo 160000," + some + ",sub; cat .git/new >.git/index", ".git/index"},
		"a gitlink whose path is in no index":  {"git update-index --split-index", "git update-index --cacheinfo 160000," + some + ",f", ".git/index"},
		"a link for an index":                  {"", "mv .git/index i; ln -s ../i .git/index", ".git/index"},
		"an index of more than can be watched": {"", "for i in $(seq 1001); do echo \"160000 " + some + "\td$i/s\"; done | git update-index --index-info", ".git/index"},
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := exec.LookPath("git"); err != nil {
				t.Skip("there is no git here")
			}
			ws := tempDir(t)
			shell(t, ws, "git init -q; echo 1 >f; git add f; git commit -qm first; "+c.before)
			hits, _ := guarded(t, ws)
			shell(t, ws, c.attack)
			expectMoved(t, hits, ws+"/"+c.moved)
		})
	}
}

func TestAnIndexCannotBeChangedBehindTheGuard(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	for what, open := range map[string]func(ws string) (*os.File, error){
		"the index itself": func(ws string) (*os.File, error) { return os.OpenFile(ws+"/.git/index", os.O_RDWR, 0) },
		"another name of it": func(ws string) (*os.File, error) {
			if err := os.Link(ws+"/.git/index", ws+"/other"); err != nil {
				return nil, err
			}
			return os.OpenFile(ws+"/other", os.O_RDWR, 0)
		},
		"before it was the index": func(ws string) (*os.File, error) {
			f, err := os.OpenFile(ws+"/staged", os.O_RDWR, 0)
			return f, errors.Join(err, os.Rename(ws+"/staged", ws+"/.git/index"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			ws := tempDir(t)
			shell(t, ws, "git init -q; echo 1 >f; git add f; git commit -qm first; cp .git/index staged")
			l := leases{refused: map[string]bool{}}
			if l.probe(ws+"/.git", "HEAD"); l.refused[ws+"/.git"] {
				t.Skip("this file system has no leases")
			}
			hits, _ := guarded(t, ws)
			expectQuiet(t, hits, ws) // by now the guard has read everything
			f, err := open(ws)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			expectMoved(t, hits, ws+"/.git/index")
			shell(t, ws, "git reset -q; git status; git add f; git commit -q --allow-empty -m second")
		})
	}
}

func TestTheUsersOwnRepositoriesStayWhenTheyAreRecorded(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	ws := tempDir(t)
	shell(t, ws, `git init -q; for i in old other node_modules/own; do git init -q $i; git -C $i commit -q --allow-empty -m first; done
		git add -f old node_modules/own; git -C old config core.pager mine`)
	hits, _ := guarded(t, ws)
	shell(t, ws, "git add other; echo >f; git add f; git commit -qm all; git -C old config branch.x.remote mine")
	expectHit(t, hits, HitConfig, ws+"/old/.git/config")
	expectQuiet(t, hits, ws)
	for _, kept := range []string{"old/.git/config", "other/.git/config", "node_modules/own/.git/config", ".git/index"} {
		if _, err := os.Stat(ws + "/" + kept); err != nil {
			t.Error(err)
		}
	}
}

func TestAnAgentInALoopIsNotFasterThanTheGuard(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	ws := tempDir(t)
	shell(t, ws, "git init -q; git update-index --add --cacheinfo 160000,0123456789012345678901234567890123456789,sub")
	hits, _ := guarded(t, ws)
	for i := range 100 {
		mkdirs(t, fmt.Sprintf("%s/stage%d/.git", ws, i))
		if err := os.Rename(fmt.Sprintf("%s/stage%d", ws, i), ws+"/sub"); err == nil {
			continue
		}
		if err := errors.Join(os.RemoveAll(ws+"/old"), os.Rename(ws+"/sub", ws+"/old")); err != nil {
			t.Fatal(err)
		}
	}
	write(t, ws+"/.exrc", "")
	expectEnd := time.After(20 * time.Second)
	for end := false; !end; {
		select {
		case h := <-hits:
			end = h.Path == ws+"/.exrc"
		case <-expectEnd:
			t.Fatal("the guard sleeps")
		}
	}
	if _, err := os.Lstat(ws + "/sub/.git"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there in the end: %v", err)
	}
}
