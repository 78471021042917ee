package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
)

type secretProjectOptions struct {
	hosts, as, plain, sandboxes []string
	remove                      bool
}

func newSecretProject(a *app) *cobra.Command {
	o := &secretProjectOptions{}
	cmd := &cobra.Command{
		Use:   "project [flags] FILE",
		Short: "Show sandboxes a .env with what stands for its values",
		Long: `Show sandboxes a file of variables, such as a project's .env, which is hidden inside. Each value
becomes something that stands for it, so that programs find what they look for; with --host, a request to
that host gets the real one on its way out, as with bailey secret set. --plain names variables that are no
secrets, and stay as they are. The file itself stays where it is: a value that is changed in it is used from
the next request on, a new variable from the sandbox's next start on.

Most editors replace a file when they save it. While a sandbox runs, that uncovers the new one inside, until
its next start; you are told when it happens. Stop the sandbox first, or keep the values elsewhere.`,
		Example: `  bailey secret project --host STRIPE_KEY=api.stripe.com --plain PORT --plain NODE_ENV .env
  bailey secret project --host DB_TOKEN=db.example.com:8443 --as header:X-Api-Key .env.local
  bailey secret project --rm .env`,
		Args: takes(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.secretProject(cmd, args[0], o) },
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&o.hosts, "host", nil, "the `VARIABLE=HOST[:PORT]` that may have a variable's value; repeat for more")
	fs.StringArrayVar(&o.as, "as", nil, "how they stand in a request: `bearer|basic|header:NAME[:FORM]|query:NAME`; repeat for more (default bearer, basic)")
	fs.StringArrayVar(&o.plain, "plain", nil, "show the value of `VARIABLE` as it is; repeat for more")
	fs.StringArrayVar(&o.sandboxes, "sandbox", nil, "use the secrets only in the sandbox `NAME`; repeat for more (default: every one)")
	fs.BoolVar(&o.remove, "rm", false, "hide the file again, and forget the secrets in it")
	return cmd
}

func (a *app) secretProject(cmd *cobra.Command, file string, o *secretProjectOptions) error {
	if o.remove && len(o.hosts)+len(o.as)+len(o.plain)+len(o.sandboxes) > 0 {
		return usageError(cmd, "--rm forgets all that was said of the file: no other flag goes with it")
	}
	path, err := secret.Abs(file)
	if err != nil {
		return err
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	secrets := a.secrets(store)
	if o.remove {
		if err := secrets.Unproject(cmd.Context(), path); err != nil {
			return err
		}
		return a.tellAll(cmd.Context(), store)
	}
	entries := map[string]secret.Entry{}
	as := o.as
	if len(as) == 0 {
		as = []string{"bearer", "basic"}
	}
	for _, text := range o.hosts {
		variable, host, ok := strings.Cut(text, "=")
		if !ok {
			return usageError(cmd, "--host %s: write VARIABLE=HOST", text)
		}
		e := entries[variable]
		e.Sandboxes, e.Bindings = o.sandboxes, append(e.Bindings, secret.Binding{Host: host, As: as})
		entries[variable] = e
	}
	if len(entries) == 0 && len(o.plain) == 0 {
		return sandbox.WithHint(fmt.Errorf("it is not said what of %s may be used", file), "--host VARIABLE=HOST, or --plain VARIABLE")
	}
	names, err := secrets.Project(cmd.Context(), secret.Projection{Path: path, Plain: o.plain}, entries)
	if err != nil {
		return err
	}
	for _, name := range names {
		fmt.Fprintln(a.Out, name)
	}
	return a.tellAll(cmd.Context(), store)
}
