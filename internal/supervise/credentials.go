package supervise

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/image"
	"github.com/bailey-sandbox/bailey/internal/oauth"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/secret"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// credentials is what one sandbox may use of the user's secrets.
type credentials struct {
	store       *secret.Store
	bound       []config.Bound // by the user's configuration
	sb          *state.Sandbox
	agent       agent.Agent
	stands      state.StandIns // inside
	begun       []lendable     // what may be used at the start; what is made inside depends on it
	memory      credential.Memory
	files       []projected         // of variables, shown inside
	projections []secret.Projection // of all projects
	login       *oauth.Broker       // of the agent's kind; nil where there is none, or nothing is lent
	kept        func()              // called when a login has been kept; nil before the network is served
}

// lendable is a secret that the sandbox may use, with where it may go.
type lendable struct {
	secret.Entry
	resolved secret.Resolved
	service  credential.Service
	kept     bool // in the store, by its name; otherwise only for as long as the supervisor runs
}

// newCredentials finds out what the sandbox may use, and makes what stands for it inside: a placeholder for each
// secret, the same ones as long as the sandbox exists, and the canaries.
func newCredentials(store *secret.Store, bound []config.Bound, sb *state.Sandbox, ag agent.Agent) (*credentials, error) {
	c := &credentials{store: store, bound: bound, sb: sb, agent: ag}
	before, err := sb.StandIns()
	if err != nil {
		return nil, err
	}
	c.stands = state.StandIns{Placeholders: map[string]string{}, Canaries: before.Canaries}
	if c.stands.Canaries == nil {
		c.stands.Canaries = newCanaries()
	}
	stand := func(name string, shape credential.Shape) {
		placeholder := before.Placeholders[name]
		if !shape.Fits(placeholder) {
			placeholder = shape.New()
		}
		c.stands.Placeholders[name] = placeholder
	}
	if p, ok := oauth.Of(ag.Name); ok && sb.Lends() {
		c.login = &oauth.Broker{Provider: p, Secret: p.Secret, Store: store}
		service, _ := credential.FindService(p.Secret)
		stand(p.Secret, service.Shape)
		stand(p.Secret+refreshSuffix, p.Refresh)
	}
	if c.begun, err = c.lendable(); err != nil {
		return nil, err
	}
	for _, l := range c.begun {
		stand(l.Name, l.resolved.Shape)
	}
	if err := c.readProjections(); err != nil {
		return nil, err
	}
	if sb.Lends() {
		c.standForFiles(stand)
	}
	if maps.Equal(before.Placeholders, c.stands.Placeholders) && maps.Equal(before.Canaries, c.stands.Canaries) {
		return c, nil // a start that changes nothing does not wait for the disk
	}
	return c, sb.SaveStandIns(c.stands)
}

// refreshSuffix is added to a login's name for what stands for its refresh token.
const refreshSuffix = ".refresh"

// lendable is every secret that the sandbox may use now.
func (c *credentials) lendable() ([]lendable, error) {
	if !c.sb.Lends() {
		return nil, nil
	}
	kept, err := c.store.List()
	if err != nil {
		return nil, err
	}
	var entries []secret.Entry
	for _, e := range kept {
		if e.For(c.sb.Name) {
			entries = append(entries, e)
		}
	}
	n := len(entries)
	entries = append(entries, c.lent(entries)...)
	var all []lendable
	for i, e := range entries {
		r, err := e.Resolve()
		if err != nil {
			return nil, fmt.Errorf("cannot use the secret %s: %w", e.Name, err)
		}
		for _, b := range c.bound {
			if b.Secret == e.Name {
				r.Bindings = append(slices.Clip(r.Bindings), b.Binding)
			}
		}
		service, _ := credential.FindService(e.Service)
		all = append(all, lendable{Entry: e, resolved: c.redirected(r, service), service: service, kept: i < n})
	}
	return c.named(all)
}

// named is those of all that --credentials names.
func (c *credentials) named(all []lendable) ([]lendable, error) {
	if c.sb.Credentials == "host" {
		return all, nil
	}
	var some []lendable
	for _, name := range strings.Split(c.sb.Credentials, ",") {
		i := slices.IndexFunc(all, func(l lendable) bool { return l.Name == name })
		if i < 0 {
			return nil, sandbox.WithHint(fmt.Errorf("cannot lend the secret %s: %w", name, secret.ErrNotFound), "bailey secret set "+name)
		}
		some = append(some, all[i])
	}
	return some, nil
}

