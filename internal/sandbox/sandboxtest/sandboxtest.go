// Package sandboxtest is the conformance suite: the behaviours that every backend must show, judged from
// outside of the sandbox wherever that is possible. A backend that lacks one says so in Options, with the
// reason, and the case is skipped; a case never passes because a command inside could not be run.
package sandboxtest

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/image"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Ability is a group of behaviours that a backend may lack.
type Ability string

const (
	// Files: the machine has a root file system and mounts of its own.
	Files Ability = "files"
	// Users: commands run as Spec.User.
	Users Ability = "users"
	// Network: the machine has a network of its own, or none.
	Network Ability = "network"
	// Usage: Stats counts what the machine uses.
	Usage Ability = "usage"
)

// Options describe the backend under test.
type Options struct {
	// Lacks says what the backend cannot do, and why.
	Lacks map[Ability]string
	// Crash starts a machine from spec in a process of its own, runs argv in it as a session, and kills
	// that process with SIGKILL. Nil skips the cases about what a dead supervisor leaves behind.
	Crash func(t *testing.T, spec sandbox.Spec, argv []string)
}

// Run tests the backend that newBackend returns.
func Run(t *testing.T, newBackend func(t *testing.T) sandbox.Backend, o Options) {
	s := &suite{newBackend: newBackend, o: o, cache: private(t)}
	cases := []struct {
		name  string
		needs []Ability
		run   func(t *testing.T, s *suite)
	}{
		{"a command's output and exit code come out", nil, commandsRun},
		{"a command runs as the sandbox's user and never as root", []Ability{Users}, userIsTheSandboxes},
		{"a command has the spec's environment and nothing of the host's", nil, environmentIsTheSpecs},
		{"two streams are independent", nil, streamsAreIndependent},
		{"stop ends every process, twice is fine, and done is closed", nil, stopEndsEverything},
		{"a start that fails leaves nothing, and the next one works", []Ability{Files}, failedStartLeavesNothing},
		{"recovering what never was is no error", nil, recoverNothing},
		{"recovering after a crash leaves no process and the next start works", nil, recoverAfterCrash},
		{"a cancelled start returns no machine", nil, cancelledStart},
		{"a limit is enforced or refused, never ignored", nil, limitsHold},
		{"use is counted", []Ability{Usage}, useIsCounted},

		{"a bind shows the host's files at their own path with their owner", []Ability{Files}, bindsShowFiles},
		{"a read-only bind cannot be written", []Ability{Files}, readOnlyBinds},
		{"hidden files read as empty", []Ability{Files}, hiddenFiles},
		{"protected files can be neither changed nor moved nor removed", []Ability{Files}, protectedFiles},
		{"a pinned directory can be written but not moved away", []Ability{Files}, pinnedDirectories},
		{"what is written to an overlay stays in its layer", []Ability{Files}, overlaysKeepChanges},
		{"a copy of what a machine keeps is another machine's", []Ability{Files}, copiesAreWhole},
		{"state and the root's changes survive a stop, and the host's root is untouched", []Ability{Files}, changesSurvive},
		{"a read-only root cannot be changed", []Ability{Files}, readOnlyRoot},
		{"the host's files, users and name are not visible", []Ability{Files}, hostIsInvisible},

		{"without a network nothing can be reached", []Ability{Network}, noNetwork},
		{"with the gateway every connection is a flow to where it wanted to go", []Ability{Network}, flowsArrive},
		{"with the gateway connecting fails as it is judged", []Ability{Network}, handshakesAreJudged},
		{"with the gateway every DNS question arrives, whatever server was asked", []Ability{Network}, questionsArrive},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, need := range c.needs {
				if why, lacks := o.Lacks[need]; lacks {
					t.Skipf("this backend lacks %s: %s", need, why)
				}
			}
			c.run(t, s)
		})
	}
}

type suite struct {
	newBackend func(t *testing.T) sandbox.Backend
	o          Options
	cache      string // of the host's configuration, which is the same for every case
}

// yard is one running machine in a test.
type yard struct {
	t       *testing.T
	machine sandbox.Machine
	guest   *guestproto.Client
	spec    sandbox.Spec
}

