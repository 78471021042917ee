package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func newDoctor(a *app) *cobra.Command {
	var asJSON, appArmor bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host can run, and what would help",
		Long: `Start an empty sandbox on every backend of this host, stop it again, and say what each can promise.
Nothing stays behind. The exit code is 125 when no backend works.

Where AppArmor lets only named programs make user namespaces (Ubuntu 23.10 and later), --apparmor
prints the profile that names this one.`,
		Example: "  bailey doctor\n  bailey doctor --json\n  bailey doctor --apparmor | sudo tee /etc/apparmor.d/bailey | sudo apparmor_parser -r",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if appArmor {
				return a.appArmor()
			}
			return a.doctor(cmd.Context(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&appArmor, "apparmor", false, "print an AppArmor profile for this program")
	return cmd
}

// appArmor prints a profile that confines nothing and allows user namespaces, as distributions ship for
// browsers. It goes by the program's path.
func (a *app) appArmor() error {
	if strings.ContainsAny(a.cfg.Self, "\"{}*?[]^\n") {
		return fmt.Errorf("a profile cannot name %q: move bailey to a plainer path", a.cfg.Self)
	}
	_, err := fmt.Fprintf(a.Out, `abi <abi/4.0>,
include <tunables/global>

profile bailey "%s" flags=(unconfined) {
  userns,
  include if exists <local/bailey>
}
`, a.cfg.Self)
	return err
}

// diagnosis is one backend on this host.
type diagnosis struct {
	Backend      string                `json:"backend"`
	OK           bool                  `json:"ok"`
	Error        string                `json:"error,omitempty"`
	Hint         string                `json:"hint,omitempty"`
	Capabilities *sandbox.Capabilities `json:"capabilities,omitempty"`
}

func (a *app) doctor(ctx context.Context, asJSON bool) error {
	all := []diagnosis{}
	usable := false
	for _, b := range a.cfg.Backends(a.log()) {
		d := diagnosis{Backend: b.Name()}
		caps, err := b.Probe(ctx)
		if err == nil {
			err = try(ctx, b)
		}
		if err != nil {
			d.Error, d.Hint = err.Error(), sandbox.Hint(err)
		} else {
			d.OK, d.Capabilities, usable = true, &caps, true
		}
		all = append(all, d)
	}
	var err error
	if asJSON {
		err = a.json(all)
	} else {
		err = a.table([]string{"BACKEND", "WHAT", "HERE", "WHY NOT, OR WHAT HELPS"}, doctorRows(all))
	}
	if err != nil {
		return err
	}
	if !usable {
		return &exitError{exitFailure, fmt.Errorf("this host cannot run a sandbox")}
	}
	return nil
}

// try starts a machine that runs nothing and removes it: no list of switches tells as surely whether the
// walls stand here.
func try(ctx context.Context, b sandbox.Backend) error {
	dir, err := os.MkdirTemp("", "bailey-doctor-")
	if err != nil {
		return fmt.Errorf("cannot make a directory to try the backend in: %w", err)
	}
	defer os.RemoveAll(dir)
	user := sandbox.User{Name: "doctor", UID: uid(), GID: os.Getgid(), Home: "/", Shell: "/bin/sh", HostUID: uid(), HostGID: os.Getgid()}
	if user.UID == 0 {
		user.UID, user.GID = 1000, 1000
	}
	name := sandbox.NameFrom("doctor", strconv.Itoa(os.Getpid()))
	m, err := b.Start(ctx, sandbox.Spec{
		Name: name, Dir: dir, Hostname: name, User: user, Workdir: "/", Network: sandbox.NetworkGateway,
		Root: sandbox.Root{Lowers: []sandbox.Lower{{Source: "/usr", Target: "/usr"}}, Dirs: []sandbox.Dir{{Target: "/usr/local", Mode: 0o755, Own: true}}},
	})
	if err != nil {
		return err
	}
	return errors.Join(m.Stop(ctx), b.Remove(ctx, name, dir))
}

func doctorRows(all []diagnosis) [][]string {
	var rows [][]string
	for _, d := range all {
		if !d.OK {
			rows = append(rows, []string{d.Backend, "runs", "no", d.Error})
			if d.Hint != "" {
				rows = append(rows, []string{"", "", "", d.Hint})
			}
			continue
		}
		rows = append(rows, []string{d.Backend, "runs", "yes", d.Capabilities.Isolation})
		c := d.Capabilities
		for _, s := range []struct {
			what string
			sandbox.Support
		}{
			{"network through the gateway", c.Gateway}, {"root file system of its own", c.Overlay},
			{"other users (exec -u)", c.Users}, {"--cpus", c.CPUs}, {"--memory", c.Memory}, {"--pids", c.Pids}, {"--disk", c.Disk},
		} {
			rows = append(rows, []string{"", s.what, map[bool]string{true: "yes", false: "no"}[s.OK], s.Why})
		}
	}
	return rows
}
