package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/oauth"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func newLogin(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "login AGENT",
		Short: "Log in to an agent's provider, for all sandboxes",
		Long: `Log in to an agent's provider with your account, for all sandboxes. It prints the address of a page; what that
shows in the end is pasted here. The login stays on the host: sandboxes have something that stands for
it, and it is renewed once for all of them. The agent's own login command, inside, does the same.`,
		Example: "  bailey login claude\n  bailey secret rm claude-login",
		Args:    takes(1, 1, "AGENT"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.login(cmd, args[0]) },
	}
}

func (a *app) login(cmd *cobra.Command, name string) error {
	p, ok := oauth.Of(name)
	if !ok {
		var known []string
		for _, p := range oauth.Providers() {
			known = append(known, p.Agent)
		}
		return sandbox.WithHint(fmt.Errorf("bailey cannot log in to %s; it can to %s", name, strings.Join(known, ", ")), "log in inside, or: bailey secret set --help")
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	secrets := a.secrets(store)
	l := oauth.Begin(p, nil)
	fmt.Fprintf(a.Out, "Open this page, and paste the code that it shows in the end:\n\n%s\n\n", l.URL())
	fmt.Fprint(a.Err, "code: ")
	line, err := bufio.NewReader(io.LimitReader(a.In, 64<<10)).ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || strings.TrimSpace(line) == "") {
		return errors.New("there was no code, and nothing has changed")
	}
	tokens, err := l.Finish(cmd.Context(), line)
	if err != nil {
		return err
	}
	e, err := secrets.ForService(cmd.Context(), p.Secret)
	if err != nil {
		return err
	}
	if err := a.keepSecret(cmd.Context(), secrets, e, tokens.Encode()); err != nil {
		return err
	}
	return a.tellAll(cmd.Context(), store)
}
