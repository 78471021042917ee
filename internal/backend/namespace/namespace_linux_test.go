package namespace

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/sandbox/sandboxtest"
)

// crashStage makes the test binary a supervisor that will be killed.
const crashStage = "crash"

// TestMain lets the test binary be its own machine's first process, as the real one is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Child {
		os.Exit(Main(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == crashStage {
		os.Exit(startAndWait(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func newBackend() *Backend {
	return New("/proc/self/exe", slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

func TestConformance(t *testing.T) {
	sandboxtest.Run(t, func(*testing.T) sandbox.Backend { return newBackend() }, sandboxtest.Options{Crash: crash})
}

// crash runs a supervisor that starts a machine, and kills it.
func crash(t *testing.T, spec sandbox.Spec, argv []string) {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", append([]string{crashStage}, argv...)...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(text)), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "running\n" {
		t.Fatalf("the supervisor said %q: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

// startAndWait is crash's other end.
func startAndWait(argv []string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "crash:", err)
		return 1
	}
	var spec sandbox.Spec
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		return fail(err)
	}
	ctx := context.Background()
	m, err := newBackend().Start(ctx, spec)
	if err != nil {
		return fail(err)
	}
	conn, err := m.Guest(ctx)
	if err != nil {
		return fail(err)
	}
	c, err := guestproto.Dial(ctx, conn)
	if err != nil {
		return fail(err)
	}
	if _, err := c.Run(ctx, guestproto.Command{Argv: argv, Session: "doomed", Detach: true}); err != nil {
		return fail(err)
	}
	fmt.Println("running")
	_, _ = io.Copy(io.Discard, conn) // until killed
	return 0
}
