package sandboxtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func commandsRun(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	y := s.start(t, spec)
	if out, code := y.sh("echo out; exit 7"); out != "out\n" || code != 7 {
		t.Errorf("got %q and %d", out, code)
	}
	if _, code := y.sh("kill -TERM $$"); code != 128+15 {
		t.Errorf("a command ended by SIGTERM has code %d", code)
	}
	if got := y.want("pwd"); got != ws {
		t.Errorf("the working directory is %q, want %q", got, ws)
	}
}

func userIsTheSandboxes(t *testing.T, s *suite) {
	spec, _ := s.newSpec(t)
	y := s.start(t, spec)
	want := fmt.Sprintf("%d:%d ann %s", spec.User.UID, spec.User.GID, spec.User.Home)
	if got := y.want(`echo "$(id -u):$(id -g) $(id -un) $HOME"`); got != want {
		t.Errorf("inside we are %q, want %q", got, want)
	}
	if groups := y.want("id -G"); slices.Contains(strings.Fields(groups), "0") {
		t.Errorf("inside we are in root's group: %s", groups)
	}
}

func environmentIsTheSpecs(t *testing.T, s *suite) {
	t.Setenv("BAILEY_CANARY", "sings")
	spec, _ := s.newSpec(t)
	spec.Env = append(spec.Env, "GIVEN=as it is")
	y := s.start(t, spec)
	inside := y.want("env")
	if !strings.Contains(inside, "GIVEN=as it is\n") {
		t.Errorf("the spec's variable is missing:\n%s", inside)
	}
	if strings.Contains(inside, "CANARY") {
		t.Errorf("the host's environment came along:\n%s", inside)
	}
}

func streamsAreIndependent(t *testing.T, s *suite) {
	spec, _ := s.newSpec(t)
	y := s.start(t, spec)
	second := y.dial()
	if err := y.guest.Close(); err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, second, guestproto.Command{Argv: []string{"echo", "still here"}}); code != 0 || out != "still here\n" {
		t.Errorf("the second stream gave %q and %d", out, code)
	}
}

// background starts a process inside that can be told from outside, and returns its mark.
func (y *yard) background() string {
	y.t.Helper()
	mark := "mark" + rand.Text()
	script := fmt.Sprintf(`trap "" HUP TERM; echo up; while :; do sleep 60; done # %s`, mark)
	p, err := y.guest.Run(y.t.Context(), guestproto.Command{Argv: []string{"/bin/sh", "-c", script}, Session: strings.ToLower(mark[:12])})
	if err != nil {
		y.t.Fatal(err)
	}
	up := make([]byte, 3)
	if _, err := p.Stdout.Read(up); err != nil {
		y.t.Fatalf("the background process did not start: %v", err)
	}
	return mark
}

// processes counts the host's processes with mark on their command line.
func processes(t *testing.T, mark string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Skip("the host's processes cannot be listed here")
	}
	n := 0
	for _, f := range files {
		if cmdline, err := os.ReadFile(f); err == nil && strings.Contains(string(cmdline), mark) {
			n++
		}
	}
	return n
}

func stopEndsEverything(t *testing.T, s *suite) {
	spec, _ := s.newSpec(t)
	y := s.start(t, spec)
	mark := y.background()
	if processes(t, mark) == 0 {
		t.Skip("processes of this backend are not the host's: they cannot be seen from outside")
	}
	select {
	case <-y.machine.Done():
		t.Fatal("done is closed while the machine runs")
	default:
	}
	stop(t, y.machine)
	if n := processes(t, mark); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	select {
	case <-y.machine.Done():
	case <-time.After(5 * time.Second):
		t.Error("done is not closed")
	}
	stop(t, y.machine)
	if conn, err := y.machine.Guest(t.Context()); err == nil {
		_ = conn.Close()
		t.Error("a stopped machine gives a stream")
	}
}

