//go:build linux

package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// TestThePublicGuidesCommandsRunVerbatim types what guides to docker's own sandboxes say, with the real
// docker command and the real Claude Code, in a terminal.
func TestThePublicGuidesCommandsRunVerbatim(t *testing.T) {
	if _, err := exec.LookPath("docker"); err != nil {
		machine.Lack(t, "docker", err.Error())
	}
	u := newUser(t)
	s := newScreen(u, "main")
	u.needAgent("claude")
	u.must("docker-plugin", "install")
	m := serveModel(t, work(u.project)...)
	// The guides' key comes from a daemon's environment, ours from the sandbox's; the model is the test's.
	u.must(append([]string{"create"}, m.run("claude", ".")[1:]...)...)
	settings := s.settings()

	s.line("docker sandbox run claude .")
	s.await("bypass permissions on")
	s.line("change the shop")
	s.await("FINISHED-ALL")
	s.keys("C-p", "C-q")
	s.prompt()
	s.await("detached; docker sandbox attach claude-shop")
	u.worked()
	for _, c := range []struct{ line, want string }{
		{"docker sandbox ls", "claude-shop"},
		{"docker sandbox logs claude-shop | tr -d ' ' | grep -c FINISHED-ALL", "1"},
		{"docker sandbox exec -it claude-shop bash -c 'tty; pwd'", "/dev/pts/"},
		{"docker sandbox stop $(docker sandbox ls -q); docker sandbox ls -q", "claude-shop"},
		{"docker sandbox run claude . -- -p \"say it\"", "FINISHED-ALL"},
		{"docker sandbox run --name api-work -d claude .", "api-work"},
		{"docker sandbox run --template your-custom-image:latest claude .", "--template comes with a later version"},
	} {
		s.command(c.line, c.want)
	}
	s.line("clear; docker sandbox attach api-work")
	s.await("Claude Code")
	s.keys("C-p", "C-q")
	s.prompt()
	if got := s.settings(); got != settings {
		t.Errorf("the terminal's settings were %s and are %s", settings, got)
	}
	s.command("docker sandbox stop $(docker sandbox ls -q)", "api-work")
	s.command("docker sandbox rm $(docker sandbox ls -aq)", "claude-shop")
	if left := strings.TrimSpace(u.must("ls", "-aq")); left != "" {
		t.Errorf("left are %s", left)
	}
}
