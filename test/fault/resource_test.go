//go:build linux

package fault

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestASandboxCannotUseUpItsSupervisorsFiles(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		var open []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				for _, c := range open {
					_ = c.Close()
				}
				return
			}
			open = append(open, conn)
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	l := newLab(t)
	must(t, l, "create", "--name", "box", "--allow", "tcp:host.bailey.internal:"+port, "shell", ".")
	start := l.Command(nil)
	start.Path, start.Args = "/bin/sh", []string{"sh", "-c", `ulimit -n 256; exec "$0" start box`, l.Binary}
	if out, err := start.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Each is held open; what fails is counted.
	hold := fmt.Sprintf("no=0; for i in $(seq 10 209); do eval \"exec $i<>/dev/tcp/host.bailey.internal/%s\" 2>/dev/null && "+
		"read -t 0.05 -u $i x; [ $? -gt 128 ] || no=$((no+1)); done; echo refused $no; exec sleep 1000", port)
	flood := l.Command(nil, "run", "box", "--", "-c", "exec bash -c '"+hold+"'")
	screen := &screen{}
	flood.Stdout, flood.Stderr = screen, screen
	if err := flood.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { endClient(flood) }()
	for end := time.Now().Add(time.Minute); !strings.Contains(screen.text(), "refused "); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not end: %s", screen.text())
		}
	}
	var refused int
	_, told, _ := strings.Cut(screen.text(), "refused ")
	if _, err := fmt.Sscan(told, &refused); err != nil || refused == 0 || refused >= 200 {
		t.Errorf("of 200 connections %d were refused (%v)", refused, err)
	}
	for range 5 {
		must(t, l, "exec", "box", "true")
	}
	must(t, l, "ls")
}

func endClient(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestAnIdleSandboxIsSmall(t *testing.T) {
	l := newLab(t)
	must(t, l, "create", "--name", "box", "shell", ".")
	must(t, l, "start", "box")
	if l.Memory("box") == 0 {
		t.Skip("only root can see what a sandbox's first process takes")
	}
	time.Sleep(1500 * time.Millisecond) // not for something to happen, but for nothing to
	const target = 20 << 20
	if got := l.Memory("box"); got > target {
		t.Errorf("supervisor and guest take %.1f MiB", float64(got)/(1<<20))
	} else {
		t.Logf("supervisor and guest take %.1f MiB", float64(got)/(1<<20))
	}
}

// TestSandboxesOfOneName: names are unique in a state directory, control groups belong to the whole host.
func TestSandboxesOfOneName(t *testing.T) {
	one, two := newLab(t), newLab(t)
	name := one.Name()
	if out := one.Run(nil, "create", "--name", name, "--pids", "400", "shell", "."); out.Code != 0 {
		t.Fatal(out)
	}
	if out := one.Run(nil, "start", name); strings.Contains(out.Stderr, "cannot be enforced") {
		t.Skip("this machine has no limits for this user")
	} else if out.Code != 0 {
		t.Fatal(out)
	}
	must(t, two, "create", "--name", name, "--pids", "30", "shell", ".")
	must(t, two, "start", name)
	const many = `for i in $(seq 60); do sleep 1 & done 2>/dev/null; echo all`
	if out := one.Run(nil, "exec", name, "sh", "-c", many); out.Stdout != "all\n" {
		t.Errorf("the one with the high limit: %v", out)
	}
	if out := two.Run(nil, "exec", name, "sh", "-c", many); out.Stdout == "all\n" {
		t.Errorf("the one with the low limit: %v", out)
	}
	must(t, two, "rm", "-f", name)
	must(t, one, "restart", name)
}
