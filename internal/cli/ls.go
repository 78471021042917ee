package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

type lsOptions struct{ all, quiet, json bool }

func newLs(a *app) *cobra.Command {
	o := &lsOptions{}
	cmd := &cobra.Command{
		Use:     "ls [flags]",
		Aliases: []string{"ps", "list"},
		Short:   "List sandboxes",
		Long:    "List the sandboxes that run; with --all every one, stopped and damaged ones too.",
		Example: "  bailey ls -a\n  bailey stop $(bailey ls -q)\n  bailey ls --json",
		Args:    takes(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.ls(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "list sandboxes that do not run, too")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print names only")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// listed is a sandbox as ls --json, create --json and inspect tell it.
type listed struct {
	Name        string            `json:"name"`
	Status      string            `json:"status"` // running, stopped, busy, corrupt
	Error       string            `json:"error,omitempty"`
	Agent       string            `json:"agent,omitempty"`
	Backend     string            `json:"backend,omitempty"`
	Workspaces  []state.Workspace `json:"workspaces"`
	Network     string            `json:"network,omitempty"`
	Allow       []string          `json:"allow,omitempty"`
	Profiles    []string          `json:"profiles,omitempty"`
	Credentials string            `json:"credentials,omitempty"`
	Frozen      string            `json:"frozen,omitempty"` // why a human must look before it goes on
	Created     time.Time         `json:"created,omitzero"`
	Temporary   bool              `json:"temporary,omitempty"`
	Running     *api.Inspect      `json:"running,omitempty"`
}

func describe(sb *state.Sandbox, status string, v *api.Inspect) listed {
	l := listed{
		Name: sb.Name, Status: status, Agent: sb.Agent, Backend: sb.Backend, Workspaces: sb.Workspaces,
		Network: sb.Network, Allow: sb.Allow, Profiles: sb.Profiles, Credentials: sb.Credentials, Created: sb.Created, Temporary: sb.Temporary, Running: v,
	}
	l.Frozen, _ = sb.Frozen()
	if l.Workspaces == nil {
		l.Workspaces = []state.Workspace{}
	}
	return l
}

func (a *app) ls(ctx context.Context, o *lsOptions) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	entries, err := store.List()
	if err != nil {
		return err
	}
	list := []listed{}
	hidden := 0
	for _, e := range entries {
		status, v := a.status(ctx, e)
		if status != "running" && !o.all {
			hidden++
			continue
		}
		l := describe(e.Sandbox, status, v)
		if e.Err != nil {
			l.Error = e.Err.Error()
		}
		list = append(list, l)
	}
	switch {
	case o.json:
		return a.json(list)
	case o.quiet:
		for _, l := range list {
			fmt.Fprintln(a.Out, vt.OneLine(l.Name))
		}
		return nil
	}
	if err := a.table([]string{"NAME", "AGENT", "STATUS", "WORKSPACE", "CREATED"}, lsRows(list, time.Now())); err != nil {
		return err
	}
	if _, tty := terminal(a.Out); tty && hidden > 0 {
		a.note("%d more do not run: bailey ls -a", hidden)
	}
	return nil
}

func lsRows(list []listed, now time.Time) [][]string {
	var rows [][]string
	for _, l := range list {
		workspace, status := "", l.Status
		if l.Frozen != "" {
			status += ", frozen"
		}
		if len(l.Workspaces) > 0 {
			workspace = l.Workspaces[0].Path
			switch {
			case l.Workspaces[0].Clone != nil:
				workspace += " (clone, " + l.Workspaces[0].Clone.Branch + ")"
			case l.Workspaces[0].Review:
				workspace += " (review)"
			case l.Workspaces[0].ReadOnly:
				workspace += " (read-only)"
			}
		}
		switch {
		case l.Error != "":
			status += ": " + l.Error
		case l.Running != nil && l.Running.Agent == nil:
			status += ", agent not started"
		case l.Running != nil && !l.Running.Agent.Running:
			status += fmt.Sprintf(", agent ended (%d)", l.Running.Agent.Exit.Code)
		}
		rows = append(rows, []string{l.Name, l.Agent, status, workspace, age(now, l.Created)})
	}
	return rows
}

// age is how long ago t was, in its largest unit.
func age(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return ""
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours())/24)
}

func newInspect(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "inspect NAME...",
		Short:             "Show everything about sandboxes, as JSON",
		Long:              "Show everything about sandboxes, as a JSON array. Of variables only the names are shown.",
		Example:           "  bailey inspect claude-shop",
		Args:              takes(1, -1, "NAME"),
		ValidArgsFunction: a.names,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.inspect(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, which is the only form")
	return cmd
}

// inspected is listed with what only inspect tells.
type inspected struct {
	listed
	Dir      string         `json:"dir"`
	Args     []string       `json:"args,omitempty"`
	Env      []string       `json:"env,omitempty"`  // names only
	Lent     []string       `json:"lent,omitempty"` // variables whose secrets stay outside
	Volumes  []state.Volume `json:"volumes,omitempty"`
	ReadOnly bool           `json:"read_only,omitempty"`
	Limits   any            `json:"limits"`
}

func (a *app) inspect(ctx context.Context, names []string) error {
	all := []inspected{}
	for _, name := range names {
		sb, err := a.load(name)
		if err != nil {
			return err
		}
		status, v := a.status(ctx, state.Entry{Name: name, Sandbox: sb})
		i := inspected{
			listed: describe(sb, status, v), Dir: sb.Dir, Args: sb.Args,
			Lent: sb.Lent, Volumes: sb.Volumes, ReadOnly: sb.ReadOnly, Limits: sb.Limits,
		}
		for _, kv := range sb.Env {
			key, _, _ := strings.Cut(kv, "=")
			i.Env = append(i.Env, key)
		}
		all = append(all, i)
	}
	return a.json(all)
}
