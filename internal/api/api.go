// Package api is the language between the command line and a sandbox's supervisor: HTTP/1.1 over a unix
// socket in the sandbox's own directory. It holds the types, the one table of routes with who may use
// each, the server that puts them on the socket, and the client. It decides nothing about sandboxes:
// whoever serves hands in a Supervisor.
package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Socket is the socket's file name in the sandbox's directory.
const Socket = "api.sock"

// Supervisor is what the socket offers. Methods are called from any goroutine; ctx ends when the client
// goes away.
type Supervisor interface {
	Inspect(ctx context.Context) (Inspect, error)
	// Stop ends the machine and returns when nothing runs inside any more. The supervisor itself ends
	// right after: whoever must know waits for the sandbox's lock.
	Stop(ctx context.Context) error
	Stats(ctx context.Context) (sandbox.Stats, error)
	// Follow tells the supervisor that the session Agent has been started. It returns when the
	// supervisor watches it, so a caller that then leaves cannot leave an unwatched agent behind.
	Follow(ctx context.Context, f Follow) error
	// Policy is what the sandbox may reach now.
	Policy(ctx context.Context) (Policy, error)
	// Reload reads the rules again, after they have changed, and ends the connections that they deny now. When
	// they cannot be read, those before stay in force.
	Reload(ctx context.Context) error
	// Hold stops what runs inside until release is called, so that files can be copied. The network stays open.
	Hold(ctx context.Context) (release func(), err error)
	// Approvals is what a human is asked now.
	Approvals(ctx context.Context) (Approvals, error)
	// AwaitApprovals is the same as soon as its Seq is another than seen, or ctx has ended.
	AwaitApprovals(ctx context.Context, seen uint64) (Approvals, error)
	// Answer is a human's answer to one question. The error is ErrNoQuestion when nobody waits for it any more.
	Answer(ctx context.Context, id uint64, a Answer) error
	// Stream opens a stream to the guest. release is called once when the client has gone.
	Stream(ctx context.Context) (conn net.Conn, release func(), err error)
}

// Agent is the name of the session in which a sandbox's agent runs.
const Agent = "agent"

// Inspect is what a running supervisor knows that is not in the sandbox's record.
type Inspect struct {
	PID          int       `json:"pid"`
	Started      time.Time `json:"started"`
	Isolation    string    `json:"isolation"`
	AgentVersion string    `json:"agent_version,omitempty"`
	AgentArgv    []string  `json:"agent_argv"` // program and fixed arguments; the user's are appended
	Workdir      string    `json:"workdir"`
	Clients      int       `json:"clients"`         // open streams
	Goroutines   int       `json:"goroutines"`      // of the supervisor; what grows and grows leaks
	Agent        *AgentRun `json:"agent,omitempty"` // the last run of the agent, nil before the first
	Notices      []string  `json:"notices,omitempty"`
	Over         string    `json:"over,omitempty"` // the budget that was reached, as a sentence
}

// AgentRun is one run of the agent.
type AgentRun struct {
	Running  bool            `json:"running"`
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended,omitzero"`
	Exit     guestproto.Exit `json:"exit"` // meaningful when not Running; the guest's word
	TimedOut bool            `json:"timed_out,omitempty"`
}

// Follow is the body of POST /v1/follow.
type Follow struct {
	// Timeout ends the agent after that time; 0 is never.
	Timeout time.Duration `json:"timeout_ns,omitempty"`
}

// Policy is a policy.Policy on its way between two processes.
type Policy struct {
	Sandbox string `json:"sandbox,omitempty"`
	Default string `json:"default"` // "allow", "ask", or anything else for deny
	Rules   []Rule `json:"rules"`
}

// Rule is a policy.Rule on that way.
type Rule struct {
	Verdict string `json:"verdict"`
	Text    string `json:"text"` // for people
	policy.Entry
	Profile string `json:"profile,omitempty"`
	Origin  string `json:"origin"`
	Why     string `json:"why,omitempty"`
}

// NewPolicy makes p ready to cross.
func NewPolicy(p *policy.Policy) Policy {
	sent := Policy{Sandbox: p.Sandbox, Default: p.Default.String(), Rules: []Rule{}}
	for _, r := range p.Rules {
		sent.Rules = append(sent.Rules, Rule{Verdict: r.Verdict.String(), Text: r.String(), Entry: r.Entry(),
			Profile: r.Profile, Origin: r.Origin, Why: r.Why})
	}
	return sent
}

// Policy returns what NewPolicy was given.
func (p Policy) Policy() (*policy.Policy, error) {
	out := &policy.Policy{Sandbox: p.Sandbox, Default: policy.ParseVerdict(p.Default)}
	for _, r := range p.Rules {
		v := policy.Deny
		if r.Verdict == policy.Allow.String() {
			v = policy.Allow
		}
		rule, err := r.Entry.Rule(v, r.Origin)
		if err != nil {
			return nil, fmt.Errorf("cannot read the rule %q: %w", r.Text, err)
		}
		rule.Profile, rule.Why = r.Profile, r.Why
		out.Rules = append(out.Rules, rule)
	}
	return out, nil
}

// ErrRunning: the sandbox already has a supervisor.
var ErrRunning = errors.New("already running")

// ErrNotRunning: the sandbox has no supervisor that answers.
var ErrNotRunning = errors.New("not running")
