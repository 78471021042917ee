package supervise

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/certs"
	"github.com/bailey-sandbox/bailey/internal/image"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/workspace"
)

// plan is a record made concrete on this host, at this start.
type plan struct {
	spec        sandbox.Spec
	sources     Sources
	rules       *policy.Policy   // made of them at the start
	authority   *certs.Authority // nil without a network
	credentials *credentials
	agent       agent.Agent
	agentArgv   []string // program and fixed arguments
	workspaces  []workspace.Plan
	notices     []string
}

// makePlan turns the record into a Spec. What the record does not name is not in it.
func makePlan(ctx context.Context, cfg Config, sb *state.Sandbox) (plan, error) {
	var p plan
	ag, err := agent.Find(sb.Agent, cfg.Agents)
	if err != nil {
		return plan{}, err
	}
	if p.sources, err = LoadSources(cfg.Store, sb, ag); err != nil {
		return plan{}, err
	}
	if p.rules, p.notices, err = p.sources.Policy(); err != nil {
		return plan{}, err
	}
	installed, err := installedAgent(ctx, cfg, ag)
	if err != nil {
		return plan{}, err
	}
	user, err := makeUser(cfg.Getenv, sb.Workspaces)
	if err != nil {
		return plan{}, err
	}
	p.spec = sandbox.Spec{Name: sb.Name, Dir: sb.Dir, Hostname: sb.Name, User: user, Limits: sb.Limits, Network: network(sb.Record)}
	var public []byte
	if p.spec.Network != sandbox.NetworkNone {
		if p.authority, err = certs.Open(filepath.Join(cfg.Store.Dirs().Data, state.AuthorityDir)); err != nil {
			return plan{}, fmt.Errorf("%w: %w", sandbox.ErrContainment, err)
		}
		public = p.authority.PEM()
	}
	secrets := &secret.Store{Dir: filepath.Join(cfg.Store.Dirs().Data, state.SecretsDir), Getenv: cfg.Getenv, Lent: cfg.Loan}
	if p.credentials, err = newCredentials(secrets, p.sources.Bound, sb, ag); err != nil {
		return plan{}, err
	}
	hostHome := cfg.Getenv("HOME")
	root, tools, env, err := image.Host(image.HostInput{
		User: user, Hostname: sb.Name, MachineID: sb.MachineID, Network: p.spec.Network, ReadOnly: sb.ReadOnly, Authority: public, Logins: p.credentials.logins(),
		HostHome: hostHome, Getenv: cfg.Getenv, Cache: filepath.Join(cfg.Store.Dirs().Data, state.HostCacheDir),
	})
	if err != nil {
		return plan{}, err
	}
	p.spec.Root = root
	for _, key := range slices.Sorted(maps.Keys(ag.Env)) {
		env = append(env, key+"="+ag.Env[key])
	}
	p.spec.Env = append(append(env, p.credentials.env()...), sb.Env...)

	// In this order: what lies below the home directory comes after it.
	p.spec.Mounts = append(p.spec.Mounts, sandbox.Mount{Kind: sandbox.MountState, Source: state.HomeDir, Target: user.Home})
	p.spec.Mounts = append(p.spec.Mounts, tools...)
	p.spec.Mounts = append(p.spec.Mounts, ag.CarryIn(hostHome)...)
	if installed.Dir != "" {
		p.spec.Mounts = append(p.spec.Mounts, sandbox.Mount{Kind: sandbox.MountBind, Source: installed.Dir, Target: installed.Dir, ReadOnly: true})
	}
	if err := p.addDirectories(sb); err != nil {
		return plan{}, err
	}
	if err := p.projectFiles(sb); err != nil {
		return plan{}, fmt.Errorf("cannot show a file of variables: %w", err)
	}
	p.agent, p.agentArgv = ag, ag.Command(installed.Bin, nil)
	return p, nil
}

// installedAgent asks the cache, which the command line has filled: an exact version needs no network.
func installedAgent(ctx context.Context, cfg Config, ag agent.Agent) (agent.Installed, error) {
	cache := agent.Store{Dir: filepath.Join(cfg.Store.Dirs().Data, state.AgentsDir), Platform: agent.HostPlatform()}
	return cache.Ensure(ctx, ag, cfg.AgentVersion)
}