// lent is the secrets that variables of the host hold, by their service, where none is kept for it.
func (c *credentials) lent(kept []secret.Entry) []secret.Entry {
	var entries []secret.Entry
	for _, variable := range append(slices.Clone(c.sb.Lent), c.agent.Keys...) {
		service, ok := credential.ServiceOf(variable)
		source := ""
		if path := c.store.Lent.Env[variable+"_FILE"]; path != "" {
			source = "file:" + path
		}
		if c.store.Lent.Env[variable] != "" || source == "" && slices.Contains(c.sb.Lent, variable) {
			source = "env:" + variable
		}
		same := func(e secret.Entry) bool { return e.Name == service.Name }
		if ok && source != "" && !slices.ContainsFunc(kept, same) && !slices.ContainsFunc(entries, same) {
			entries = append(entries, secret.Entry{Name: service.Name, Service: service.Name, Source: source, Env: []string{variable}})
		}
	}
	return entries
}

// redirected adds the server that the user has pointed the service's programs at: it is who gets the secret then.
func (c *credentials) redirected(r secret.Resolved, service credential.Service) secret.Resolved {
	for _, kv := range c.sb.Env {
		name, value, _ := strings.Cut(kv, "=")
		if service.BaseURL == "" || name != service.BaseURL {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "https" {
			continue
		}
		if host, port, err := credential.ParseHost(u.Host); err == nil {
			r.Bindings = append(slices.Clone(r.Bindings), credential.Binding{Host: host, Port: port, As: r.Bindings[0].As})
		}
	}
	return r
}

// env is the variables inside.
func (c *credentials) env() []string {
	var env []string
	for _, l := range c.begun {
		value := c.stands.Placeholders[l.Name]
		parts := strings.Split(value, ":")
		for i, name := range l.resolved.Env {
			if l.service.Parts && len(parts) == len(l.resolved.Env) {
				value = parts[i]
			}
			env = append(env, name+"="+value)
		}
	}
	return env
}

// tokens is what stands for the secrets of services, by their names.
func (c *credentials) tokens() map[string]string {
	tokens := map[string]string{}
	for _, l := range c.begun {
		if l.Service != "" {
			tokens[l.Service] = c.stands.Placeholders[l.Name]
		}
	}
	return tokens
}

// logins is what programs inside find in files: git, by each host where a password goes, and npm.
func (c *credentials) logins() []image.Login {
	var logins []image.Login
	for _, l := range c.begun {
		for _, b := range l.resolved.Bindings {
			login := image.Login{Host: b.Host.String(), Password: c.stands.Placeholders[l.Name], User: l.service.GitUser, NPM: l.Service == "npm"}
			if login.NPM && login.Host == "*."+agent.NPMDomain {
				login.Host = agent.NPMRegistry
			}
			if b.Port != 443 {
				login.Host = fmt.Sprintf("%s:%d", login.Host, b.Port)
			}
			basic := slices.ContainsFunc(b.As, func(p credential.Place) bool { return p.Basic })
			if login.User == "" && basic && l.service.Name == "" {
				login.User = "git"
			}
			if login.NPM || basic && login.User != "" {
				logins = append(logins, login)
			}
		}
	}
	return logins
}

// keeper makes what looks after the secrets as they are now. A secret that the sandbox may use no more is one that may
// go nowhere; one that it may use since its start has no placeholder inside, and is left out.
func (c *credentials) keeper(alarm func(credential.Alarm)) (*credential.Keeper, error) {
	all, err := c.lendable()
	if err != nil {
		return nil, err
	}
	cfg := credential.Config{Memory: &c.memory, Alarm: alarm}
	for _, name := range slices.Sorted(maps.Keys(c.stands.Placeholders)) {
		s := credential.Secret{Name: name, Placeholder: c.stands.Placeholders[name], Value: func(context.Context) (string, error) { return "", errors.New("it was taken away") }}
		if i := slices.IndexFunc(all, func(l lendable) bool { return l.Name == name }); i >= 0 {
			s.Bindings, s.Value = all[i].resolved.Bindings, c.value(all[i])
		}
		cfg.Secrets = append(cfg.Secrets, s)
	}
	for _, name := range slices.Sorted(maps.Keys(c.stands.Canaries)) {
		cfg.Canaries = append(cfg.Canaries, credential.Canary{Name: name, Value: c.stands.Canaries[name]})
	}
	if c.login != nil {
		name := c.login.Secret
		cfg.Endpoints = []credential.Endpoint{&oauth.Endpoint{Broker: c.login, Access: c.stands.Placeholders[name], Refresh: c.stands.Placeholders[name+refreshSuffix], Keep: c.keep}}
	}
	for _, h := range c.agent.Hosts {
		pattern, err := hostname.ParsePattern(h.Name)
		if err != nil {
			return nil, err
		}
		if h.Model {
			cfg.Models = append(cfg.Models, pattern)
		}
	}
	return credential.NewKeeper(cfg), nil
}

// keep stores a login that was made inside, or anew.
func (c *credentials) keep(ctx context.Context, t oauth.Tokens) error {
	e, err := c.store.ForService(ctx, c.login.Secret)
	if err == nil {
		err = c.store.Set(ctx, e, t.Encode())
	}
	if err == nil && c.kept != nil {
		c.kept()
	}
	return err
}

// loggedIn is what the agent finds as its login, nil where there is none.
func (c *credentials) loggedIn(ctx context.Context) (*agent.Login, error) {
	if c.login == nil || !slices.ContainsFunc(c.begun, func(l lendable) bool { return l.Name == c.login.Secret }) {
		return nil, nil
	}
	name := c.login.Secret
	login := &agent.Login{Access: c.stands.Placeholders[name], Refresh: c.stands.Placeholders[name+refreshSuffix], Scopes: c.login.Provider.Scopes}
	if !c.login.Provider.Identity { // then nobody waits for the store
		return login, nil
	}
	var err error
	login.Identity, err = c.login.Identity(ctx)
	login.Account = oauth.Account(login.Identity)
	return login, err
}

// value is how a secret is had when a request needs it.
func (c *credentials) value(l lendable) func(context.Context) (string, error) {
	if !l.kept {
		return func(ctx context.Context) (string, error) { return c.store.Read(ctx, l.Entry) }
	}
	return func(ctx context.Context) (string, error) {
		value, err := c.current(ctx, l.Name)
		if err == nil {
			c.store.Touch(l.Name)
		}
		return value, err
	}
}

// current is a secret of the store, which is kept alive where it is the login.
func (c *credentials) current(ctx context.Context, name string) (string, error) {
	if c.login == nil || name != c.login.Secret {
		return c.store.Value(ctx, name)
	}
	value, err := c.login.Access(ctx)
	if errors.Is(err, oauth.ErrEnded) {
		return "", &credential.Refusal{Secret: name, Reason: "the login has ended, and its provider does not renew it; on the host: " + sandbox.Hint(err)}
	}
	return value, err
}

// newCanaries are values that nothing uses, for the files that Canaries makes.
func newCanaries() map[string]string {
	return map[string]string{agent.CanaryKeyID: credential.AWSKeyID().New(), agent.CanaryKey: credential.AWSKey().New()}
}

// relend makes the Keeper anew after a login.
func (s *supervisor) relend() {
	s.reload.Lock()
	defer s.reload.Unlock()
	if err := s.readCredentials(); err != nil {
		s.log.Error("cannot use the new login", "error", err)
	}
}

// readCredentials makes the Keeper anew. It is called with reload held.
func (s *supervisor) readCredentials() error {
	k, err := s.plan.credentials.keeper(s.alarm)
	if err != nil {
		return err
	}
	s.keeper.Store(k)
	return nil
}

// alarm records what a human should look at, and freezes the sandbox when a canary was on its way out. It is called by
// requests, which go on.
func (s *supervisor) alarm(a credential.Alarm) {
	s.log.Warn("alarm", "kind", a.Kind, "name", a.Name, "host", a.Host, "reason", a.Reason)
	if err := s.decisions.Record(audit.Event{Kind: audit.KindAlarm, Host: a.Host, Credential: a.Name, Verdict: "deny", Reason: a.Reason}); err != nil {
		s.log.Error("cannot record an alarm", "error", err)
	}
	if a.Kind == credential.AlarmCanary {
		s.work.Go(func() { s.freeze(a.Reason) })
	}
}
