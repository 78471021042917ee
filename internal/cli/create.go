package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/supervise"
)

type createOptions struct {
	createFlags
	target
}

func newCreate(a *app) *cobra.Command {
	o := &createOptions{}
	cmd := &cobra.Command{
		Use:   "create [flags] AGENT [PATH[:ro]...] [-- ARGS...]",
		Short: "Create a sandbox without starting it",
		Long: `Create a sandbox for an agent and a workspace, and print its name. The first PATH is where the agent
works ("." by default), the others are shown too, ":ro" read-only. ARGS are the agent's whenever
it is started without others.`,
		Example: "  bailey create claude .\n  bailey create --name big --memory 8g claude ~/src/shop ~/src/lib:ro",
		Args:    takes(1, -1, "AGENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.target = splitTarget(cmd, args)
			if err := o.check(cmd); err != nil {
				return err
			}
			return a.create(cmd, o)
		},
	}
	o.register(cmd, &a.quiet)
	return cmd
}

func (a *app) create(cmd *cobra.Command, o *createOptions) error {
	want, err := a.wanted(cmd, &o.createFlags, o.target)
	if err != nil {
		return err
	}
	want.Args = o.args
	store, err := a.store()
	if err != nil {
		return err
	}
	sb, err := a.createNew(cmd.Context(), store, want)
	if err != nil {
		return err
	}
	if err := a.setBudget(sb, o.budget); err != nil {
		return errors.Join(err, sb.Remove())
	}
	if o.json {
		return a.json(describe(sb, "stopped", nil))
	}
	fmt.Fprintln(a.Out, sb.Name)
	return nil
}

// target is what stands after the flags: AGENT or NAME, PATHs, and what follows "--".
type target struct {
	first string
	paths []string
	args  []string
}

func splitTarget(cmd *cobra.Command, args []string) target {
	var t target
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		args, t.args = args[:dash], args[dash:]
	}
	if len(args) > 0 {
		t.first, t.paths = args[0], args[1:]
	}
	return t
}

// wanted is the record of the sandbox that the command line describes, checked as far as it can be without
// making it; f was checked before. Name is "" when the user gave none.
func (a *app) wanted(cmd *cobra.Command, f *createFlags, t target) (state.Record, error) {
	user, err := a.userConfig()
	if err != nil {
		return state.Record{}, err
	}
	ag, err := agent.Find(t.first, user.Agents)
	if err != nil {
		return state.Record{}, err
	}
	want, err := a.record(f)
	if err != nil {
		return state.Record{}, err
	}
	want.Agent = ag.Name
	if user.Network.Default != "" && !cmd.Flags().Changed("network") {
		want.Network = user.Network.Default
	}
	sources := supervise.Sources{Agent: ag, Record: want}
	if _, _, err := sources.Policy(); err != nil {
		return state.Record{}, err
	}
	mode := ""
	switch {
	case f.clone:
		mode = "clone"
	case f.review:
		mode = "review"
	case !cmd.Flags().Changed("review") && !cmd.Flags().Changed("clone"):
		mode = user.Workspace.Mode
	default:
		mode = "direct" // --review=false
	}
	want.Workspaces, err = a.workspaces(t.paths, mode, !cmd.Flags().Changed("review") && !cmd.Flags().Changed("clone"))
	for _, ws := range want.Workspaces {
		if ws.Clone != nil {
			ws.Clone.Branch = f.branch
		}
	}
	return want, err
}

// createNew makes the sandbox that want describes, with the clones that it works on.
func (a *app) createNew(ctx context.Context, store *state.Store, want state.Record) (*state.Sandbox, error) {
	sb, err := createNew(store, want)
	if err != nil {
		return nil, err
	}
	if err := a.makeClones(ctx, sb); err != nil {
		return nil, errors.Join(err, sb.Remove())
	}
	return sb, nil
}

// createNew stores want under its name, or under a free one made from the agent and the workspace. There is
// one sandbox for both unless the user names more: the error wraps state.ErrExists, also in a race.
func createNew(store *state.Store, want state.Record) (*state.Sandbox, error) {
	if want.Name != "" {
		return store.Create(want)
	}
	base := defaultName(want)
	for n := 1; n < 100; n++ {
		want.Name = base
		if n > 1 {
			want.Name = fmt.Sprintf("%s-%d", base, n)
		}
		sb, err := store.Create(want)
		if !errors.Is(err, state.ErrExists) {
			return sb, err
		}
		if there, loadErr := store.Load(want.Name); loadErr == nil && !want.Temporary && reentered(there, want) {
			return nil, sandbox.WithHint(fmt.Errorf("cannot create another sandbox for %s in %s: %w", want.Agent, mainPath(want), err),
				"bailey run "+there.Name+", or choose a --name")
		}
	}
	return nil, sandbox.WithHint(fmt.Errorf("cannot find a free name like %s", base), "choose one with --name")
}

