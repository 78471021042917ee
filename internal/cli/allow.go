package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

type grantOptions struct {
	verdict   policy.Verdict
	sandbox   string
	global    bool
	remove    bool
	methods   []string
	push      []string
	workflows bool
	why       string
}

func newAllow(a *app) *cobra.Command {
	cmd := newGrant(a, &grantOptions{verdict: policy.Allow})
	cmd.Short = "Let a sandbox reach hosts, at once"
	cmd.Long = `Let a sandbox, or every one with --global, reach hosts from now on, also after a restart. Running ones
know it at once. A rule is HOST[:PORT,...], *.DOMAIN, an address or a network, for ports 80 and 443 unless
it names others; behind "tcp:" for what is neither TLS nor HTTP, "tunnel:" to leave TLS closed,
"private:" for names that lead into this network. What denies, wherever it was written, still denies;
but the very same rule that bailey deny gave is taken back. --rm takes back what was allowed.

Rules for every sandbox are kept in rules.json beside config.yaml, which stays as you wrote it.`
	cmd.Example = `  bailey allow pypi.org "*.pythonhosted.org"
  bailey allow --sandbox night --method GET api.github.com
  bailey allow tcp:github.com:22
  bailey allow --push "acme/shop:bailey/**" github.com
  bailey allow --why "the design team's mock-ups" figma.com
  bailey allow --rm pypi.org`
	return cmd
}

func newDeny(a *app) *cobra.Command {
	cmd := newGrant(a, &grantOptions{verdict: policy.Deny})
	cmd.Short = "Keep a sandbox from hosts, at once"
	cmd.Long = `Keep a sandbox, or every one with --global, from hosts from now on, also after a restart. Running ones
know it at once: what is open to such a host is cut. A rule is written as for bailey allow, without what
stands before the host; without ports it is for every one. What it denies no other rule allows. --rm
takes it back.`
	cmd.Example = `  bailey deny gist.github.com
  bailey deny --global --why "leaves the EU" "*.example.com"
  bailey deny --method DELETE api.github.com
  bailey deny --rm gist.github.com`
	return cmd
}

func newGrant(a *app, o *grantOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:  o.verdict.String() + " [flags] HOST[:PORT]...",
		Args: takes(1, -1, "HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.global && o.sandbox != "" {
				return usageError(cmd, "--global is for every sandbox: leave --sandbox away")
			}
			entries, err := o.entries(args)
			if err != nil {
				return err
			}
			return a.grant(cmd.Context(), o, entries)
		},
	}
	fs := cmd.Flags()
	a.registerSandbox(cmd, &o.sandbox)
	fs.BoolVarP(&o.global, "global", "g", false, "for every sandbox, also those to come")
	fs.BoolVar(&o.remove, "rm", false, "take back what was given so")
	fs.StringSliceVarP(&o.methods, "method", "X", nil, "only for requests with this `METHOD`; repeat for more")
	if o.verdict == policy.Allow {
		fs.StringSliceVar(&o.push, "push", nil, "only for git's pushes to `REPO:BRANCH`, such as acme/shop:fix-*, or REPO:tags/TAG; +BRANCH may be rewritten and deleted too")
		fs.BoolVar(&o.workflows, "workflows", false, "the pushes may change .github/workflows and its like")
	}
	fs.StringVar(&o.why, "why", "", "what the rule is for, in a `TEXT` of one line that the agent may see")
	return cmd
}

// entries are the rules that the command line gives, in the one form in which they are compared.
func (o *grantOptions) entries(args []string) ([]policy.Entry, error) {
	var all []policy.Entry
	for _, text := range args {
		r, err := policy.ParseText(text, o.verdict, "")
		if err == nil {
			e := r.Entry()
			e.Methods, e.Push, e.Workflows, e.Why = o.methods, o.push, o.workflows, o.why
			r, err = e.Rule(o.verdict, "")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", sandbox.ErrPolicy, err)
		}
		all = append(all, r.Entry())
	}
	return all, nil
}

func (a *app) grant(ctx context.Context, o *grantOptions, entries []policy.Entry) error {
	if o.global {
		store, err := a.store()
		if err != nil {
			return err
		}
		if err := store.ChangeGrants(o.change(entries, "--global ")); err != nil {
			return err
		}
		return a.tellAll(ctx, store)
	}
	sb, err := a.meant(o.sandbox)
	if err != nil {
		return err
	}
	if sb.Network == "none" {
		return fmt.Errorf("the sandbox %s has no network: rules have no meaning there", sb.Name)
	}
	if err := sb.ChangeGrants(o.change(entries, "--sandbox "+sb.Name+" ")); err != nil {
		return err
	}
	if err := tell(ctx, sb); err != nil {
		return err
	}
	fmt.Fprintln(a.Out, sb.Name)
	return a.warnDenied(ctx, sb, o, entries)
}

// change adds or removes entries, all or none. scope is how the command line said whose rules they are.
func (o *grantOptions) change(entries []policy.Entry, scope string) func(*state.Grants) error {
	return func(g *state.Grants) error {
		for _, e := range entries {
			if !o.remove {
				g.Add(o.verdict, e)
			} else if !g.Remove(o.verdict, e) {
				r, _ := e.Rule(o.verdict, "")
				return sandbox.WithHint(fmt.Errorf("bailey %s %sdid not give the rule %s", o.verdict, scope, r), "bailey policy ls")
			}
		}
		return nil
	}
}

// tell has the supervisor of sb, if there is one, read the rules again. One that starts reads them anyway.
func tell(ctx context.Context, sb *state.Sandbox) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := api.Dial(ctx, sb.Dir)
	if err == nil {
		err = c.Reload(ctx)
	}
	switch {
	case errors.Is(err, api.ErrNotRunning), cutOff(err):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return silent(sb)
	case err != nil:
		return fmt.Errorf("the rules are written, but %s did not take them: %w", sb.Name, err)
	}
	return nil
}

// tellAll tells every supervisor, at the same time: one that hangs must not keep a denial from the others.
func (a *app) tellAll(ctx context.Context, store *state.Store) error {
	entries, err := store.List()
	if err != nil {
		return err
	}
	errs := make([]error, len(entries))
	var wg sync.WaitGroup
	for i, e := range entries {
		if e.Err == nil {
			wg.Go(func() { errs[i] = tell(ctx, e.Sandbox) })
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			a.printError(err)
		}
	}
	if errors.Join(errs...) != nil {
		return &exitError{code: exitFailure}
	}
	return nil
}

// warnDenied says what bailey allow has not achieved.
func (a *app) warnDenied(ctx context.Context, sb *state.Sandbox, o *grantOptions, entries []policy.Entry) error {
	if o.verdict != policy.Allow || o.remove {
		return nil
	}
	p, err := a.policyOf(ctx, sb)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Host == "" || strings.HasPrefix(e.Host, "*") {
			continue
		}
		port := "443"
		if len(e.Ports) > 0 {
			port = fmt.Sprint(e.Ports[0])
		}
		host := e.Host
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		req, err := parseRequest(host+":"+port, "")
		if err != nil {
			return err
		}
		if d := p.Decide(req); d.Verdict != policy.Allow {
			a.note("it is not enough: %s", d.Reason)
		}
	}
	return nil
}
