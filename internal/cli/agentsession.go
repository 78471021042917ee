package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// removeGrace is how long run --rm waits for a temporary sandbox to be gone.
const removeGrace = 10 * time.Second

// joinTries is how often a client that could not start the agent looks again, settle apart.
const joinTries = 20

// agentOptions say how a client enters the agent's session.
type agentOptions struct {
	args       []string // the user's; nil leaves it to the sandbox's record
	background bool     // start only
	attachOnly bool     // an agent that does not run is an error
	timeout    time.Duration
	detachKeys []byte
	noticed    int // how many of the supervisor's notices were shown before
}

// enterAgent attaches to the agent's session, which it starts when there is none, and returns when the agent
// has ended or the user has left it. The error carries the agent's exit code.
func (a *app) enterAgent(ctx context.Context, c *api.Client, sb *state.Sandbox, o agentOptions) error {
	g, err := guest(ctx, c)
	if err != nil {
		return err
	}
	defer g.Close()
	x, started, err := a.joinAgent(ctx, c, g, sb, o)
	if err != nil {
		return err
	}
	// From here on signals are the agent's.
	ctx = context.WithoutCancel(ctx)
	followed := make(chan error, 1)
	go func() { followed <- follow(ctx, c, started, o.timeout) }()
	var e end
	if o.background {
		e.detached = true
		_ = x.process.Close()
	} else {
		e, err = x.run()
	}
	// Not before the supervisor watches the agent may the last client go: see api.Supervisor.Follow.
	if followErr := <-followed; followErr != nil && err == nil && !sb.Temporary {
		a.note("the agent's output is not logged: %s", followErr)
	}
	v, inspectErr := inspectEnd(ctx, c, e) // while we are still counted as a client
	_ = g.Close()
	a.noteClipboard(e)
	switch {
	case err != nil:
		return fmt.Errorf("lost the agent in %s: %w", sb.Name, err)
	case o.background:
		return nil
	case e.detached:
		fmt.Fprintf(a.Err, "detached; %s attach %s\n", a.program, sb.Name)
		return nil
	case e.signal != 0:
		return &exitError{code: 128 + int(e.signal)}
	}
	for _, n := range v.Notices[min(o.noticed, len(v.Notices)):] {
		a.note("%s", n)
	}
	if sb.Temporary && inspectErr == nil && v.Clients <= 1 {
		a.awaitRemoval(ctx, sb)
	}
	if v.Agent != nil && v.Agent.TimedOut {
		return &exitError{exitTimeout, errors.New("the agent's time was over")}
	}
	if v.Over != "" && !x.tty {
		return &exitError{exitBudget, sandbox.WithHint(errors.New(v.Over), "bailey budget ls")}
	}
	return exited(e.exit)
}

// joinAgent attaches when the agent runs and starts it otherwise. Of two clients that try at the same time
// one starts it and both end up attached.
func (a *app) joinAgent(ctx context.Context, c *api.Client, g *guestproto.Client, sb *state.Sandbox, o agentOptions) (x *interaction, started bool, err error) {
	x = &interaction{Streams: a.Streams, detach: o.detachKeys, questions: questions{client: c, name: sb.Name}}
	rows, cols := a.size()
	for try := 1; ; try++ {
		runs, tty, err := agentRuns(ctx, g)
		if err != nil {
			return nil, false, err
		}
		switch {
		case runs && (len(o.args) > 0 || o.timeout > 0):
			return nil, false, sandbox.WithHint(fmt.Errorf("the agent already runs in %s: it takes no new arguments or timeout", sb.Name),
				"bailey attach "+sb.Name)
		case !runs && o.attachOnly:
			return nil, false, sandbox.WithHint(fmt.Errorf("the agent does not run in %s", sb.Name), "bailey run "+sb.Name)
		case runs:
			x.tty, x.stdin = tty && a.isTTY(), true
			x.process, err = g.Attach(ctx, guestproto.Attach{Session: api.Agent, Rows: rows, Cols: cols, Stdin: true})
			return x, false, err
		}
		v, err := c.Inspect(ctx)
		if err != nil {
			return nil, false, err
		}
		cmd := a.agentCommand(v, sb, o)
		cmd.Rows, cmd.Cols = rows, cols
		x.tty, x.stdin = cmd.TTY && !o.background, cmd.Stdin
		x.process, err = g.Run(ctx, cmd)
		if err == nil {
			return x, true, nil
		}
		// Another client may have the name but not yet the agent, or no longer.
		var refused *guestproto.StartError
		if !errors.As(err, &refused) || refused.Code != 0 || try == joinTries {
			return nil, false, err
		}
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-time.After(settle):
		}
	}
}

func (a *app) agentCommand(v api.Inspect, sb *state.Sandbox, o agentOptions) guestproto.Command {
	args := o.args
	if len(args) == 0 {
		args = sb.Args
	}
	_, inTTY := terminal(a.In)
	tty := a.isTTY()
	cmd := guestproto.Command{
		Argv:    append(slices.Clone(v.AgentArgv), args...),
		Session: api.Agent,
		TTY:     tty || o.background, // whoever attaches later has a terminal
		Detach:  o.background,
		// With output into a pipe but the keyboard as input, waiting for the keyboard would look like
		// hanging: agents ask whether stdin is a terminal before they read it, and inside it is none.
		Stdin: o.background || tty || !inTTY,
	}
	if cmd.TTY {
		cmd.Term = a.getenv("TERM")
	}
	return cmd
}

// agentRuns asks the guest. What it answers decides only whether this client attaches or starts.
func agentRuns(ctx context.Context, g *guestproto.Client) (runs, tty bool, err error) {
	sessions, err := g.Sessions(ctx)
	if err != nil {
		return false, false, err
	}
	for _, s := range sessions {
		if s.Name == api.Agent && s.Running {
			return true, s.TTY, nil
		}
	}
	return false, false, nil
}

func follow(ctx context.Context, c *api.Client, started bool, timeout time.Duration) error {
	if !started {
		timeout = 0 // whoever started it has said how long
	}
	return c.Follow(ctx, api.Follow{Timeout: timeout})
}

// inspectEnd returns the supervisor's view once it has seen the agent end too: only then are log and list
// complete for whoever looks next.
func inspectEnd(ctx context.Context, c *api.Client, e end) (api.Inspect, error) {
	left := e.detached || e.signal != 0
	for try := 1; ; try++ {
		v, err := c.Inspect(ctx)
		if err != nil || left || v.Agent == nil || !v.Agent.Running || try == joinTries {
			return v, err
		}
		time.Sleep(settle)
	}
}

// awaitRemoval returns when a temporary sandbox is gone, as its last client may expect.
func (a *app) awaitRemoval(ctx context.Context, sb *state.Sandbox) {
	ctx, cancel := context.WithTimeout(ctx, removeGrace)
	defer cancel()
	lock, err := sb.Lock(ctx)
	if errors.Is(err, state.ErrNotFound) {
		return
	}
	if err == nil {
		_ = lock.Unlock()
	}
	if why := undecided(ctx, sb); why != "" {
		a.note("%s is kept, for your review: %s: bailey diff %s", sb.Name, why, sb.Name)
		return
	}
	a.note("the sandbox %s was not removed; see %s", sb.Name, sb.Dir)
}

// exited turns how a command ended into our own end.
func exited(e guestproto.Exit) error {
	if e.Code == 0 {
		return nil
	}
	return &exitError{code: e.Code}
}
