package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

func newCp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cp NAME:SOURCE DIRECTORY | cp SOURCE NAME:DIRECTORY",
		Short: "Copy files out of or into a running sandbox",
		Long: `Copy a file or a directory between the host and a running sandbox, into a directory that exists.
What comes out is never written outside DIRECTORY and never through a link; links that lead out of
what is copied, devices and the like are left out with a note. The sandbox needs tar.`,
		Example: "  bailey cp claude-shop:/tmp/report.html .\n  bailey cp ./data claude-shop:/tmp",
		Args:    takes(2, 2, "SOURCE or DIRECTORY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, inside, out := cutSandbox(args[0])
			toName, toInside, in := cutSandbox(args[1])
			switch {
			case out && !in:
				return a.copyOut(cmd.Context(), name, inside, args[1])
			case in && !out:
				return a.copyIn(cmd.Context(), args[0], toName, toInside)
			}
			return usageError(cmd, "exactly one of SOURCE and DIRECTORY must be in a sandbox: NAME:PATH")
		},
	}
}

// cutSandbox splits NAME:PATH. A path on the host that has a colon is written with a slash before it.
func cutSandbox(text string) (name, inside string, ok bool) {
	name, inside, ok = strings.Cut(text, ":")
	return name, inside, ok && sandbox.CheckName(name) == nil
}

// tar runs tar inside and hands its streams to use. tar's complaints go to stderr.
func (a *app) tar(ctx context.Context, name string, argv []string, stdin bool, use func(*guestproto.Process) error) error {
	c, _, err := a.running(ctx, name)
	if err != nil {
		return err
	}
	g, err := guest(ctx, c)
	if err != nil {
		return err
	}
	defer g.Close()
	stop := context.AfterFunc(ctx, func() { _ = g.Close() })
	defer stop()
	p, err := g.Run(ctx, guestproto.Command{Argv: argv, Stdin: stdin})
	if err != nil {
		return err
	}
	defer p.Close()
	complaints := make(chan struct{})
	go func() {
		defer close(complaints)
		_, _ = io.Copy(&vt.Plain{W: a.Err}, p.Stderr)
	}()
	if err := use(p); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, p.Stdout)
	<-complaints
	exit, err := p.Wait()
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("tar in %s ended with code %d", name, exit.Code)
	}
	return err
}

func (a *app) copyOut(ctx context.Context, name, source, dir string) error {
	source = path.Clean(source)
	if source == "/" || source == "." {
		return errors.New("cannot copy the whole root directory: name a directory in it")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return sandbox.WithHint(fmt.Errorf("cannot copy to %s: %w", dir, err), "the target must be a directory that exists")
	}
	defer root.Close()
	argv := []string{"tar", "-c", "-f", "-", "-C", path.Dir(source), "--", path.Base(source)}
	return a.tar(ctx, name, argv, false, func(p *guestproto.Process) error {
		left, err := unpack(root, p.Stdout)
		for _, l := range left {
			a.note("left out %s", l)
		}
		return err
	})
}

func (a *app) copyIn(ctx context.Context, source, name, dir string) error {
	source = filepath.Clean(source)
	if _, err := os.Lstat(source); err != nil {
		return fmt.Errorf("cannot copy: %w", err)
	}
	return a.tar(ctx, name, []string{"tar", "-x", "-f", "-", "-C", dir}, true, func(p *guestproto.Process) error {
		err := pack(p.Stdin, source)
		return errors.Join(err, p.Stdin.Close())
	})
}