// addDirectories adds workspaces and volumes, and takes the first workspace as working directory.
func (p *plan) addDirectories(sb *state.Sandbox) error {
	for n, ws := range sb.Workspaces {
		mode := workspace.Direct
		switch {
		case ws.ReadOnly:
			mode = workspace.ReadOnly
		case ws.Review:
			mode = workspace.Review
		}
		shown := ws.Path
		if ws.Clone != nil {
			shown = filepath.Join(sb.Dir, state.CloneDir(n))
		}
		hide, protect := p.sources.patterns(ws.Path)
		plan, err := workspace.MakePlan(shown, mode, workspace.Options{
			Hide: slices.Concat(hide, secret.Patterns(p.credentials.projections, ws.Path)), Protect: protect, Layer: state.LayerDir(n),
		})
		if err != nil {
			return err
		}
		if ws.Clone != nil {
			plan = plan.At(ws.Path)
		}
		if ws.Clone != nil && ws.Clone.Objects != "" {
			p.spec.Mounts = append(p.spec.Mounts, sandbox.Mount{Kind: sandbox.MountBind, Source: ws.Clone.Objects, Target: state.CloneObjects(n), ReadOnly: true})
		}
		p.spec.Mounts = append(p.spec.Mounts, plan.Mounts...)
		for _, n := range plan.Notices {
			p.notices = append(p.notices, n.Path+": "+n.Text)
		}
		if mode == workspace.Direct {
			p.workspaces = append(p.workspaces, plan)
		}
	}
	if err := checkVolumes(sb.Volumes, p.spec.Mounts); err != nil {
		return err
	}
	for _, v := range sb.Volumes {
		p.spec.Mounts = append(p.spec.Mounts, sandbox.Mount{Kind: sandbox.MountBind, Source: v.Host, Target: v.Guest, ReadOnly: v.ReadOnly})
	}
	p.spec.Workdir = p.spec.User.Home
	if len(sb.Workspaces) > 0 {
		p.spec.Workdir = sb.Workspaces[0].Path
	}
	return nil
}

// checkVolumes refuses to show what a workspace protects or hides a second time, without the protection.
func checkVolumes(volumes []state.Volume, mounts []sandbox.Mount) error {
	within := func(path, dir string) bool {
		return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
	}
	for _, v := range volumes {
		for _, m := range mounts {
			special := m.Kind == sandbox.MountHidden || !v.ReadOnly && (m.Kind == sandbox.MountProtected || m.Kind == sandbox.MountPinned)
			// Below a pinned directory is nothing special; whoever has the directory itself can move what is in it.
			if special && (within(m.Target, v.Host) || m.Kind != sandbox.MountPinned && within(v.Host, m.Target)) {
				return sandbox.WithHint(fmt.Errorf("the volume %s shows %s, which is protected in the workspace: %w", v.Host, m.Target, sandbox.ErrContainment),
					"the workspace is shown already; mount a directory beside it, or one in it that has nothing to protect")
			}
		}
	}
	return nil
}

// seedHome answers the agent's first-run questions in the sandbox's own home. The backend has made that by
// now, with the owner that it has on this host; nothing runs in the sandbox yet.
func (p *plan) seedHome(ctx context.Context, home string, sb *state.Sandbox) error {
	login, err := p.credentials.loggedIn(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the login: %w", err)
	}
	in := agent.SeedInput{Env: map[string]string{}, Login: login, Canaries: p.credentials.stands.Canaries, Tokens: p.credentials.tokens()}
	for _, kv := range p.spec.Env {
		key, value, _ := strings.Cut(kv, "=")
		in.Env[key] = value
	}
	for _, ws := range sb.Workspaces {
		in.Workspaces = append(in.Workspaces, ws.Path)
	}
	return p.agent.Seed(home, in)
}

// makeUser says who the agent is inside. An ordinary user stays who they are. For root it is the owner
// of the workspace, or an unprivileged number where that is root too: nothing inside has uid 0.
func makeUser(getenv func(string) string, workspaces []state.Workspace) (sandbox.User, error) {
	const spare = 1000
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return sandbox.User{}, fmt.Errorf("cannot start without an absolute HOME, it is %q", home)
	}
	u := sandbox.User{
		Name: userName(getenv), UID: os.Getuid(), GID: os.Getgid(), Home: filepath.Clean(home), Shell: shell(getenv("SHELL")),
		HostUID: os.Getuid(), HostGID: os.Getgid(),
	}
	if u.HostUID != 0 {
		return u, nil
	}
	if len(workspaces) > 0 {
		info, err := os.Stat(workspaces[0].Path)
		if err != nil {
			return sandbox.User{}, fmt.Errorf("cannot use the workspace: %w", err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			u.HostUID, u.HostGID = int(st.Uid), int(st.Gid)
		}
	}
	u.Name, u.UID, u.GID = "agent", u.HostUID, u.HostGID
	if u.UID == 0 {
		u.UID = spare
	}
	if u.GID == 0 {
		u.GID = spare
	}
	return u, nil
}

func userName(getenv func(string) string) string {
	for _, key := range []string{"LOGNAME", "USER"} {
		if name := getenv(key); name != "" && name != "root" {
			return name
		}
	}
	return "agent"
}

// shell is the user's own when the host's programs, which the sandbox sees, have it.
func shell(path string) string {
	for _, dir := range []string{"/bin/", "/usr/bin/"} {
		if strings.HasPrefix(path, dir) && filepath.Clean(path) == path {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path
			}
		}
	}
	return "/bin/sh"
}