func defaultName(r state.Record) string {
	return sandbox.NameFrom(r.Agent, filepath.Base(r.Workspaces[0].Path))
}

// reenter finds the sandbox that want describes among those that exist, nil when there is none: the one
// of its name, or the one of its agent and main workspace.
func reenter(store *state.Store, want state.Record) (*state.Sandbox, error) {
	if want.Name != "" {
		sb, err := store.Load(want.Name)
		if errors.Is(err, state.ErrNotFound) {
			return nil, nil
		}
		if err == nil && !samePlace(sb.Record, want) {
			err = sandbox.WithHint(fmt.Errorf("the sandbox %s is for %s in %s", sb.Name, sb.Agent, mainPath(sb.Record)),
				"choose another --name, or bailey run "+sb.Name)
		}
		return sb, err
	}
	entries, err := store.List()
	if err != nil {
		return nil, err
	}
	var found []*state.Sandbox
	for _, e := range entries {
		if e.Err == nil && reentered(e.Sandbox, want) {
			found = append(found, e.Sandbox)
		}
	}
	if len(found) > 1 {
		// Those with a name of their own were made to be called by it.
		base := defaultName(want)
		var names []string
		for _, sb := range found {
			names = append(names, sb.Name)
		}
		found = slices.DeleteFunc(found, func(sb *state.Sandbox) bool { return !strings.HasPrefix(sb.Name, base) })
		if len(found) != 1 {
			return nil, sandbox.WithHint(fmt.Errorf("several sandboxes are for %s in %s: %s", want.Agent, mainPath(want), strings.Join(names, ", ")),
				"bailey run NAME")
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found[0], nil
}

// reentered reports whether sb is one that a run of want enters without being told its name.
func reentered(sb *state.Sandbox, want state.Record) bool {
	return !sb.Temporary && samePlace(sb.Record, want)
}

func samePlace(have, want state.Record) bool {
	return have.Agent == want.Agent && mainPath(have) == mainPath(want)
}

func mainPath(r state.Record) string {
	if len(r.Workspaces) == 0 {
		return ""
	}
	return r.Workspaces[0].Path
}

// sameFlags refuses flags of creation that ask for something else than the sandbox is.
func sameFlags(cmd *cobra.Command, have, want state.Record, paths []string) error {
	fields := []struct {
		flags      []string
		have, want any
	}{
		{[]string{"backend"}, have.Backend, want.Backend},
		{[]string{"read-only"}, have.ReadOnly, want.ReadOnly},
		{[]string{"env", "env-file"}, have.Env, want.Env},
		{[]string{"env", "env-file"}, have.Lent, want.Lent},
		{[]string{"credentials"}, have.Credentials, want.Credentials},
		{[]string{"volume"}, have.Volumes, want.Volumes},
		{[]string{"cpus"}, have.Limits.CPUs, want.Limits.CPUs},
		{[]string{"memory"}, have.Limits.Memory, want.Limits.Memory},
		{[]string{"pids"}, have.Limits.Pids, want.Limits.Pids},
		{[]string{"disk"}, have.Limits.Disk, want.Limits.Disk},
		{[]string{"allow"}, have.Allow, want.Allow},
		{[]string{"profile"}, have.Profiles, want.Profiles},
		{[]string{"network"}, have.Network, want.Network},
		{[]string{"agent-version"}, have.AgentVersion, want.AgentVersion},
	}
	var differ []string
	for _, f := range fields {
		given := slices.ContainsFunc(f.flags, cmd.Flags().Changed)
		if given && !reflect.DeepEqual(f.have, f.want) {
			differ = append(differ, "--"+f.flags[0])
		}
	}
	for _, flag := range []string{"review", "clone", "branch"} {
		if cmd.Flags().Changed(flag) && !sameReview(have, want) {
			differ = append(differ, "--"+flag)
		}
	}
	if len(paths) > 1 && !reflect.DeepEqual(have.Workspaces, want.Workspaces) {
		differ = append(differ, "PATHs")
	}
	if len(differ) == 0 {
		return nil
	}
	return sandbox.WithHint(fmt.Errorf("the sandbox %s was created with other %s", have.Name, strings.Join(differ, ", ")),
		fmt.Sprintf("remove it with bailey rm -f %s, or make a second one with --name", have.Name))
}
