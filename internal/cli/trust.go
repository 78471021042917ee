package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

type trustOptions struct{ force, revoke bool }

func newPolicyTrust(a *app) *cobra.Command {
	o := &trustOptions{}
	cmd := &cobra.Command{
		Use:   "trust [flags] [PATH]",
		Short: "Accept what a project's bailey.yaml allows",
		Long: `Accept what the bailey.yaml at the top of PATH, "." by default, allows. It is shown, and accepted as it is
shown: by its SHA-256, and at this place only. Once it has changed, whoever changed it, only what it
denies counts until you accept it again. Running sandboxes that started with that very text know at once.`,
		Example: "  bailey policy trust\n  bailey policy trust -f ~/src/shop\n  bailey policy trust --revoke",
		Args:    takes(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := strings.Join(args, "")
			if path == "" {
				path = "."
			}
			return a.trust(cmd.Context(), path, o)
		},
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "do not ask")
	cmd.Flags().BoolVar(&o.revoke, "revoke", false, "accept it no longer")
	return cmd
}

func (a *app) trust(ctx context.Context, path string, o *trustOptions) error {
	dirs, err := a.workspaces([]string{path}, "direct", false)
	if err != nil {
		return err
	}
	dir := dirs[0].Path
	store, err := a.store()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, config.ProjectFile)
	if o.revoke {
		was, err := store.Distrust(file)
		if err != nil {
			return err
		}
		if !was {
			return fmt.Errorf("%s was not accepted", file)
		}
		return a.tellAll(ctx, store)
	}
	p, err := config.ReadProject(dir)
	if err != nil {
		return err
	}
	if p == nil {
		return fmt.Errorf("there is no %s", file)
	}
	if err := a.showProject(p); err != nil {
		return err
	}
	if !o.force {
		if err := a.confirm("Accept this?", "nothing was accepted", "bailey policy trust -f"); err != nil {
			return err
		}
	}
	if err := store.Trust(p.Path, p.Hash); err != nil {
		return err
	}
	return a.tellAll(ctx, store)
}

// showProject shows what was read, and not the file, which may be another by now.
func (a *app) showProject(p *config.Project) error {
	fmt.Fprintf(a.Out, "%s\nsha256 %s\n", vt.OneLine(p.Path), p.Hash)
	var rows [][]string
	for _, r := range p.Network.Rules {
		profile := ""
		if r.Profile != "" {
			profile = "profile " + r.Profile
		}
		rows = append(rows, []string{r.Verdict.String(), r.String(), profile, r.Why})
	}
	return a.table([]string{"VERDICT", "RULE", "SOURCE", "REASON"}, rows)
}
