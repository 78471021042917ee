//go:build linux

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// Git over SSH is a raw protocol: it needs a rule of its own, and is carried unread.
func TestGitOverSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		machine.Lack(t, "ssh", err.Error())
	}
	port := serveSSH(t, gitRoot(t))
	u := newUser(t)
	u.box("--allow", "host.bailey.internal:"+port)
	script := "export GIT_SSH_COMMAND='ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=10 -o LogLevel=ERROR' && rm -rf tree && " +
		"git clone -q ssh://git@host.bailey.internal:" + port + "/lab.git tree && cd tree && git checkout -qb two && head -c 3000000 /dev/urandom > large && git add large && " +
		"git -c user.name=ada -c user.email=ada@lab.test commit -qm two && git push -q origin HEAD && git ls-remote --heads origin | grep two && cat file"
	if got := u.inside("box", script); strings.Contains(got, "REACHED") {
		t.Errorf("under a rule for HTTP: %s", got)
	}
	u.must("allow", "--sandbox", "box", "tcp:host.bailey.internal:"+port)
	if got := u.inside("box", script); !strings.Contains(got, "REACHED") {
		t.Errorf("under a tcp rule: %s", got)
	}
}

// serveSSH lets anybody run git's two services on the repositories of root.
func serveSSH(t *testing.T, root string) (port string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_, channels, requests, err := ssh.NewServerConn(conn, config)
				if err != nil {
					return
				}
				go ssh.DiscardRequests(requests)
				for c := range channels {
					serveGitChannel(root, c)
				}
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

// serveGitChannel runs what the client executes, if it is one of git's services.
func serveGitChannel(root string, c ssh.NewChannel) {
	channel, requests, err := c.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	for r := range requests {
		var payload struct{ Command string }
		_ = ssh.Unmarshal(r.Payload, &payload) // other requests have another one
		service, path, _ := strings.Cut(payload.Command, " ")
		if r.Type != "exec" || service != "git-upload-pack" && service != "git-receive-pack" {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		cmd := exec.Command(service, filepath.Join(root, filepath.Clean(strings.Trim(path, "'"))))
		cmd.Env = append(cmd.Environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		in, err := cmd.StdinPipe() // not channel itself: Wait would wait for its end
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(in, channel); _ = in.Close() }()
		status := struct{ Status uint32 }{}
		if cmd.Run() != nil {
			status.Status = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}
