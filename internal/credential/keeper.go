package credential

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// Canary is a value that lies where a thief looks, and that nothing legitimate ever sends.
type Canary struct{ Name, Value string }

// Kinds of an Alarm.
const (
	AlarmCanary  = "canary"  // a canary was on its way out
	AlarmMention = "mention" // a canary stood in what goes to a model: the agent has read it
	AlarmSecret  = "secret"  // a real value came from inside, where it cannot be
	AlarmEcho    = "echo"    // a server sent a real value back
)

// Alarm tells of something that a human should look at.
type Alarm struct {
	Kind   string
	Name   string // of the secret or canary
	Host   string
	Reason string // a sentence
}

// Endpoint answers requests that hand out or renew credentials, such as an OAuth token endpoint.
type Endpoint interface {
	Serves(t Target, r *http.Request) bool
	// RoundTrip answers r itself, or through next, which reaches the target. Nothing real may be in its answer.
	RoundTrip(r *http.Request, next http.RoundTripper) (*http.Response, error)
}

// Refusal is the error of a request that must not go on. Its text holds no secret.
type Refusal struct {
	Secret string // its name, or the canary's
	Reason string // a sentence
	Cure   string // what a human could do
}

func (r *Refusal) Error() string { return r.Reason }

// Config is what a Keeper works with.
type Config struct {
	Secrets   []Secret
	Canaries  []Canary
	Endpoints []Endpoint
	// Models are the hosts that get the agent's conversation, in which it may quote whatever it has read inside.
	Models []hostname.Pattern
	// Memory is shared by the Keepers of one sandbox. Nil is one of its own.
	Memory *Memory
	// Alarm is called from the requests' goroutines, and must return soon. Nil tells nobody.
	Alarm func(Alarm)
}

// Keeper looks after one sandbox's credentials. It is immutable and may be used from any goroutine; when the secrets
// change another one takes its place. A nil Keeper leaves every request as it is.
type Keeper struct {
	cfg Config
	// inside looks for what stands for secrets inside, and for canaries.
	inside *matcher
	means  []meaning // by its patterns
}

// meaning is what a pattern inside is a form of.
type meaning struct {
	name   string
	canary bool
}

// NewKeeper makes a Keeper.
func NewKeeper(cfg Config) *Keeper {
	k := &Keeper{cfg: cfg}
	if k.cfg.Memory == nil {
		k.cfg.Memory = &Memory{}
	}
	var patterns [][]byte
	add := func(value string, m meaning) {
		for _, form := range forms(value) {
			patterns, k.means = append(patterns, []byte(form)), append(k.means, m)
		}
	}
	for _, s := range cfg.Secrets {
		for _, part := range parts(s.Placeholder) {
			add(part, meaning{name: s.Name})
		}
	}
	for _, c := range cfg.Canaries {
		add(c.Value, meaning{name: c.Name, canary: true})
	}
	if len(patterns) > 0 {
		k.inside = newMatcher(patterns)
	}
	return k
}

// Bound says whether some secret may go to that host: its connections must be opened, where a rule does not say
// otherwise.
func (k *Keeper) Bound(host hostname.Name, port uint16) bool {
	return k != nil && len(k.bound(Target{Host: host, Port: port, TLS: true})) > 0
}

// boundSecret is a secret with the bindings that are for one target.
type boundSecret struct {
	*Secret
	bindings []Binding
}

func (k *Keeper) bound(t Target) []boundSecret {
	var all []boundSecret
	for i := range k.cfg.Secrets {
		s := boundSecret{Secret: &k.cfg.Secrets[i]}
		for _, b := range s.Bindings {
			if b.Matches(t) {
				s.bindings = append(s.bindings, b)
			}
		}
		if len(s.bindings) > 0 {
			all = append(all, s)
		}
	}
	return all
}

func (k *Keeper) model(t Target) bool {
	return t.TLS && slices.ContainsFunc(k.cfg.Models, func(p hostname.Pattern) bool { return p.Match(t.Host) })
}

func (k *Keeper) alarm(kind, name string, t Target, format string, a ...any) {
	if k.cfg.Alarm != nil {
		k.cfg.Alarm(Alarm{Kind: kind, Name: name, Host: string(t.Host), Reason: fmt.Sprintf(format, a...)})
	}
}

// misplaced refuses what was found at a place, and raises the alarm that it deserves.
func (k *Keeper) misplaced(m meaning, t Target, where string) *Refusal {
	if m.canary {
		k.alarm(AlarmCanary, m.name, t, "the canary %s was on its way to %s, in %s", m.name, t, where)
		return &Refusal{Secret: m.name, Reason: fmt.Sprintf("the request has a canary in %s: something inside looks for secrets and sends them away", where)}
	}
	return &Refusal{Secret: m.name, Reason: fmt.Sprintf("the placeholder of the secret %s stands in %s, and %s may not have it there", m.name, where, t),
		Cure: fmt.Sprintf("bailey secret set %s --host %s --as PLACE", m.name, t.Host)}
}

// leaked refuses a real value that comes from inside.
func (k *Keeper) leaked(secret string, t Target, where string) *Refusal {
	k.alarm(AlarmSecret, secret, t, "the real value of %s came from inside, in %s of a request to %s", secret, where, t)
	return &Refusal{Secret: secret, Reason: fmt.Sprintf("%s has the real value of the secret %s, which nobody inside can know: replace that secret", where, secret),
		Cure: "bailey secret set " + secret}
}
