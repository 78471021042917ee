package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
)

func newSecret(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret COMMAND",
		Short: "Keep secrets that sandboxes use and never see",
		Long: `Keep secrets that sandboxes use and never see. Inside, something that looks like the secret stands where
programs look for it; a request to the host that the secret is for gets the real one on its way out, over
TLS, and only in the place that it belongs to. Anywhere else what stands for it is refused.`,
		Example: "  bailey secret set anthropic\n  gh auth token | bailey secret set github\n  bailey secret ls",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSecretSet(a), newSecretLs(a), newSecretRm(a), newSecretProject(a), newSecretImport(a), newSecretPassphrase(a))
	return cmd
}

type secretSetOptions struct {
	service, source string
	hosts, as, env  []string
	sandboxes       []string
	foreign         bool
}

func newSecretSet(a *app) *cobra.Command {
	o := &secretSetOptions{}
	cmd := &cobra.Command{
		Use:   "set [flags] NAME",
		Short: "Keep a secret, or say where it is kept",
		Long: `Keep a secret, or say where it is kept. Its value is asked for on the terminal, or read from standard
input; it is never an argument, which every program on this machine could read.

A NAME that is a service's needs nothing else: ` + wrapped(strings.Join(credential.ServiceNames(), ", ")+".", 63) + `
Any other one needs --host and --as: how the secret stands in a request. That is bearer
(Authorization: Bearer SECRET), basic (the password), header:NAME, header:NAME:FORM with {} in FORM for
the secret, query:NAME, or sigv4[:REGION/SERVICE] (a signature of Amazon's).

Values are kept in the desktop's keyring where one answers, and else in a file that age encrypts. --source
says otherwise: keyring, age, or where to look each time: op://VAULT/ITEM/FIELD (1Password), env:NAME,
file:/PATH, command:COMMAND. Running sandboxes use a new value from their next request on; a new secret
is in a sandbox from its next start on.`,
		Example: `  bailey secret set anthropic
  printf %s "$TOKEN" | bailey secret set --host api.example.com --as bearer --env EXAMPLE_TOKEN example
  bailey secret set --source op://Private/GitHub/token github
  bailey secret set --sandbox night --host db.example.com:8443 --as header:X-Api-Key db`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(cmd, "a secret's value is no argument, which every program could read: it is asked for, or read from standard input")
			}
			return takes(1, 1, "NAME")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.secretSet(cmd, args[0], o) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.service, "service", "", "the `SERVICE` whose secret it is (default: NAME, where that is one)")
	fs.StringVar(&o.source, "source", "", "where the value is kept: `keyring|age|op://...|env:...|file:...|command:...`")
	fs.StringArrayVar(&o.hosts, "host", nil, "the `HOST[:PORT]` that may have it; repeat for more (default: the service's)")
	fs.StringArrayVar(&o.as, "as", nil, "how it stands in a request: `bearer|basic|header:NAME[:FORM]|query:NAME|sigv4`; repeat for more")
	fs.StringArrayVar(&o.env, "env", nil, "the `VARIABLE` in which programs inside look for it; repeat for more")
	fs.StringArrayVar(&o.sandboxes, "sandbox", nil, "only for the sandbox `NAME`; repeat for more (default: every one)")
	fs.BoolVar(&o.foreign, "foreign", false, "let other credentials be sent to its hosts, too")
	return cmd
}

// wrapped breaks text into lines of at most 100 characters, the first of which has room for fewer.
func wrapped(text string, room int) string {
	var b strings.Builder
	for i, word := range strings.Fields(text) {
		if len(word)+1 > room {
			b.WriteString("\n")
			room = 100
		} else if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(word)
		room -= len(word) + 1
	}
	return b.String()
}

func (o *secretSetOptions) entry(name string) (secret.Entry, error) {
	e := secret.Entry{Name: name, Service: o.service, Source: o.source, Env: o.env, Sandboxes: o.sandboxes}
	service, known := credential.FindService(cmp.Or(o.service, name))
	if known {
		e.Service = service.Name
	}
	hosts := o.hosts
	switch {
	case len(hosts) == 0 && len(o.as) == 0 && !o.foreign && known:
		return e, nil
	case len(hosts) == 0 && known:
		for _, b := range service.Bindings {
			hosts = append(hosts, b.Host.String())
		}
	case len(hosts) == 0:
		return secret.Entry{}, sandbox.WithHint(fmt.Errorf("it is not said where the secret %s may go", name), "--host HOST --as bearer")
	}
	as := o.as
	if len(as) == 0 && known {
		for _, p := range service.Bindings[0].As {
			as = append(as, p.String())
		}
	}
	if len(as) == 0 {
		return secret.Entry{}, sandbox.WithHint(fmt.Errorf("it is not said how the secret %s stands in a request", name), "--as bearer")
	}
	for _, host := range hosts {
		e.Bindings = append(e.Bindings, secret.Binding{Host: host, As: as, Foreign: o.foreign})
	}
	return e, nil
}

