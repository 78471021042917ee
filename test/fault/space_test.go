//go:build linux

package fault

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk gives the test a file system of its own, of 64 MiB, for scratch directories. It is mounted in a
// mount namespace of the test's thread, which the processes that it starts share, and goes with it.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = unix.Mount("small", dir, "tmpfs", 0, "size=64m,mode=0755")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	t.Setenv("TMPDIR", dir)
	return dir
}

// fill takes all space that is left in dir.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		err = nil
	}
	return func() {
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
}

func TestAFullDisk(t *testing.T) {
	disk := smallDisk(t)
	l := newLab(t)
	full := func(do func()) {
		free := fill(t, disk)
		do()
		free()
	}
	full(func() {
		if text := fails(t, l, "create", "--name", "box", "shell", "."); !strings.Contains(text, "no space left") || !strings.Contains(text, "hint: free some space") {
			t.Errorf("the reason is %s", text)
		}
	})
	must(t, l, "create", "--name", "box", "shell", ".")
	full(func() { fails(t, l, "start", "box") })
	must(t, l, "start", "box")
	full(func() {
		if got := must(t, l, "exec", "box", "sh", "-c", "echo x > ~/x || echo refused"); got != "refused\n" {
			t.Errorf("a write inside: %q", got)
		}
		// The log of the agent cannot be kept, and that is no reason to hold the agent up.
		if out := l.Run(nil, "run", "box", "--", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; exit 7"); out.Code != 7 || len(out.Stdout) != 1000000 {
			t.Errorf("the agent: exit code %d, %d bytes, %s", out.Code, len(out.Stdout), out.Stderr)
		}
		must(t, l, "stop", "box")
		if all, err := l.Status(); err != nil || all["box"] != "stopped" {
			t.Errorf("it is %v, %v", all, err)
		}
		must(t, l, "rm", "box")
	})
}

func TestWhatCannotBeRecordedDoesNotHappen(t *testing.T) {
	disk := smallDisk(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var greeted atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// The egress dials before it records; what counts is whether a byte gets through.
			_, _ = io.WriteString(conn, "hello\n")
			_ = conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	l := newLab(t)
	must(t, l, "create", "--name", "box", "--allow", "tcp:host.bailey.internal:"+port, "shell", ".")
	must(t, l, "start", "box")
	connect := func() bool {
		out := must(t, l, "exec", "box", "bash", "-c", "cat < /dev/tcp/host.bailey.internal/"+port+" || true")
		if strings.Contains(out, "hello") {
			greeted.Add(1)
			return true
		}
		return false
	}
	if !connect() {
		t.Fatal("the connection is not allowed in the first place")
	}
	free := fill(t, disk)
	refused := 0
	for range 60 { // the record's last page has room for some
		if !connect() {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("on a full disk only %d of 60 connections were refused", refused)
	}
	free()
	if !connect() {
		t.Error("with space again, the connection is still refused")
	}
	record, err := os.ReadFile(filepath.Join(l.Sandbox("box"), "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if allowed := strings.Count(string(record), `"kind":"connect"`); int64(allowed) != greeted.Load() {
		t.Errorf("%d connections were recorded, %d were made", allowed, greeted.Load())
	}
}

func TestAReadOnlyStateDirectory(t *testing.T) {
	disk := smallDisk(t)
	l := newLab(t)
	must(t, l, "create", "--name", "box", "shell", ".")
	remount(t, disk, unix.MS_RDONLY)
	defer remount(t, disk, 0)
	for _, args := range [][]string{{"create", "--name", "two", "shell", "."}, {"rm", "-f", "box"}, {"start", "box"}} {
		if text := fails(t, l, args...); !strings.Contains(text, "read-only file system") {
			t.Errorf("%v: the reason is %s", args, text)
		}
	}
	if all, err := l.Status(); err != nil || all["box"] != "stopped" {
		t.Errorf("it is %v, %v", all, err)
	}
	remount(t, disk, 0)
	must(t, l, "start", "box")
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""); err != nil {
		t.Error(fmt.Errorf("cannot remount: %w", err))
	}
}
