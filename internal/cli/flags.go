package cli

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/usage/budget"
)

// createFlags are the flags that decide what a new sandbox is; run and create share them.
type createFlags struct {
	name         string
	backend      string
	readOnly     bool
	review       bool
	clone        bool
	branch       string
	env          []string
	envFiles     []string
	volumes      []string
	cpus         float64
	memory       string
	pids         int
	disk         string
	allow        []string
	profiles     []string
	network      string
	agentVersion string
	credentials  string
	budget       string
	json         bool
}

func (f *createFlags) register(cmd *cobra.Command, quiet *bool) {
	fs := cmd.Flags()
	fs.StringVar(&f.name, "name", "", "name of the sandbox (default: from the agent and the workspace)")
	fs.StringVar(&f.backend, "backend", "auto", "isolation to use; see bailey doctor")
	fs.BoolVar(&f.readOnly, "read-only", false, "make the root file system immutable")
	fs.BoolVar(&f.review, "review", false, "change nothing in the workspaces: see bailey diff and bailey apply")
	fs.BoolVar(&f.clone, "clone", false, "give the agent a clone of the last commit; what is applied goes to a branch of yours")
	fs.StringVar(&f.branch, "branch", "", "with a clone, go to the branch `NAME` (default: bailey/SANDBOX-TIME)")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "set `KEY=VALUE` inside; KEY alone takes the value from here")
	fs.StringArrayVar(&f.envFiles, "env-file", nil, "read variables from `FILE`, one KEY=VALUE a line")
	fs.StringArrayVarP(&f.volumes, "volume", "v", nil, "show `HOST[:GUEST][:ro]` inside as well")
	fs.Float64Var(&f.cpus, "cpus", 0, "limit to `N` cores, such as 1.5")
	fs.StringVarP(&f.memory, "memory", "m", "", "limit memory to `SIZE`, such as 4g")
	fs.IntVar(&f.pids, "pids", 0, "limit to `N` processes and threads")
	fs.StringVar(&f.disk, "disk", "", "limit the sandbox's own files to `SIZE`")
	fs.StringArrayVar(&f.allow, "allow", nil, "let the sandbox reach `HOST[:PORT]`; repeat for more")
	fs.StringArrayVar(&f.profiles, "profile", nil, "let the sandbox read what `NAME` is for: "+strings.Join(policy.ProfileNames(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(policy.ProfileNames(), cobra.ShellCompDirectiveNoFileComp))
	fs.StringVar(&f.network, "network", "deny", "what no rule speaks of: `deny|ask|allow`, where ask is you; none is no network at all")
	fs.StringVar(&f.agentVersion, "agent-version", "", "exact version or tag of the agent (default: latest)")
	fs.StringVar(&f.credentials, "credentials", "host", "secrets lent to the sandbox, none of which enters it: `host|none|NAME,...`")
	fs.StringVar(&f.budget, "budget", "", "let the agent use `AMOUNT` at most, such as 5usd or 2Mtok; see bailey budget")
	fs.BoolVar(&f.json, "json", false, "print the new sandbox as JSON")
	fs.BoolVarP(quiet, "quiet", "q", false, "show no progress")
	registerRefused(cmd, refusedAtCreation())
	// As docker's plugin and its successor spell them.
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if old, ok := map[string]string{"allow-host": "allow", "detached": "detach"}[name]; ok {
			name = old
		}
		return pflag.NormalizedName(name)
	})
}

// check refuses what cannot be had, before anything is made.
func (f *createFlags) check(cmd *cobra.Command) error {
	if err := checkRefused(cmd, refusedAtCreation()); err != nil {
		return err
	}
	if f.credentials == "sandbox" { // as docker's plugin has it: who logs in inside stays logged in there
		f.credentials = "none"
	}
	if f.credentials != "host" && f.credentials != "none" {
		for name := range strings.SplitSeq(f.credentials, ",") {
			if err := secret.CheckName(name); err != nil {
				return usageError(cmd, "invalid --credentials %q: choose host, none, or names as bailey secret ls shows them", f.credentials)
			}
		}
	}
	f.clone = f.clone || f.branch != ""
	if f.clone && f.review {
		return usageError(cmd, "--clone is reviewed as well: leave --review away")
	}
	switch f.network {
	case "deny", "ask", "allow", "none":
	default:
		return usageError(cmd, "invalid --network %q: choose deny, ask, allow or none", f.network)
	}
	if f.network == "none" && len(f.allow)+len(f.profiles) > 0 {
		return usageError(cmd, "--allow and --profile have no meaning with --network none")
	}
	if f.budget != "" {
		if _, err := budget.ParseAmount(f.budget); err != nil {
			return usageError(cmd, "invalid --budget: %v", err)
		}
	}
	if f.name != "" {
		return sandbox.CheckName(f.name)
	}
	return nil
}