// start runs a machine until the test's end.
func (s *suite) start(t *testing.T, spec sandbox.Spec) *yard {
	t.Helper()
	m, err := s.newBackend(t).Start(t.Context(), spec)
	if err != nil {
		t.Fatalf("cannot start: %v (hint: %s)", err, sandbox.Hint(err))
	}
	t.Cleanup(func() {
		stop(t, m)
		// The backend may have made what the test's own user cannot delete.
		if err := s.newBackend(t).Remove(context.Background(), spec.Name, spec.Dir); err != nil {
			t.Errorf("remove: %v", err)
		}
	})
	y := &yard{t: t, machine: m, spec: spec}
	y.guest = y.dial()
	return y
}

func stop(t *testing.T, m sandbox.Machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// dial opens one more stream.
func (y *yard) dial() *guestproto.Client {
	y.t.Helper()
	conn, err := y.machine.Guest(y.t.Context())
	if err != nil {
		y.t.Fatalf("cannot open a stream: %v", err)
	}
	c, err := guestproto.Dial(y.t.Context(), conn)
	if err != nil {
		y.t.Fatalf("the guest does not answer: %v", err)
	}
	y.t.Cleanup(func() { _ = c.Close() })
	return c
}

// sh runs a script inside and returns what it printed, stderr too, and its exit code.
func (y *yard) sh(script string) (string, int) {
	y.t.Helper()
	return run(y.t, y.guest, guestproto.Command{Argv: []string{"/bin/sh", "-c", script}})
}

// want runs a script inside that must succeed, and returns its output without the last newline.
func (y *yard) want(script string) string {
	y.t.Helper()
	out, code := y.sh(script)
	if code != 0 {
		y.t.Fatalf("inside, %q ended with %d: %s", script, code, out)
	}
	return strings.TrimSuffix(out, "\n")
}

// refused runs a script inside that must fail.
func (y *yard) refused(script string) {
	y.t.Helper()
	if out, code := y.sh(script); code == 0 {
		y.t.Errorf("inside, %q worked: %s", script, out)
	}
}

func run(t *testing.T, c *guestproto.Client, cmd guestproto.Command) (string, int) {
	t.Helper()
	p, err := c.Run(t.Context(), cmd)
	if err != nil {
		t.Fatalf("cannot run %q: %v", cmd.Argv, err)
	}
	defer p.Close()
	var out lockedBuffer
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(&out, p.Stdout) })
	wg.Go(func() { _, _ = io.Copy(&out, p.Stderr) })
	wg.Wait()
	exit, err := p.Wait()
	if err != nil {
		t.Fatalf("lost %q: %v", cmd.Argv, err)
	}
	return out.b.String(), exit.Code
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// newSpec is a spec with the host's root file system, a home of its own and the workspace ws, which is also
// returned. Tests add to it.
func (s *suite) newSpec(t *testing.T) (spec sandbox.Spec, ws string) {
	t.Helper()
	dir, ws := private(t), private(t)
	user := sandbox.User{
		Name: "ann", UID: os.Getuid(), GID: os.Getgid(), Home: "/home/ann", Shell: "/bin/sh",
		HostUID: os.Getuid(), HostGID: os.Getgid(),
	}
	if user.UID == 0 {
		user.UID, user.GID = 1000, 1000
	}
	root, tools, env, err := image.Host(image.HostInput{
		User: user, Hostname: "yard", MachineID: strings.Repeat("5a", 16), HostHome: user.Home, Cache: s.cache,
		Getenv: func(key string) string { return map[string]string{"PATH": "/usr/bin:/bin"}[key] },
	})
	if err != nil {
		t.Fatal(err)
	}
	return sandbox.Spec{
		Name: "conformance", Dir: dir, Hostname: "yard", User: user, Root: root, Env: env, Workdir: ws,
		Mounts: slices.Concat([]sandbox.Mount{{Kind: sandbox.MountState, Source: "home", Target: user.Home}}, tools,
			[]sandbox.Mount{{Kind: sandbox.MountBind, Source: ws, Target: ws}}),
	}, ws
}

// private is a directory that only the user can enter, at its real path.
func private(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
