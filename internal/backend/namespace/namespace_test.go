package namespace

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// TestMain lets the test binary be its own machine's first process, as the real one is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Child {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func newBackend() *Backend {
	return New("/proc/self/exe", slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

func TestProbe(t *testing.T) {
	c, err := newBackend().Probe(t.Context())
	t.Logf("%+v", c)
	if err != nil {
		t.Fatal(err)
	}
}

func TestShell(t *testing.T) {
	dir := t.TempDir()
	ws := t.TempDir() + "/ws"
	os.MkdirAll(ws+"/.git/hooks", 0o755)
	os.WriteFile(ws+"/.env", []byte("SECRET"), 0o600)
	os.WriteFile(ws+"/f", []byte("hello"), 0o600)
	uid, gid := os.Getuid(), os.Getgid()
	user := sandbox.User{Name: "dev", UID: uid, GID: gid, Home: "/home/dev", Shell: "/bin/bash", HostUID: uid, HostGID: gid}
	if uid == 0 {
		user.UID, user.GID = 1000, 1000
	}
	m, err := newBackend().Start(t.Context(), sandbox.Spec{
		Name: "t", Dir: dir, Hostname: "bailey", User: user, Workdir: ws, Env: []string{"PATH=/usr/bin:/bin", "HOME=/home/dev"},
		Network: sandbox.NetworkGateway,
		Root: sandbox.Root{
			Lowers: []sandbox.Lower{{Source: "/usr", Target: "/usr"}},
			Links:  []sandbox.Symlink{{Target: "/bin", Text: "usr/bin"}, {Target: "/lib", Text: "usr/lib"}, {Target: "/lib64", Text: "usr/lib64"}, {Target: "/sbin", Text: "usr/sbin"}},
			Files:  []sandbox.File{{Target: "/etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0::/root:/bin/bash\ndev:x:1000:1000::/home/dev:/bin/bash\n")}},
			Dirs:   []sandbox.Dir{{Target: "/usr/local", Mode: 0o755, Own: true}, {Target: "/usr/local/bin", Mode: 0o755, Own: true}, {Target: "/var/tmp", Mode: 0o1777}},
		},
		Mounts: []sandbox.Mount{
			{Kind: sandbox.MountState, Source: "home", Target: "/home/dev"},
			{Kind: sandbox.MountBind, Source: ws, Target: ws},
			{Kind: sandbox.MountPinned, Target: ws + "/.git"},
			{Kind: sandbox.MountProtected, Target: ws + "/.git/hooks"},
			{Kind: sandbox.MountHidden, Target: ws + "/.env"},
		},
	})
	if err != nil {
		t.Fatal(err, sandbox.Hint(err))
	}
	defer func() {
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := newBackend().Remove(t.Context(), "t", dir); err != nil {
			t.Error(err)
		}
	}()
	conn, err := m.Guest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guestproto.Dial(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	script := os.Getenv("SCRIPT")
	for _, user := range strings.Fields("= " + os.Getenv("USERS")) {
		p, err := c.Run(t.Context(), guestproto.Command{Argv: []string{"/bin/sh", "-c", script}, User: strings.TrimPrefix(user, "=")})
		if err != nil {
			t.Error(err)
			continue
		}
		go io.Copy(os.Stdout, p.Stderr)
		io.Copy(os.Stdout, p.Stdout)
		t.Log(p.Wait())
	}
}
