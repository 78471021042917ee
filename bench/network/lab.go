package network

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/bench/yard"
)

// Lab is what other benchmarks of connections need on the host: the probe, and servers that it plays.
type Lab struct {
	Probe      string // the program
	Echo, Web  string // the servers by name, as a sandbox reaches them
	WebAddress string // the web server on loopback
	Proxy      string // a plain proxy in front of it
	host       *host
	identity   string
}

// OpenLab builds the probe in dir and starts the servers. The caller closes the Lab.
func OpenLab(ctx context.Context, dir string) (lab *Lab, err error) {
	l := &Lab{Probe: filepath.Join(dir, "probe"), identity: filepath.Join(dir, "identity.pem")}
	if err := yard.Build(ctx, l.Probe, "bench/network/probe"); err != nil {
		return nil, err
	}
	l.host = &host{probe: l.Probe}
	echo, err1 := l.host.listen("serve")
	web, err2 := l.host.listen("web", l.identity)
	proxy, err3 := l.host.listen("proxy", l.identity, web)
	if err := errors.Join(err1, err2, err3); err != nil {
		l.Close()
		return nil, err
	}
	l.Echo, l.Web, l.WebAddress, l.Proxy = sandboxed(echo), sandboxed(web), web, proxy
	return l, nil
}

// Close ends the servers.
func (l *Lab) Close() { l.host.close() }

// Trust is the variable that has a Go program trust the web server.
func (l *Lab) Trust() string { return "SSL_CERT_FILE=" + l.identity }

// Sandbox starts a sandbox that may reach the servers, in a yard below dir, and returns the probe's path in it. The
// caller removes it.
func (l *Lab) Sandbox(ctx context.Context, dir, program string) (y *yard.Yard, inside string, err error) {
	if y, err = yard.New(dir, program); err != nil {
		return nil, "", err
	}
	y.Setenv(l.Trust())
	if inside, err = l.CopyProbe(y.Work); err != nil {
		return nil, "", err
	}
	return y, inside, y.Start(ctx, "--allow", l.Web, "--allow", "tcp:"+l.Echo)
}

// CopyProbe puts the program into the directory and returns its path there.
func (l *Lab) CopyProbe(dir string) (string, error) {
	to := filepath.Join(dir, "probe")
	return to, copyProgram(to, l.Probe)
}

// sandboxed is an address of the host's loopback as a sandbox calls it.
func sandboxed(address string) string {
	_, port, _ := strings.Cut(address, ":")
	return "host.bailey.internal:" + port
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
