//go:build linux

package fault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bailey-sandbox/bailey/test/fault/lab"
)

func TestADamagedRecordStaysAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(l *lab.Lab, dir, record string, text []byte) error
	}{
		{"cut short", func(_ *lab.Lab, _, record string, text []byte) error {
			return os.WriteFile(record, text[:len(text)/2], 0o600)
		}},
		{"empty", func(_ *lab.Lab, _, record string, _ []byte) error { return os.WriteFile(record, nil, 0o600) }},
		{"zeroes, as after a power cut", func(_ *lab.Lab, _, record string, text []byte) error {
			return os.WriteFile(record, make([]byte, len(text)), 0o600)
		}},
		{"a flipped bit in a field's name", func(_ *lab.Lab, _, record string, text []byte) error {
			text[bytes.Index(text, []byte("network"))] ^= 4
			return os.WriteFile(record, text, 0o600)
		}},
		{"of a later version", func(_ *lab.Lab, _, record string, text []byte) error {
			return os.WriteFile(record, bytes.Replace(text, []byte(`"version": 5`), []byte(`"version": 6`), 1), 0o600)
		}},
		{"of another sandbox", func(_ *lab.Lab, _, record string, text []byte) error {
			return os.WriteFile(record, bytes.ReplaceAll(text, []byte(`"hurt`), []byte(`"well`)), 0o600)
		}},
		{"twice", func(_ *lab.Lab, _, record string, text []byte) error {
			return os.WriteFile(record, append(text, text...), 0o600)
		}},
		{"gone", func(_ *lab.Lab, _, record string, _ []byte) error { return os.Remove(record) }},
		{"a link", func(_ *lab.Lab, dir, record string, _ []byte) error {
			return relink(filepath.Join(filepath.Dir(dir), "well-x/sandbox.json"), record)
		}},
		{"a pipe, which nobody writes into", func(_ *lab.Lab, _, record string, _ []byte) error {
			if err := os.Remove(record); err != nil {
				return err
			}
			return syscall.Mkfifo(record, 0o600)
		}},
		{"a directory", func(_ *lab.Lab, _, record string, _ []byte) error {
			if err := os.Remove(record); err != nil {
				return err
			}
			return os.Mkdir(record, 0o700)
		}},
		{"below a file", func(l *lab.Lab, dir, _ string, text []byte) error {
			if out := l.Run(nil, "rm", filepath.Base(dir)); out.Code != 0 {
				return errors.New(out.String())
			}
			return os.WriteFile(dir, text, 0o600)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			for _, name := range []string{"hurt-x", "well-x"} {
				must(t, l, "create", "--name", name, "shell", ".")
			}
			must(t, l, "start", "hurt-x") // so that there is all that a start makes
			must(t, l, "stop", "hurt-x")
			dir := l.Sandbox("hurt-x")
			record := filepath.Join(dir, "sandbox.json")
			text, err := os.ReadFile(record)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.damage(l, dir, record, text); err != nil {
				t.Fatal(err)
			}
			all, err := l.Status()
			if err != nil || all["hurt-x"] != "corrupt" || all["well-x"] != "stopped" {
				t.Errorf("listed as %v, %v", all, err)
			}
			for _, args := range [][]string{{"start", "hurt-x"}, {"exec", "hurt-x", "true"}, {"run", "hurt-x"}, {"inspect", "hurt-x"}} {
				fails(t, l, args...)
			}
			must(t, l, "start", "well-x")
			if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
				if text := fails(t, l, "start", "hurt-x"); !strings.Contains(text, "hint: rm "+dir+"\n") {
					t.Errorf("the error is %s", text)
				}
				if err := os.Remove(dir); err != nil {
					t.Fatal(err)
				}
				return
			}
			must(t, l, "rm", "-f", "well-x", "hurt-x")
		})
	}
}

func relink(target, link string) error {
	if err := os.Remove(link); err != nil {
		return err
	}
	return os.Symlink(target, link)
}

func TestANumberInALockMeansNothing(t *testing.T) {
	for _, pid := range []int{os.Getpid(), 1, 0, -1} {
		l := newLab(t)
		must(t, l, "create", "--name", "box", "shell", ".")
		lock := filepath.Join(l.Sandbox("box"), "lock")
		if err := os.WriteFile(lock, []byte(strconv.Itoa(pid)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := l.Status(); err != nil || all["box"] != "stopped" {
			t.Errorf("with %d in its lock it is %v, %v", pid, all, err)
		}
		must(t, l, "stop", "box") // of what does not run
		must(t, l, "start", "box")
		// And the reverse: the number of a process that is not there, in a lock that is held.
		if err := os.WriteFile(lock, []byte("4194304\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := l.Status(); err != nil || all["box"] != "running" {
			t.Errorf("with the number of nobody it is %v, %v", all, err)
		}
		fails(t, l, "rm", "box")
		must(t, l, "rm", "-f", "box")
	}
}

func TestASandboxWhoseDirectoriesAreGone(t *testing.T) {
	l := newLab(t)
	other := filepath.Join(filepath.Dir(l.Workspace), "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, l, "create", "--name", "box", "shell", other)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if text := fails(t, l, "start", "box"); !strings.Contains(text, other) {
		t.Errorf("the reason does not name the directory: %s", text)
	}
	if all, err := l.Status(); err != nil || all["box"] != "stopped" {
		t.Errorf("it is %v, %v", all, err)
	}
	must(t, l, "rm", "box")
	// A directory of nobody, as a copy from a backup may leave it.
	if err := os.MkdirAll(filepath.Join(l.Sandbox("stray"), "layers"), 0o700); err != nil {
		t.Fatal(err)
	}
	if all, err := l.Status(); err != nil || all["stray"] != "corrupt" {
		t.Errorf("it is %v, %v", all, err)
	}
	must(t, l, "prune", "-f")
	if all, err := l.Status(); err != nil || len(all) > 0 {
		t.Errorf("after prune there are %v, %v", all, err)
	}
}

func TestAStoppedSupervisorHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	must(t, l, "create", "--name", "frozen", "shell", ".")
	must(t, l, "create", "--name", "well", "shell", ".")
	must(t, l, "start", "frozen", "well")
	pid := supervisor(t, l, "frozen")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	all, err := l.Status()
	if err != nil || all["frozen"] != "busy" || all["well"] != "running" {
		t.Errorf("listed as %v, %v", all, err)
	}
	if text := fails(t, l, "rm", "-f", "frozen"); !strings.Contains(text, "hint: kill -9 "+strconv.Itoa(pid)+"\n") {
		t.Errorf("the error is %s", text)
	}
	must(t, l, "exec", "well", "true")
	// The hint helps.
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if all, err := l.Settled(); err != nil || all["frozen"] != "stopped" {
		t.Errorf("listed as %v, %v", all, err)
	}
	must(t, l, "start", "frozen")
}

// supervisor is the pid of a running sandbox's supervisor.
func supervisor(t *testing.T, l *lab.Lab, name string) int {
	t.Helper()
	pid := l.Supervisor(name)
	if pid <= 1 {
		t.Fatalf("the supervisor of %s is process %d", name, pid)
	}
	return pid
}
