//go:build linux

package fault

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/fault/lab"
	"github.com/bailey-sandbox/bailey/test/machine"
)

// failpoints are the names of all places that the sources mark, so that a new one is tested by itself.
func failpoints(t *testing.T) (names []string) {
	t.Helper()
	mark := regexp.MustCompile(`(?:failpoint\.Hit|\.step)\("([^"]+)"\)`)
	err := filepath.WalkDir("../../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range mark.FindAllStringSubmatch(string(text), -1) {
			names = append(names, found[1])
		}
		return err
	})
	if err != nil || len(names) < 30 {
		t.Fatalf("found %v: %v", names, err)
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Fatalf("a name is used twice: %v", names)
	}
	return names
}

// life is what happens to a sandbox, each step by a process of its own.
func life(name string, limits []string) [][]string {
	create := append([]string{"create", "--name", name}, limits...)
	return [][]string{
		append(create, "shell", "."),
		{"start", name},
		{"exec", name, "sh", "-c", "echo was here > ~/kept"},
		{"run", "-d", name, "--", "-c", "sleep 1000"},
		{"stop", name},
		{"rm", name},
		// And one that does all of it.
		{"run", "--rm", "--name", name, "shell", ".", "--", "-c", "true"},
	}
}

func TestEveryFailpoint(t *testing.T) {
	var limits []string
	if os.Getuid() == 0 {
		limits = []string{"--pids", "500", "--disk", "32m"}
	}
	for _, point := range failpoints(t) {
		if strings.HasPrefix(point, applying) {
			continue // TestEveryFailpointOfAnApply
		}
		for _, action := range []string{"kill", "error"} {
			t.Run(point+"/"+action, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				failpointOnce(t, l, point+"="+action, limits)
			})
		}
	}
}

// applying begins the names of the places that nothing but an apply gets to.
const applying = "apply."

// TestEveryFailpointOfAnApply: whatever happens to an apply, the project is as before it or as after it once the next
// command has looked, and applying it again leads to its end.
func TestEveryFailpointOfAnApply(t *testing.T) {
	for _, point := range failpoints(t) {
		if !strings.HasPrefix(point, applying) {
			continue
		}
		for _, action := range []string{"kill", "error"} {
			t.Run(point+"/"+action, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				applyOnce(t, l, point+"="+action)
			})
		}
	}
}

func applyOnce(t *testing.T, l *lab.Lab, fault string) {
	name, project := l.Name(), filepath.Join(l.Dir, "home/src/reviewed")
	if err := os.Mkdir(project, 0o755); err != nil {
		t.Fatal(err)
	}
	state := func() (text string) {
		for _, file := range []string{"edited", "removed", "made/new"} {
			data, err := os.ReadFile(filepath.Join(project, file))
			if err != nil {
				data = []byte("none")
			}
			text += string(data) + " "
		}
		return text
	}
	for _, file := range []string{"edited", "removed"} {
		if err := os.WriteFile(filepath.Join(project, file), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const before, after = "old old none ", "new none new "
	must(t, l, "run", "--review", "--name", name, "--network", "none", "shell", project, "--", "-c", "printf new > edited; rm removed; mkdir made; printf new > made/new")
	must(t, l, "diff", name)
	out := l.Run([]string{"BAILEY_FAILPOINT=" + fault, "BAILEY_FAILPOINT_LOG=" + l.Marker}, "apply", name)
	if marker, _ := os.ReadFile(l.Marker); !strings.Contains(string(marker), fault) {
		t.Fatalf("nothing gets to %s: %v", fault, out)
	}
	if out.Code == 0 || strings.Contains(out.Stderr, "goroutine ") {
		t.Errorf("the fault was not noticed: %v", out)
	}
	must(t, l, "diff", name)
	if now := state(); now != before && now != after {
		t.Errorf("the project is neither as before nor as after: %q", now)
	}
	must(t, l, "apply", name)
	if now := state(); now != after {
		t.Errorf("in the end the project is %q", now)
	}
	must(t, l, "rm", "-f", name)
}

func failpointOnce(t *testing.T, l *lab.Lab, fault string, limits []string) {
	env := []string{"BAILEY_FAILPOINT=" + fault, "BAILEY_FAILPOINT_LOG=" + l.Marker}
	name := l.Name()
	struck, temporary := false, false
	for _, args := range life(name, limits) {
		out := l.Run(env, args...)
		if out.Code < 0 || strings.Contains(out.Stderr, "goroutine ") {
			t.Errorf("it hung or crashed: %v", out)
		}
		marker, _ := os.ReadFile(l.Marker)
		log, _ := os.ReadFile(filepath.Join(l.Sandbox(name), "supervisor.log"))
		if strings.Contains(string(log), "goroutine ") {
			t.Errorf("the supervisor or the sandbox crashed:\n%s", log)
		}
		if struck = strings.Contains(string(marker)+string(log)+out.Stderr, fault+"\n"); struck {
			t.Log(out)
			temporary = args[1] == "--rm"
			break
		}
		if out.Code != 0 {
			t.Fatalf("it failed by itself: %v", out)
		}
	}
	if !struck {
		unreached(t, fault)
		return
	}
	all, err := l.Settled()
	if err != nil {
		t.Fatal(err)
	}
	switch status, there := all[name]; {
	case len(all) > 1:
		t.Errorf("there are %v", all)
	case !there:
		must(t, l, "create", "--name", name, "shell", ".")
	case status == "running":
		// A supervisor whose machine has died is there for a moment longer.
		var out lab.Result
		if !machine.Poll(5*time.Second, func() bool {
			all, err = l.Status()
			out = l.Run(nil, "exec", name, "echo", "alive")
			return err == nil && (out.Stdout == "alive\n" || all[name] == "stopped")
		}) {
			t.Errorf("it is said to be %v, and what is said to run answers %v", all, out)
		}
		must(t, l, "stop", name)
	case status != "stopped":
		t.Errorf("it is said to be %s", status)
	}
	must(t, l, "start", name)
	if got := must(t, l, "exec", name, "sh", "-c", "touch ~/kept && echo alive"); got != "alive\n" {
		t.Errorf("after the next start it answers %q", got)
	}
	for _, verb := range []string{"stop", "rm"} {
		out := l.Run(nil, verb, name)
		// A temporary one goes by itself after its first client.
		if out.Code != 0 && !(temporary && strings.Contains(out.Stderr, "no such sandbox")) {
			t.Error(out)
		}
	}
}

// unreached fails unless only another user than this one gets to the failpoint.
func unreached(t *testing.T, fault string) {
	t.Helper()
	point, _, _ := strings.Cut(fault, "=")
	switch {
	case point == "remove.mapped": // needs subordinate ids
	case (point == "cgroup.made" || strings.HasPrefix(point, "disk.")) && os.Getuid() != 0:
	default:
		t.Fatalf("nothing gets to %s", point)
	}
	t.Skipf("user %d does not get to %s", os.Getuid(), point)
}
