//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// sshd starts a server of the user's own, and returns the command that runs what follows there, on a terminal.
func (u *user) sshd() string {
	u.t.Helper()
	if os.Geteuid() != 0 {
		u.t.Skip("an ordinary user's ssh server cannot give a terminal away")
	}
	program, err := exec.LookPath("sshd")
	if err != nil {
		if program = "/usr/sbin/sshd"; exec.Command(program, "-V").Run() != nil {
			machine.Lack(u.t, "sshd", err.Error())
		}
	}
	dir := filepath.Join(u.home, "../sshd")
	if err := os.Mkdir(dir, 0o700); err != nil {
		u.t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "key")).CombinedOutput(); err != nil {
		u.t.Fatalf("%v: %s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		u.t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	config := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s/key\nAuthorizedKeysFile %[2]s/key.pub\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n", port, dir)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		u.t.Fatal(err)
	}
	var log strings.Builder
	server := exec.Command(program, "-D", "-e", "-f", filepath.Join(dir, "config"))
	server.Stderr = &log
	if err := server.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if u.t.Failed() {
			u.t.Logf("the ssh server: %s", log.String())
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if !machine.Poll(5*time.Second, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		_ = server.Process.Kill()
		_ = server.Wait()
		machine.Lack(u.t, "sshd", log.String())
	}
	return fmt.Sprintf("ssh -tt -q -p %d -i %s/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null 127.0.0.1 env -i", port, dir)
}

// TestChoosingOverSSH has a real client and a real server between the window and the view.
func TestChoosingOverSSH(t *testing.T) {
	u := newUser(t)
	u.repository()
	u.review("box", `sed -i 's/^5$/FIVE/; s/^8$/EIGHT/' src/numbers; echo new > src/main.go`)
	ssh := u.sshd()
	far := ssh
	for _, kv := range append(u.env, "TERM=xterm-256color") {
		far += " " + shell(shell(kv)) // two shells read it
	}
	s := newScreen(u, "main")
	s.tmux("resize-window", "-t", s.pane(), "-x", "80", "-y", "24")
	settings := s.settings()
	s.line("clear; " + far + " sh -c " + shell(shell("cd "+shell(u.project)+" && bailey apply -i box")))
	s.await("0 of 2 files taken")
	if text := s.text(); strings.Count(text, "\n") > 23 || !strings.Contains(text, "src/numbers  +2 -2") {
		t.Errorf("the list is\n%s", text)
	}
	s.tmux("resize-window", "-t", s.pane(), "-x", "60", "-y", "15")
	if !machine.Poll(screenTime, func() bool {
		text := s.text()
		return strings.Count(text, "\n") <= 14 && strings.Contains(text, "0 of 2 files taken")
	}) {
		t.Errorf("in a smaller window it is\n%s", s.text())
	}
	s.tmux("resize-window", "-t", s.pane(), "-x", "80", "-y", "24")
	s.keys("/")
	s.line("eight")
	s.keys("Enter")
	s.await("1 of 1")
	s.keys("s") // two edits, near each other
	s.await("2 of 2")
	s.keys("n")
	s.keys("y")
	s.keys("Escape")
	s.await("1 of 2 files taken")
	s.keys("w")
	s.await("apply 1 changes in 1 files?")
	s.keys("y")
	s.await("applied 1 changes")
	s.prompt()
	if got := s.settings(); got != settings {
		t.Errorf("the terminal's settings were %s and are %s", settings, got)
	}
	if got := u.host("sed -n '5p;8p' src/numbers; cat src/main.go"); got != "5\nEIGHT\nold\n" {
		t.Errorf("applied is %q", got)
	}
}
