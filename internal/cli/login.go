package cli

import (
	"bufio"
	"context"
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
shows in the end is pasted here. Where the page sends the browser back to this machine instead, nothing is
to be pasted, unless the browser is on another one: then paste the address at which it ended.

The login stays on the host: sandboxes have something that stands for it, and it is renewed once for all of
them. The agent's own login command, inside, does the same.`,
		Example: "  bailey login claude\n  bailey login codex\n  bailey secret rm claude-login",
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
	code, err := a.loginCode(cmd.Context(), l)
	if err != nil {
		return err
	}
	tokens, err := l.Finish(cmd.Context(), code)
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

// loginCode shows the page and returns what it shows in the end, or what the browser comes back with.
func (a *app) loginCode(ctx context.Context, l *oauth.Login) (string, error) {
	type answer struct {
		code string
		err  error
	}
	answers := make(chan answer, 2)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	what := "code"
	if l.Local() {
		what = "address, where the browser is on another machine"
		go func() {
			code, err := l.Receive(ctx)
			answers <- answer{code, err}
		}()
	}
	fmt.Fprintf(a.Out, "Open this page, and paste the code that it shows in the end:\n\n%s\n\n", l.URL())
	fmt.Fprintf(a.Err, "%s: ", what)
	go func() { // which reads until the program ends, when the browser was first
		line, err := bufio.NewReader(io.LimitReader(a.In, 64<<10)).ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || strings.TrimSpace(line) == "") {
			err = errors.New("there was no code, and nothing has changed")
		} else {
			err = nil
		}
		answers <- answer{line, err}
	}()
	ways := 1
	if l.Local() {
		ways = 2
	}
	var last answer
	for range ways { // when one fails, the other may be open
		select {
		case last = <-answers:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if last.err == nil {
			break
		}
	}
	return last.code, last.err
}