func (a *app) secretSet(cmd *cobra.Command, name string, o *secretSetOptions) error {
	e, err := o.entry(name)
	if err != nil {
		return err
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	secrets := a.secrets(store)
	value := ""
	if e.Source == "" || e.Source == secret.Keyring || e.Source == secret.Vault {
		if value, err = a.readSecret(name); err != nil {
			return err
		}
	}
	if e.Source == "" {
		e.Source = secret.DefaultSource(cmd.Context())
	}
	if err := a.keepSecret(cmd.Context(), secrets, e, value); err != nil {
		return err
	}
	return a.tellAll(cmd.Context(), store)
}

// keepSecret asks for the vault's passphrase first, where it needs one.
func (a *app) keepSecret(ctx context.Context, secrets *secret.Store, e secret.Entry, value string) error {
	if e.Source == secret.Vault {
		if err := a.unlock(secrets); err != nil {
			return err
		}
	}
	if err := secrets.Set(ctx, e, value); err != nil {
		return fmt.Errorf("cannot keep the secret %s: %w", e.Name, err)
	}
	return nil
}

// readSecret asks on the terminal, without echo, or reads standard input.
func (a *app) readSecret(name string) (string, error) {
	if _, tty := terminal(a.In); tty {
		return a.askSecret("value of " + name)
	}
	const most = 64 << 10
	data, err := io.ReadAll(io.LimitReader(a.In, most+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the secret: %w", err)
	}
	if len(data) > most {
		return "", fmt.Errorf("the secret is longer than %d bytes", most)
	}
	return string(data), nil
}

// askSecret asks for something that is not shown.
func (a *app) askSecret(what string) (string, error) {
	f, tty := terminal(a.In)
	if !tty {
		return "", fmt.Errorf("there is no terminal to ask for the %s", what)
	}
	fmt.Fprintf(a.Err, "%s (not shown): ", what)
	data, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.Err)
	if err != nil {
		return "", fmt.Errorf("cannot read the %s: %w", what, err)
	}
	return string(data), nil
}

type secretLsOptions struct{ json, quiet bool }

func newSecretLs(a *app) *cobra.Command {
	o := &secretLsOptions{}
	cmd := &cobra.Command{
		Use:     "ls [flags]",
		Short:   "List the secrets, never their values",
		Long:    "List the secrets: where each is kept, which hosts may have it, which sandboxes use it, and when it was\nlast in a request. Values are never shown.",
		Example: "  bailey secret ls\n  bailey secret ls --json",
		Args:    takes(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return a.secretLs(o) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print names only")
	return cmd
}

func (a *app) secretLs(o *secretLsOptions) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	entries, err := a.secrets(store).List()
	if err != nil {
		return err
	}
	switch {
	case o.json:
		if entries == nil {
			entries = []secret.Entry{}
		}
		return a.json(entries)
	case o.quiet:
		for _, e := range entries {
			fmt.Fprintln(a.Out, e.Name)
		}
		return nil
	}
	user, err := a.userConfig()
	if err != nil {
		return err
	}
	var rows [][]string
	for _, e := range entries {
		rows = append(rows, secretRow(e, user.Credentials, time.Now()))
	}
	return a.table([]string{"NAME", "KEPT IN", "HOSTS", "VARIABLES", "SANDBOXES", "USED"}, rows)
}

func secretRow(e secret.Entry, bound []config.Bound, now time.Time) []string {
	hosts, variables := e.Service, ""
	if r, err := e.Resolve(); err == nil {
		var names []string
		for _, b := range r.Bindings {
			names = append(names, b.Host.String())
		}
		for _, b := range bound {
			if b.Secret == e.Name {
				names = append(names, b.Host.String())
			}
		}
		hosts, variables = strings.Join(names, " "), strings.Join(r.Env, " ")
	}
	used := "never"
	if !e.Used.IsZero() {
		used = age(now, e.Used)
	}
	return []string{e.Name, e.Source, hosts, variables, cmp.Or(strings.Join(e.Sandboxes, " "), "all"), used}
}

func newSecretRm(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Short:   "Forget secrets",
		Long:    "Forget secrets. Running sandboxes cannot use them from their next request on. What others keep, such as\n1Password, stays there.",
		Example: "  bailey secret rm github",
		Args:    takes(1, -1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			secrets := a.secrets(store)
			err = a.eachName(args, func(name string) error {
				err := secrets.Remove(cmd.Context(), name)
				if errors.Is(err, secret.ErrLocked) && secrets.Protected() {
					if err = a.unlock(secrets); err == nil {
						err = secrets.Remove(cmd.Context(), name)
					}
				}
				return err
			})
			return cmp.Or(err, a.tellAll(cmd.Context(), store))
		},
	}
}

func newSecretPassphrase(a *app) *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "passphrase [flags]",
		Short: "Protect the encrypted file by a passphrase",
		Long: `Protect the encrypted file of secrets by a passphrase. Without one its key lies beside it, for your user
only. With one you are asked whenever a sandbox starts that may use what is in it.`,
		Example: "  bailey secret passphrase\n  bailey secret passphrase --remove",
		Args:    takes(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return a.secretPassphrase(remove) },
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "need none any more")
	return cmd
}

func (a *app) secretPassphrase(remove bool) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	secrets := a.secrets(store)
	if err := a.unlock(secrets); err != nil {
		return err
	}
	if remove {
		return secrets.Protect("")
	}
	one, err := a.askSecret("new passphrase")
	if err != nil {
		return err
	}
	again, err := a.askSecret("the same again")
	switch {
	case err != nil:
		return err
	case one == "":
		return errors.New("an empty passphrase protects nothing")
	case one != again:
		return errors.New("the two are not the same, and nothing has changed")
	}
	return secrets.Protect(one)
}
