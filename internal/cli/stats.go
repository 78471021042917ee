package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func newStats(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "stats [--json] [NAME...]",
		Aliases:           []string{"top"},
		Short:             "Show what running sandboxes use",
		Long:              "Show what running sandboxes use of the host: processor time since the start, memory now, processes now.",
		Example:           "  bailey stats\n  bailey top claude-shop",
		ValidArgsFunction: a.names,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.stats(cmd.Context(), args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

type used struct {
	Name string `json:"name"`
	sandbox.Stats
}

func (a *app) stats(ctx context.Context, names []string, asJSON bool) error {
	all := []used{}
	for _, name := range names {
		c, _, err := a.running(ctx, name)
		if err != nil {
			return err
		}
		s, err := c.Stats(ctx)
		if err != nil {
			return err
		}
		all = append(all, used{name, s})
	}
	if len(names) == 0 {
		store, err := a.store()
		if err != nil {
			return err
		}
		entries, err := store.List()
		if err != nil {
			return err
		}
		for _, e := range entries {
			c, err := api.Dial(ctx, e.Sandbox.Dir)
			if err != nil {
				continue
			}
			if s, err := c.Stats(ctx); err == nil {
				all = append(all, used{e.Name, s})
			}
		}
	}
	if asJSON {
		return a.json(all)
	}
	var rows [][]string
	for _, u := range all {
		rows = append(rows, []string{u.Name, u.CPU.Round(10 * time.Millisecond).String(), size(u.Memory), strconv.Itoa(u.Processes)})
	}
	return a.table([]string{"NAME", "CPU TIME", "MEMORY", "PROCESSES"}, rows)
}

// size is a number of bytes in its largest binary unit.
func size(n int64) string {
	const units = "KMGT"
	value, unit := float64(n), ""
	for i := 0; i < len(units) && value >= 1024; i++ {
		value, unit = value/1024, units[i:i+1]+"i"
	}
	if unit == "" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %sB", value, unit)
}
