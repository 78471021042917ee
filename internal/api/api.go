// Package api is the language between the command line and a sandbox's supervisor: HTTP/1.1 over a unix
// socket in the sandbox's own directory. It holds the types, the one table of routes with who may use
// each, the server that puts them on the socket, and the client. It decides nothing about sandboxes:
// whoever serves hands in a Supervisor.
package api

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
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
	Agent        *AgentRun `json:"agent,omitempty"` // the last run of the agent, nil before the first
	Notices      []string  `json:"notices,omitempty"`
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

// ErrRunning: the sandbox already has a supervisor.
var ErrRunning = errors.New("already running")

// ErrNotRunning: the sandbox has no supervisor that answers.
var ErrNotRunning = errors.New("not running")
