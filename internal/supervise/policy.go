package supervise

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/workspace"
)

// Sources is everything that a sandbox's policy is made of. Their rules stand one after the other, in the order of
// the fields; a rule that denies beats every other, wherever it comes from.
type Sources struct {
	Agent     agent.Agent      // what it needs to work
	User      config.Network   // config.yaml
	Bound     []config.Bound   // the same: hosts for secrets
	Global    state.Grants     // given to every sandbox
	Projects  []Project        // what the workspaces say
	Record    state.Record     // the command line
	Workspace config.Workspace // the user's, for every workspace
	Own       state.Grants     // given to this sandbox
	Session   state.Grants     // what a human has answered until it stops
}

// Project is a workspace's own file, and whether the user has accepted it as it is.
type Project struct {
	*config.Project
	Trusted bool
}

// patterns are what is hidden and protected of the user and of the workspace's own file, which can only add some.
func (s Sources) patterns(workspace string) (hide, protect []string) {
	hide, protect = s.Workspace.Hide, s.Workspace.Protect
	for _, p := range s.Projects {
		if filepath.Dir(p.Path) == workspace {
			hide, protect = slices.Concat(hide, p.Workspace.Hide), slices.Concat(protect, p.Workspace.Protect)
		}
	}
	return hide, protect
}

// LoadSources reads what sb's policy is made of. The error wraps sandbox.ErrPolicy.
func LoadSources(store *state.Store, sb *state.Sandbox, ag agent.Agent) (Sources, error) {
	s := Sources{Agent: ag, Record: sb.Record}
	for _, ws := range sb.Workspaces {
		project, err := config.ReadProject(ws.Path)
		if err != nil {
			return Sources{}, err
		}
		if project != nil {
			s.Projects = append(s.Projects, Project{Project: project})
		}
	}
	return s.reloaded(store, sb)
}

// reloaded is s with everything read again that is the user's. What is in a workspace is judged by what it was
// when the sandbox started: an agent that rewrites it changes nothing.
func (s Sources) reloaded(store *state.Store, sb *state.Sandbox) (Sources, error) {
	fail := func(err error) (Sources, error) { return Sources{}, fmt.Errorf("%w: %w", sandbox.ErrPolicy, err) }
	user, err := config.Load(filepath.Join(store.Dirs().Config, state.ConfigFile))
	if err != nil {
		return fail(err)
	}
	s.User, s.Bound, s.Workspace = user.Network, user.Credentials, user.Workspace
	if s.Global, err = store.Grants(); err != nil {
		return fail(err)
	}
	if s.Own, err = sb.Grants(); err != nil {
		return fail(err)
	}
	projects := make([]Project, len(s.Projects))
	for i, p := range s.Projects {
		if p.Trusted, err = store.Trusted(p.Path, p.Hash); err != nil {
			return fail(err)
		}
		projects[i] = p
	}
	s.Projects = projects
	return s, nil
}

// Policy merges the sources. The notices say what of them is not used. The error wraps sandbox.ErrPolicy.
func (s Sources) Policy() (*policy.Policy, []string, error) {
	p := &policy.Policy{Sandbox: s.Record.Name}
	switch s.Record.Network {
	case "deny", "none":
	case "ask", "allow":
		p.Default = policy.ParseVerdict(s.Record.Network)
	default:
		return nil, nil, fmt.Errorf("%w: unknown network mode %q", sandbox.ErrPolicy, s.Record.Network)
	}
	var notices []string
	for _, add := range []func(*policy.Policy) error{s.addAgent, s.addUser, func(p *policy.Policy) error {
		notices = s.addProjects(p)
		return nil
	}, s.addRecord, s.addOwn, s.addSession} {
		if err := add(p); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", sandbox.ErrPolicy, err)
		}
	}
	return p, notices, nil
}

func (s Sources) addAgent(p *policy.Policy) error {
	for _, h := range s.Agent.Hosts {
		r, err := policy.ParseRule(fmt.Sprintf("%s:%d", h.Name, h.Port), "built-in: "+s.Agent.Name)
		if err != nil {
			return err
		}
		r.Why = h.Why
		p.Rules = append(p.Rules, r)
	}
	return nil
}

func (s Sources) addUser(p *policy.Policy) error {
	p.Rules = append(p.Rules, s.User.Rules...)
	return addGrants(p, s.Global, func(v policy.Verdict) string { return "bailey " + v.String() + " --global" })
}

// addProjects adds what the workspaces' own files deny, and what they allow when the user has accepted that. What no
// rule speaks of they can only close further.
func (s Sources) addProjects(p *policy.Policy) (notices []string) {
	for _, project := range s.Projects {
		switch {
		case project.Network.Default == "deny":
			p.Default = policy.Deny
		case project.Network.Default == "ask" && p.Default == policy.Allow:
			p.Default = policy.Ask
		}
		unused := false
		for _, r := range project.Network.Rules {
			if r.Verdict == policy.Allow && !project.Trusted {
				unused = true
				continue
			}
			p.Rules = append(p.Rules, r)
		}
		if unused {
			notices = append(notices, fmt.Sprintf("%s: what it allows is not used, because nobody has accepted it as it is now: bailey policy trust %s",
				project.Path, workspace.Quote(filepath.Dir(project.Path))))
		}
	}
	return notices
}

func (s Sources) addRecord(p *policy.Policy) error {
	for _, name := range s.Record.Profiles {
		rules, err := policy.Profile(name, "--profile")
		if err != nil {
			return err
		}
		p.Rules = append(p.Rules, rules...)
	}
	for _, text := range s.Record.Allow {
		r, err := policy.ParseRule(text, "--allow")
		if err != nil {
			return err
		}
		p.Rules = append(p.Rules, r)
	}
	return nil
}

func (s Sources) addOwn(p *policy.Policy) error {
	return addGrants(p, s.Own, func(v policy.Verdict) string { return "bailey " + v.String() })
}

func (s Sources) addSession(p *policy.Policy) error {
	return addGrants(p, s.Session, func(policy.Verdict) string { return "session" })
}

func addGrants(p *policy.Policy, g state.Grants, origin func(policy.Verdict) string) error {
	for _, list := range []struct {
		verdict policy.Verdict
		entries []policy.Entry
	}{{policy.Allow, g.Allow}, {policy.Deny, g.Deny}} {
		for _, e := range list.entries {
			r, err := e.Rule(list.verdict, origin(list.verdict))
			if err != nil {
				return err
			}
			p.Rules = append(p.Rules, r)
		}
	}
	return nil
}

// Policy implements api.Supervisor.
func (s *supervisor) Policy(context.Context) (api.Policy, error) {
	return api.NewPolicy(s.rules.Load()), nil
}

// Reload implements api.Supervisor.
func (s *supervisor) Reload(context.Context) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	if err := s.readFrozen(); err != nil {
		return err
	}
	return s.readRules()
}

// readRules is called with reload held.
func (s *supervisor) readRules() error {
	sources, err := s.plan.sources.reloaded(s.cfg.Store, s.sb)
	if err != nil {
		return err
	}
	sources.Session = s.session
	p, _, err := sources.Policy()
	if err != nil {
		return err
	}
	p.Frozen = s.frozen
	s.rules.Store(p)
	if s.egress != nil {
		s.plan.credentials.bound = sources.Bound
		if err := s.readCredentials(); err != nil {
			return err
		}
		s.egress.Recheck()
	}
	return nil
}