func failedStartLeavesNothing(t *testing.T, s *suite) {
	spec, ws := s.newSpec(t)
	before := mounts(t)
	broken := spec
	broken.Mounts = append(slices.Clone(spec.Mounts),
		sandbox.Mount{Kind: sandbox.MountBind, Source: filepath.Join(ws, "missing"), Target: filepath.Join(ws, "missing")})
	m, err := s.newBackend(t).Start(t.Context(), broken)
	if err == nil {
		stop(t, m)
		t.Fatal("a spec with a missing source started")
	}
	if after := mounts(t); after != before {
		t.Errorf("the host's mounts changed:\n%s", after)
	}
	if _, err := os.Lstat(filepath.Join(ws, "missing")); err == nil {
		t.Error("the failed start left something in the workspace")
	}
	s.start(t, spec).want("true")
}

func mounts(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return string(b)
}

func recoverNothing(t *testing.T, s *suite) {
	dir := private(t)
	for range 2 {
		if err := s.newBackend(t).Recover(t.Context(), "never-was", dir); err != nil {
			t.Error(err)
		}
	}
}

func recoverAfterCrash(t *testing.T, s *suite) {
	if s.o.Crash == nil {
		t.Skip("this backend's tests cannot crash a supervisor")
	}
	spec, _ := s.newSpec(t)
	mark := "mark" + rand.Text()
	s.o.Crash(t, spec, []string{"/bin/sh", "-c", "while :; do sleep 60; done # " + mark})
	for range 2 {
		if err := s.newBackend(t).Recover(t.Context(), spec.Name, spec.Dir); err != nil {
			t.Fatal(err)
		}
	}
	if n := processes(t, mark); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	s.start(t, spec).want("true")
}

func cancelledStart(t *testing.T, s *suite) {
	spec, _ := s.newSpec(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m, err := s.newBackend(t).Start(ctx, spec)
	if err == nil {
		stop(t, m)
		t.Fatal("a cancelled start returned a machine")
	}
}

func limitsHold(t *testing.T, s *suite) {
	caps, err := s.newBackend(t).Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []struct {
		name    string
		support sandbox.Support
		limits  sandbox.Limits
		beyond  string // fails inside where the limit holds, and works without
	}{
		{"pids", caps.Pids, sandbox.Limits{Pids: 30}, `i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i+1)); done; wait`},
		{"memory", caps.Memory, sandbox.Limits{Memory: 64 << 20}, `[ $(head -c 200m /dev/zero | tail -c 200m | wc -c) -eq 209715200 ]`},
		{"disk", caps.Disk, sandbox.Limits{Disk: 8 << 20}, `head -c 32m /dev/zero > $HOME/big`},
		{"cpus", caps.CPUs, sandbox.Limits{CPUs: 0.2}, ""}, // measured by cpuHolds
	} {
		t.Run(l.name, func(t *testing.T) {
			spec, _ := s.newSpec(t)
			if l.support.OK && l.beyond != "" {
				if out, code := s.start(t, spec).sh(l.beyond); code != 0 {
					t.Fatalf("without the limit the control failed: %d %s", code, out)
				}
			}
			spec, _ = s.newSpec(t)
			spec.Limits = l.limits
			if !l.support.OK {
				m, err := s.newBackend(t).Start(t.Context(), spec)
				if err == nil {
					stop(t, m)
				}
				if !errors.Is(err, sandbox.ErrUnsupported) {
					t.Errorf("an unsupported limit gave %v", err)
				}
				return
			}
			y := s.start(t, spec)
			if l.beyond == "" {
				cpuHolds(t, y, l.limits.CPUs)
				return
			}
			y.refused(l.beyond)
		})
	}
}

// cpuHolds burns processor time for a second and counts how much there was.
func cpuHolds(t *testing.T, y *yard, cpus float64) {
	before, err := y.machine.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	y.sh("timeout 1 sh -c 'while :; do :; done'")
	after, err := y.machine.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if used := (after.CPU - before.CPU).Seconds(); used > 2.5*cpus || used == 0 {
		t.Errorf("in one second %v s of processor time were used, the limit is %v", used, cpus)
	}
}

func useIsCounted(t *testing.T, s *suite) {
	spec, _ := s.newSpec(t)
	y := s.start(t, spec)
	before, err := y.machine.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	y.background()
	y.sh("timeout 0.3 sh -c 'while :; do :; done'")
	after, err := y.machine.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Processes <= before.Processes || after.CPU <= before.CPU || after.Memory <= 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
