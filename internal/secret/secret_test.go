package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/test/machine"
)

const value = "sk-a-very-secret-value-that-no-file-has"

func newStore(t *testing.T) *Store {
	t.Helper()
	return &Store{Dir: filepath.Join(t.TempDir(), "secrets"), Getenv: os.Getenv}
}

func set(t *testing.T, s *Store, e Entry, v string) {
	t.Helper()
	if err := s.Set(t.Context(), e, v); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t *testing.T, s *Store, name, want string) {
	t.Helper()
	if got, err := s.Value(t.Context(), name); got != want || err != nil {
		t.Errorf("%s is %q, %v", name, got, err)
	}
}

// wantNowhere says that no file of the store has text as it is.
func wantNowhere(t *testing.T, s *Store, text string) {
	t.Helper()
	files, err := os.ReadDir(s.Dir)
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(s.Dir, f.Name()))
		if err != nil || strings.Contains(string(data), text) {
			t.Errorf("%s has the value, or: %v", f.Name(), err)
		}
		if info, _ := f.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
}

func TestVaultKeepsValuesEncrypted(t *testing.T) {
	s := newStore(t)
	set(t, s, Entry{Name: "anthropic", Service: "anthropic", Source: Vault}, value+"\n")
	set(t, s, Entry{Name: "github", Service: "github", Source: Vault}, "another")
	again := &Store{Dir: s.Dir, Getenv: os.Getenv}
	wantValue(t, again, "anthropic", value)
	wantNowhere(t, s, value)
	if info, err := os.Stat(s.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
	if err := s.Remove(t.Context(), "anthropic"); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Value(t.Context(), "anthropic"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a removed secret: %v", err)
	}
	wantValue(t, again, "github", "another")
	if err := s.Remove(t.Context(), "anthropic"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing it twice: %v", err)
	}
}

// A running sandbox has a Store of its own, which must see what another process does.
func TestRotationIsSeenAtTheNextRequest(t *testing.T) {
	s := newStore(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	set(t, s, Entry{Name: "kept", Service: "github", Source: Vault}, "one")
	set(t, s, Entry{Name: "file", Service: "npm", Source: "file:" + file}, "")
	live := &Store{Dir: s.Dir, Getenv: os.Getenv}
	wantValue(t, live, "kept", "one")
	wantValue(t, live, "file", "one")
	set(t, s, Entry{Name: "kept", Service: "github", Source: Vault}, "two")
	write("second\n")
	wantValue(t, live, "kept", "two")
	wantValue(t, live, "file", "second")
	set(t, s, Entry{Name: "kept", Service: "github", Source: "env:OF_LATE"}, "")
	live.Lent.Env = map[string]string{"OF_LATE": "three"}
	wantValue(t, live, "kept", "three")
}

func TestPassphrase(t *testing.T) {
	s := newStore(t)
	if err := s.Protect("x"); sandbox.Hint(err) == "" {
		t.Errorf("no vault: %v", err)
	}
	set(t, s, Entry{Name: "github", Service: "github", Source: Vault}, value)
	if err := s.Protect("correct horse"); err != nil {
		t.Fatal(err)
	}
	locked := &Store{Dir: s.Dir, Getenv: os.Getenv}
	if _, err := locked.Value(t.Context(), "github"); !errors.Is(err, ErrLocked) || !locked.Protected() {
		t.Errorf("without the passphrase: %v", err)
	}
	if err := locked.Set(t.Context(), Entry{Name: "new", Service: "npm", Source: Vault}, "x"); !errors.Is(err, ErrLocked) {
		t.Errorf("keeping one without the passphrase: %v", err)
	}
	if err := locked.Unlock("wrong"); !errors.Is(err, ErrLocked) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	if err := locked.Unlock("correct horse"); err != nil {
		t.Fatal(err)
	}
	wantValue(t, locked, "github", value)
	// What unlocked it is what a supervisor is lent.
	wantValue(t, &Store{Dir: s.Dir, Getenv: os.Getenv, Lent: locked.Lent}, "github", value)
	if err := locked.Protect(""); err != nil {
		t.Fatal(err)
	}
	wantValue(t, &Store{Dir: s.Dir, Getenv: os.Getenv}, "github", value)
}

func TestDamageIsToldAndNothingIsOverwritten(t *testing.T) {
	for _, file := range []string{vaultFile, keyFile, indexFile} {
		s := newStore(t)
		set(t, s, Entry{Name: "github", Service: "github", Source: Vault}, value)
		path := filepath.Join(s.Dir, file)
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Value(t.Context(), "github"); err == nil || strings.Contains(err.Error(), value) {
			t.Errorf("%s: reading: %v", file, err)
		}
		if err := s.Set(t.Context(), Entry{Name: "npm", Service: "npm", Source: Vault}, "x"); err == nil {
			t.Errorf("%s: keeping another secret goes", file)
		}
		if data, err := os.ReadFile(path); string(data) != "damaged" || err != nil {
			t.Errorf("%s was overwritten: %v", file, err)
		}
	}
	s := newStore(t)
	set(t, s, Entry{Name: "github", Service: "github", Source: Vault}, value)
	if err := os.Remove(filepath.Join(s.Dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(t.Context(), Entry{Name: "npm", Service: "npm", Source: Vault}, "x"); err == nil {
		t.Error("a vault whose key is lost gets a new key")
	}
}

func TestReferences(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		"command:printf 'from a command\\n'": "from a command", "command:echo secret-words; exit 3": "", "command:true": "", "command:sleep 1000 & echo out": "out",
		"env:LENT": "lent", "env:NOT_SET_ANYWHERE": "", "file:" + open: "", "file:" + dir: "", "file:/does/not/exist": "",
		"command:printf '%s' \"$OP_TOKEN$LENT$NOT_OURS\"x": "x", // nothing but what it needs
	} {
		t.Setenv("NOT_OURS", "leak")
		s := newStore(t)
		s.Lent.Env = map[string]string{"LENT": "lent", "OP_TOKEN": "leak"}
		set(t, s, Entry{Name: "a", Service: "github", Source: source}, "")
		got, err := s.Value(t.Context(), "a")
		if got != want || (err != nil) != (want == "") || err != nil && strings.Contains(err.Error(), "secret-words") {
			t.Errorf("%s is %q, %v", source, got, err)
		}
	}
	for _, source := range []string{"", "op:x", "op://", "env:", "env:a=b", "file:relative", "command:", "command: ", "https://x", "vault"} {
		if err := newStore(t).Set(t.Context(), Entry{Name: "a", Service: "github", Source: source}, ""); err == nil {
			t.Errorf("the source %q is taken", source)
		}
	}
}

// TestOnePassword has a program in op's place that wants to be called as op is.
func TestOnePassword(t *testing.T) {
	dir := t.TempDir()
	program := `#!/bin/sh
[ "$*" = "read --no-newline op://Private/GitHub/token" ] || { echo "wrong arguments: $*" >&2; exit 1; }
[ "$OP_SERVICE_ACCOUNT_TOKEN" = account ] || { echo "no account" >&2; exit 1; }
[ -z "$NOT_OURS$ANTHROPIC_API_KEY" ] || { echo "it sees too much" >&2; exit 1; }
printf %s from-one-password
`
	if err := os.WriteFile(filepath.Join(dir, "op"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	t.Setenv("NOT_OURS", "x")
	s := newStore(t)
	set(t, s, Entry{Name: "github", Service: "github", Source: "op://Private/GitHub/token"}, "")
	t.Setenv("PATH", t.TempDir())
	if _, err := s.Value(t.Context(), "github"); err == nil || sandbox.Hint(err) == "" {
		t.Errorf("without the program: %v", err)
	}
	t.Setenv("PATH", dir+":"+path)
	if _, err := s.Value(t.Context(), "github"); err == nil || !strings.Contains(err.Error(), "no account") {
		t.Errorf("without an account: %v", err)
	}
	s.Lent.Env = map[string]string{"OP_SERVICE_ACCOUNT_TOKEN": "account", "ANTHROPIC_API_KEY": "x"}
	wantValue(t, s, "github", "from-one-password")
}

func TestEntriesThatCannotBeUsed(t *testing.T) {
	for _, e := range []Entry{
		{Name: "", Service: "github"}, {Name: "A", Service: "github"}, {Name: "../x", Service: "github"}, {Name: ".x", Service: "github"}, {Name: "a", Service: "unknown"}, {Name: "a"},
		{Name: "a", Bindings: []Binding{{Host: "api.test"}}}, {Name: "a", Bindings: []Binding{{Host: "api.test:0", As: []string{"bearer"}}}}, {Name: "a", Bindings: []Binding{{Host: "api.test:x", As: []string{"bearer"}}}},
		{Name: "a", Bindings: []Binding{{Host: "*", As: []string{"bearer"}}}}, {Name: "a", Bindings: []Binding{{Host: "api.test", As: []string{"cookie"}}}}, {Name: "a", Bindings: []Binding{{Host: "127.0.0.1", As: []string{"bearer"}}}},
	} {
		e.Source = Vault
		s := newStore(t)
		if err := s.Set(t.Context(), e, value); err == nil {
			t.Errorf("%+v is taken", e)
		}
	}
}

// TestUpdatesWaitForEachOther: each process adds one to a number, as many times as it can lose an update.
func TestUpdatesWaitForEachOther(t *testing.T) {
	const processes, times = 4, 5
	if dir := os.Getenv("BAILEY_TEST_UPDATE"); dir != "" {
		for range times {
			s := &Store{Dir: dir, Getenv: os.Getenv}
			if err := s.Update(t.Context(), "count", func(old string) (string, error) { return old + "x", nil }); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	s := newStore(t)
	set(t, s, Entry{Name: "count", Service: "github", Source: Vault}, "x")
	var running []*exec.Cmd
	for range processes {
		cmd := exec.Command(os.Args[0], "-test.run=^TestUpdatesWaitForEachOther$")
		cmd.Env = append(os.Environ(), "BAILEY_TEST_UPDATE="+s.Dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	wantValue(t, s, "count", strings.Repeat("x", 1+processes*times))
}

// TestKeyring runs in a session bus of its own, with a Secret Service that is unlocked, one that is locked while it is used,
// and none.
func TestKeyring(t *testing.T) {
	if os.Getenv("BAILEY_TEST_KEYRING") != "" {
		inKeyringSession(t, os.Getenv("BAILEY_TEST_KEYRING"))
		return
	}
	for _, program := range []string{"dbus-run-session", "dbus-send", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			machine.Lack(t, "keyring", err.Error())
		}
	}
	const unlocked = "printf pass | gnome-keyring-daemon --unlock --components=secrets >/dev/null"
	session := func(home, mode, daemon string) {
		cmd := exec.Command("dbus-run-session", "--", "sh", "-c", daemon+fmt.Sprintf(" && exec %s -test.run='^TestKeyring$' -test.v", os.Args[0]))
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_DATA_DIRS=/nowhere", "BAILEY_TEST_KEYRING="+mode)
		cmd.WaitDelay = time.Second
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestKeyring") {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
	}
	session(t.TempDir(), "unlocked", unlocked)
	session(t.TempDir(), "missing", "true")
	home := t.TempDir()
	session(home, "locked", unlocked)
	session(home, "opened", unlocked) // again: nothing is lost
}

// lockedKeyring: nothing is read or kept, that is told, and nothing is lost.
func lockedKeyring(t *testing.T, s *Store, e Entry) {
	lock := exec.Command("dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets",
		"org.freedesktop.Secret.Service.Lock", "array:objpath:/org/freedesktop/secrets/collection/login")
	if out, err := lock.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	other := &Store{Dir: s.Dir, Getenv: os.Getenv} // which has not read it yet
	if got, err := other.Value(ctx, "github"); err == nil || !strings.Contains(sandbox.Hint(err), "unlock") {
		t.Errorf("it is read: %q, %v, hint %q", got, err, sandbox.Hint(err))
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Set(ctx, e, "another"); err == nil || !strings.Contains(sandbox.Hint(err), "unlock") {
		t.Errorf("it is kept: %v, hint %q", err, sandbox.Hint(err))
	}
	if source := DefaultSource(t.Context()); source != Vault {
		t.Errorf("secrets would be kept in %s", source)
	}
}

func inKeyringSession(t *testing.T, mode string) {
	s := newStore(t)
	ctx := context.Background()
	e := Entry{Name: "github", Service: "github", Source: Keyring}
	if mode == "missing" {
		if err := s.Set(ctx, e, value); err == nil || sandbox.Hint(err) == "" {
			t.Errorf("without a keyring: %v", err)
		}
		if all, err := s.List(); len(all) > 0 || err != nil {
			t.Errorf("a secret that could not be kept is listed: %v, %v", all, err)
		}
		return
	}
	if mode == "opened" {
		if got, err := readKeyring(ctx, "github"); err != nil || got != value {
			t.Errorf("after it was locked: %q, %v", got, err)
		}
		return
	}
	set(t, s, e, value)
	wantValue(t, s, "github", value)
	wantNowhere(t, s, value)
	if mode == "locked" {
		lockedKeyring(t, s, e)
		return
	}
	set(t, s, e, "rotated")
	wantValue(t, s, "github", "rotated")
	wantValue(t, &Store{Dir: s.Dir, Getenv: os.Getenv}, "github", "rotated")
	e.Source = Vault
	set(t, s, e, "moved")
	wantValue(t, s, "github", "moved")
	if got, err := readKeyring(ctx, "github"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the move the keyring still has %q, %v", got, err)
	}
}
