package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func newDoctor(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Say what this host can run, and what would help",
		Long:    "Check which backends this host can run and what each promises. Nothing is changed. The exit code is 125 when none works.",
		Example: "  bailey doctor\n  bailey doctor --json",
		Args:    takes(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
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
