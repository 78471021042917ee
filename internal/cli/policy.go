package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/supervise"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

func newPolicy(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy COMMAND",
		Short: "Look into what sandboxes may reach",
		Long: `Look into what sandboxes may reach, and why. The rules come from, in this order: what the agent needs,
the network: section of config.yaml and bailey allow --global, the workspace's own bailey.yaml, the
flags that the sandbox was made with, and bailey allow. A rule that denies beats every rule that
allows, wherever it comes from.`,
		Example: "  bailey policy ls\n  bailey policy check https://api.github.com/user --method POST\n  bailey policy log -f --denied claude-shop",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyLs(a), newPolicyCheck(a), newPolicyLog(a), newPolicyLearn(a), newPolicyReplay(a), newPolicyTrust(a))
	return cmd
}

func newPolicyLs(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [flags] [NAME]",
		Short: "List the rules in force for a sandbox",
		Long: `List the rules in force for a sandbox, each with where it comes from and what it is for. Without NAME it
is the sandbox of the current workspace.`,
		Example:           "  bailey policy ls\n  bailey policy ls --json claude-shop",
		Args:              takes(0, 1, ""),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			sb, err := a.meant(strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.policyLs(cmd.Context(), sb, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) policyLs(ctx context.Context, sb *state.Sandbox, asJSON bool) error {
	p, err := a.policyOf(ctx, sb)
	if err != nil {
		return err
	}
	shown := api.NewPolicy(p)
	if asJSON {
		return a.json(shown)
	}
	var rows [][]string
	for _, r := range shown.Rules {
		origin := r.Origin
		if r.Profile != "" {
			origin = "profile " + r.Profile + ", " + origin
		}
		rows = append(rows, []string{r.Verdict, r.Text, origin, r.Why})
	}
	source, rest := "--network "+sb.Network, "no rule names it"
	switch {
	case sb.Network == "none":
		rest = "the sandbox has no network"
	case sb.Network != shown.Default:
		source = "bailey.yaml" // which can close it further
	}
	rows = append(rows, []string{shown.Default, "everything else", source, rest})
	return a.table([]string{"VERDICT", "RULE", "SOURCE", "REASON"}, rows)
}

type checkOptions struct {
	method, sandbox string
	json            bool
}

func newPolicyCheck(a *app) *cobra.Command {
	o := &checkOptions{}
	cmd := &cobra.Command{
		Use:   "check [flags] URL|HOST[:PORT]",
		Short: "Say whether a sandbox may reach something, and why",
		Long: `Say whether a sandbox may reach something, by which rule, and what would allow it. A URL is judged as a
request, with GET unless --method says otherwise; HOST[:PORT] as a connection, to port 443 by default.
Nothing is asked on the network: an allowed name that leads to an address inside is refused only
when it is used. Exit code 0 is allowed, 123 denied, or asked about when it is used.`,
		Example: "  bailey policy check pypi.org\n  bailey policy check https://api.github.com/user --method POST\n  bailey policy check --sandbox night 10.0.0.5:5432",
		Args:    takes(1, 1, "URL or HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.policyCheck(cmd, args[0], o)
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.method, "method", "X", "", "judge a request with this `METHOD`")
	a.registerSandbox(cmd, &o.sandbox)
	fs.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// checked is a decision as check --json tells it.
type checked struct {
	Sandbox  string `json:"sandbox"`
	Verdict  string `json:"verdict"`
	Rule     string `json:"rule,omitempty"`
	Why      string `json:"why,omitempty"`
	Reason   string `json:"reason"`
	Cure     string `json:"cure,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Tunnel   bool   `json:"tunnel,omitempty"`
	Inspect  bool   `json:"inspect,omitempty"`
}

func (a *app) policyCheck(cmd *cobra.Command, text string, o *checkOptions) error {
	req, err := parseRequest(text, o.method)
	if err != nil {
		return sandbox.WithHint(err, cmd.CommandPath()+" --help")
	}
	sb, err := a.meant(o.sandbox)
	if err != nil {
		return err
	}
	p, err := a.policyOf(cmd.Context(), sb)
	if err != nil {
		return err
	}
	d := p.Decide(req)
	if sb.Network == "none" {
		d = policy.Decision{Reason: "the sandbox " + sb.Name + " has no network"}
	}
	c := checked{Sandbox: sb.Name, Verdict: d.Verdict.String(), Rule: d.Rule, Why: d.Why, Reason: d.Reason, Cure: d.Cure}
	if d.Verdict == policy.Allow {
		c.Protocol, c.Tunnel, c.Inspect = d.Protocol.String(), d.Tunnel, d.Inspect
	}
	if err := a.showChecked(c, o.json); err != nil {
		return err
	}
	if d.Verdict != policy.Allow {
		return &exitError{code: exitPolicy}
	}
	return nil
}

func (a *app) showChecked(c checked, asJSON bool) error {
	if asJSON {
		return a.json(c)
	}
	reason := c.Reason
	if c.Verdict == policy.Allow.String() && c.Why != "" {
		reason += ": " + c.Why // a refusal says so itself
	}
	_, err := fmt.Fprintf(a.Out, "%s: %s\n", c.Verdict, vt.OneLine(reason))
	switch {
	case err != nil:
		return err
	case c.Inspect:
		_, err = fmt.Fprintln(a.Out, "each request is judged by its method and path")
	case c.Cure != "":
		_, err = fmt.Fprintf(a.Out, "to allow it: %s\n", vt.OneLine(a.spell(c.Cure)))
	}
	return err
}

// parseRequest reads a URL, or HOST[:PORT].
func parseRequest(text, method string) (policy.Request, error) {
	host, port, path, query := text, "", "", ""
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return policy.Request{}, fmt.Errorf("%q is not a URL", text)
		}
		usual := map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}[u.Scheme]
		if usual == "" {
			return policy.Request{}, fmt.Errorf("cannot judge a URL of the kind %q: write HOST:PORT", u.Scheme)
		}
		host, port, path = u.Hostname(), cmp.Or(u.Port(), usual), cmp.Or(u.EscapedPath(), "/")
		query, method = u.RawQuery, cmp.Or(method, "GET")
	} else if i := strings.LastIndex(text, ":"); i >= 0 && (strings.Count(text, ":") == 1 || strings.HasSuffix(text[:i], "]")) {
		host, port = text[:i], text[i+1:]
	}
	n, err := strconv.ParseUint(cmp.Or(port, "443"), 10, 16)
	if err != nil || n == 0 {
		return policy.Request{}, fmt.Errorf("%q is not a port", port)
	}
	req := policy.Request{Port: uint16(n), Method: method, Path: path, Push: policy.PushIn(path, query)}
	if method != "" && path == "" {
		req.Path = "/"
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, addrErr := netip.ParseAddr(host); addrErr == nil {
		req.Addr, err = hostname.ParseAddr(host)
	} else {
		req.Host, err = hostname.Parse(host)
	}
	return req, err
}

// policyOf is what sb may reach: by its supervisor's word while it runs, else what its next start would make of the rules.
func (a *app) policyOf(ctx context.Context, sb *state.Sandbox) (*policy.Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := api.Dial(ctx, sb.Dir)
	if err == nil {
		return c.Policy(ctx)
	}
	if !errors.Is(err, api.ErrNotRunning) {
		return nil, err
	}
	sources, err := a.sourcesOf(sb)
	if err != nil {
		return nil, err
	}
	return a.merged(sources)
}

// sourcesOf is what the next start of sb would make its policy of.
func (a *app) sourcesOf(sb *state.Sandbox) (supervise.Sources, error) {
	store, err := a.store()
	if err != nil {
		return supervise.Sources{}, err
	}
	ag, err := a.findAgent(sb.Agent)
	if err != nil {
		return supervise.Sources{}, err
	}
	return supervise.LoadSources(store, sb, ag)
}

// merged is the policy, and tells what of the sources is not used.
func (a *app) merged(sources supervise.Sources) (*policy.Policy, error) {
	p, notices, err := sources.Policy()
	for _, n := range notices {
		a.note("%s", n)
	}
	return p, err
}

// registerSandbox adds the flag that says which sandbox is meant.
func (a *app) registerSandbox(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "sandbox", "", "the sandbox `NAME` (default: that of the current workspace)")
	_ = cmd.RegisterFlagCompletionFunc("sandbox", a.names)
}

// meant is the sandbox called name or, without one, the only one that has the current directory in a workspace.
func (a *app) meant(name string) (*state.Sandbox, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	if name != "" {
		return store.Load(name)
	}
	here, err := os.Getwd()
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell the current directory: %w", err)
	}
	entries, err := store.List()
	if err != nil {
		return nil, err
	}
	var found []*state.Sandbox
	var names []string
	for _, e := range entries {
		if e.Err == nil && shows(e.Sandbox, here) {
			found = append(found, e.Sandbox)
			names = append(names, e.Name)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, sandbox.WithHint(fmt.Errorf("no sandbox is for %s", here), "name one of those that bailey ls -a lists")
	}
	return nil, sandbox.WithHint(fmt.Errorf("several sandboxes are for %s: %s", here, strings.Join(names, ", ")), "name one of them")
}

func shows(sb *state.Sandbox, dir string) bool {
	for _, ws := range sb.Workspaces {
		if rel, err := filepath.Rel(ws.Path, dir); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}