// record is the sandbox that the flags ask for, without agent, workspaces and name.
func (a *app) record(f *createFlags) (state.Record, error) {
	limits, err := f.limits()
	if err != nil {
		return state.Record{}, err
	}
	env, err := a.environment(f.env, f.envFiles)
	if err != nil {
		return state.Record{}, err
	}
	volumes, err := a.volumes(f.volumes)
	if err != nil {
		return state.Record{}, err
	}
	var lent []string
	if f.credentials != "none" {
		env, lent = a.keepOut(env)
	}
	return state.Record{
		Name: f.name, Backend: f.backend, AgentVersion: f.agentVersion, ReadOnly: f.readOnly,
		Env: env, Credentials: f.credentials, Lent: lent, Volumes: volumes, Network: f.network, Allow: f.allow, Profiles: f.profiles, Limits: limits,
	}, nil
}

func (f *createFlags) limits() (sandbox.Limits, error) {
	memory, err := parseSize("memory", f.memory)
	if err != nil {
		return sandbox.Limits{}, err
	}
	disk, err := parseSize("disk", f.disk)
	if err != nil {
		return sandbox.Limits{}, err
	}
	if f.cpus < 0 || math.IsNaN(f.cpus) || f.cpus > 1<<16 {
		return sandbox.Limits{}, fmt.Errorf("invalid --cpus %v: write a number of cores such as 1.5", f.cpus)
	}
	if f.pids < 0 {
		return sandbox.Limits{}, fmt.Errorf("invalid --pids %d: write a number of processes", f.pids)
	}
	return sandbox.Limits{CPUs: f.cpus, Memory: memory, Pids: f.pids, Disk: disk}, nil
}

// parseSize reads a number of bytes with an optional unit, each 1024 times the one before.
func parseSize(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(text), "b"), "i")
	shift := 0
	if i := len(number) - 1; i >= 0 {
		if unit := strings.IndexByte("kmgt", number[i]); unit >= 0 {
			shift = 10 * (unit + 1)
			number = number[:i]
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	bytes := n * float64(int64(1)<<shift)
	if err != nil || !(bytes >= 1) || bytes > math.MaxInt64/2 {
		return 0, fmt.Errorf("invalid --%s %q: write a size such as 512m or 4g", flag, text)
	}
	return int64(bytes), nil
}

// environment joins the files' variables and then the flags', in which KEY alone means the host's value.
func (a *app) environment(flags, files []string) ([]string, error) {
	var env []string
	for _, file := range files {
		lines, err := readEnvFile(file)
		if err != nil {
			return nil, err
		}
		env = append(env, lines...)
	}
	var out []string
	for _, kv := range append(env, flags...) {
		key, _, hasValue := strings.Cut(kv, "=")
		if key == "" || strings.ContainsAny(key, " \t") || strings.ContainsRune(kv, 0) {
			return nil, sandbox.WithHint(fmt.Errorf("invalid variable %q", key), "--env KEY=VALUE")
		}
		if !hasValue {
			value, ok := lookup(a.cfg.Environ, key)
			if !ok {
				continue // as docker does: what is unset here stays unset there
			}
			kv = key + "=" + value
		}
		out = append(out, kv)
	}
	return out, nil
}

// readEnvFile reads KEY=VALUE or KEY lines; blank lines and those that begin with # count for nothing.
func readEnvFile(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the variables: %w", err)
	}
	defer f.Close()
	var env []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimLeft(lines.Text(), " \t")
		if line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, strings.TrimRight(line, "\r"))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the variables in %s: %w", path, err)
	}
	return env, nil
}

// parseTimeout reads --timeout; "" is none.
func parseTimeout(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if seconds, numErr := strconv.ParseFloat(text, 64); numErr == nil && seconds < math.MaxInt64/1e10 {
		d, err = time.Duration(seconds*float64(time.Second)), nil // a bare number, as timeout(1) takes it
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("invalid --timeout %q: write a time such as 90s or 30m", text)
	}
	return d, nil
}
