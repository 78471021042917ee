package network

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/compare"
)

// The address at which a user-mode network shows the host's loopback.
const userModeHost = "10.0.2.2"

// host holds what the roads need on the host: servers, namespaces, and the programs that give those a network.
type host struct {
	probe   string
	started []*exec.Cmd
}

func (h *host) start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	h.started = append(h.started, cmd)
	return nil
}

// close ends everything, the last first.
func (h *host) close() {
	for i := len(h.started) - 1; i >= 0; i-- {
		_ = h.started[i].Process.Kill()
		_ = h.started[i].Wait()
	}
}

// listen starts a probe that serves, and returns its address.
func (h *host) listen(args ...string) (string, error) {
	address, err := h.line(exec.Command(h.probe, args...))
	if err != nil {
		return "", fmt.Errorf("probe %s does not serve: %w", args[0], err)
	}
	return address, nil
}

// line starts a command that goes on, and returns the line that it prints when it is ready.
func (h *host) line(cmd *exec.Cmd) (string, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := h.start(cmd); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), err
}

// pastaArgs end with the process whose network namespace is served.
func pastaArgs() []string {
	args := []string{"--config-net", "--foreground", "--quiet", "--address", "10.0.2.100", "--netmask", "255.255.255.0", "--gateway", userModeHost}
	if os.Getuid() == 0 {
		args = append(args, "--runas", "0") // as nobody, its default, it may not enter root's namespaces
	}
	return args
}

// slirpArgs ask for the packet size that container engines ask for.
func slirpArgs() []string { return []string{"--configure", "--mtu", "65520"} }

// userMode is the road through a user and network namespace that tool serves.
func (h *host) userMode(ctx context.Context, tool string, args []string, port string) compare.Command {
	c := compare.Command{Name: tool}
	holder := exec.Command("unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo ready; exec sleep infinity")
	if _, err := h.line(holder); err != nil {
		c.Missing = "cannot make namespaces: " + err.Error()
		return c
	}
	pid := strconv.Itoa(holder.Process.Pid)
	args = append(args, pid)
	if tool == slirp {
		args = append(args, "tap0")
	}
	var said bytes.Buffer
	cmd := exec.Command(tool, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := h.start(cmd); err != nil {
		c.Missing = err.Error()
		return c
	}
	address := userModeHost + ":" + port
	c.Argv = []string{"nsenter", "--target", pid, "--user", "--net", "--preserve-credentials", "--", h.probe, "reach", address}
	if c = c.Try(ctx); c.Missing != "" {
		_, _ = cmd.Process.Kill(), cmd.Wait() // from here on nobody writes
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		c.Missing = lines[len(lines)-1] + "; " + c.Missing
	}
	c.Argv[len(c.Argv)-2] = "measure"
	return c
}
